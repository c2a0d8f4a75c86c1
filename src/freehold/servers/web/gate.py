"""The one gate before every route of both servers: whose request it is, and the headers that keep browsers
from misusing an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Message

from freehold.servers.web.site import Request, Site

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
#: Makes the answer to a request that is refused: (scope, sentence) -> ASGI application.
Refused = Callable[[Scope, str], App]

#: What an answer has unless its route says otherwise: nothing in it runs, loads, is framed, kept or read by
#: other sites.
DEFAULTS = {
    "content-security-policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-dns-prefetch-control": "off",
    "cross-origin-resource-policy": "same-origin",
    # other sites learn nothing, and a form sent to this one says where it comes from
    "referrer-policy": "same-origin",
    "cache-control": "private, no-store",
}

#: To a request whose body ends at one place or another: a proxy that takes the other would let a second
#: request through in it. What follows on the connection is not read (RFC 9112, 6.1 and 6.3).
_AMBIGUOUS = PlainTextResponse(
    "send Content-Length or Transfer-Encoding, not both", 400, headers={"connection": "close"}
)


def source_of(headers: Headers, method: str) -> Request:
    """What a request's headers say of where it comes from."""
    return Request(
        method,
        headers.get("host"),
        # the empty Origin that some programs send is as good as none
        headers.get("origin", "").strip().lower(),
        headers.get("sec-fetch-site", "").strip().lower(),
        headers.get("sec-fetch-mode", "").strip().lower(),
        headers.get("sec-fetch-dest", "").strip().lower(),
    )


class Gate:
    """Refuses what another site's page asks for and names that are not this server's; completes the headers
    of answers."""

    def __init__(self, app: App, site: Site, refused: Refused):
        self.app, self.site, self.refused = app, site, refused

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        if scope["type"] == "websocket":  # no route takes one
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in DEFAULTS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            await _AMBIGUOUS(scope, receive, completed)
            return
        reason = self.site.refusal(source_of(headers, scope["method"]))
        if reason:
            await self.refused(scope, reason)(scope, receive, completed)
            return
        try:
            await self.app(scope, receive, completed)
        except ClientDisconnect:
            return  # there is nobody to answer
