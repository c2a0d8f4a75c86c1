"""What every request to the hub passes before its route, beside the gate of both servers."""

from __future__ import annotations

import secrets
from urllib.parse import unquote

from fastapi import Request
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold.servers.hub.api_error import ApiError, catalogue_error, error_response
from freehold.servers.hub.session import Session
from freehold.servers.hub.state import Hub


class KeepEscapedSlashes:
    """Routes see ``%2F`` as clients wrote it: a revision with a slash is one part of the path."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the slashes of its path kept."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and b"%2" in raw:
            parts = raw.decode("ascii", "replace").replace("%2f", "%2F").split("%2F")
            scope = {**scope, "path": "%2F".join(unquote(part) for part in parts)}
        await self.app(scope, receive, send)


class RequestIds:
    """Gives each answer an id, which error messages of clients repeat."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the id to the head of its answer."""

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = secrets.token_hex(8)
            await send(message)

        await self.app(scope, receive, send_with_id)


class Login:
    """Where a hub is closed, answers nobody: neither a route's error nor the list of routes."""

    #: health and style show nothing of what is stored, and a library checks cards without its token
    _OPEN = ("/health", "/-/hub.css", "/api/validate-yaml")
    #: addresses that bring a signed right with them
    _SIGNED = ("/lfs/", "/xet/")

    def __init__(self, app: ASGIApp, hub: Hub):
        self.app, self.hub = app, hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what a user sends, and answer everyone else with the error."""
        error = await self._error(scope)
        if error is None:
            await self.app(scope, receive, send)
        else:
            await error_response(Request(scope), error)(scope, receive, send)

    async def _error(self, scope: Scope) -> ApiError | None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path in self._OPEN or path.startswith(self._SIGNED):
            return None
        try:
            await run_in_threadpool(Session(self.hub, Request(scope)).reader)
        except ApiError as error:
            return error
        except OperationalError as error:
            return catalogue_error(error)
        return None
