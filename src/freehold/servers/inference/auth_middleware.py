"""What a request must have before it is read: a valid key, and a body that is not too large."""

from __future__ import annotations

import asyncio
import hmac

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from freehold.servers.inference import pages
from freehold.servers.inference.api_errors import ApiError, error_response
from freehold.servers.inference.api_keys import ANYONE, Key, Keys
from freehold.servers.inference.options import ServerOptions
from freehold.servers.inference.traces import parent
from freehold.servers.web import bodies

#: Paths that need no key.
_OPEN_PATHS = ("/health", "/ready", *pages.PATHS)


class AuthMiddleware:
    """Checks a request's key and size, and stores the key in the request's state."""

    def __init__(self, app: ASGIApp, keys: Keys, options: ServerOptions):
        self.app, self.keys, self.options = app, keys, options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request with an error, or pass it on; the ASGI server calls this."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            request = Request(scope)
            self._check_size(request)
            scope.setdefault("state", {})["key"] = await self._key(request)
            parent.set(request.headers.get("traceparent", ""))
        except ApiError as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        await self.app(scope, bodies.limited(receive, self.options.max_body_bytes), send)

    def _check_size(self, request: Request) -> None:
        """Raises ApiError for a body that says it is too large."""
        limit, length = self.options.max_body_bytes, request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            raise ApiError(413, f"the body has more than {limit >> 20} MiB")

    async def _key(self, request: Request) -> Key:
        """The key of a request. Raises ApiError where one is needed and none is valid."""
        options = self.options
        if request.scope["path"] in _OPEN_PATHS or request.method == "OPTIONS":
            return ANYONE
        secret = _secret(request)
        if options.key and secrets_equal(secret, options.key):
            return ANYONE
        key = await asyncio.to_thread(self.keys.find, secret) if secret else None
        if key is not None:
            return key
        if options.loopback and not options.key and not await asyncio.to_thread(self.keys.any):
            return ANYONE
        raise ApiError(401, "the API key is missing or wrong", "invalid_api_key")


def _secret(request: Request) -> str:
    """The key that a request sends, as OpenAI's or as Anthropic's clients do; '' for none."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    return bearer or request.headers.get("x-api-key", "")


def secrets_equal(first: str, second: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(first.encode("utf-8", "replace"), second.encode("utf-8", "replace"))
