"""Bodies that are JSON: what a program sends is read as JSON whatever type it names, a browser's must name the type.

``curl -d`` names the type of a form, and other programs name none. A page of another site can send forms and text without
being asked first, but not JSON: so a browser must say that it sends JSON, beside the check of where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import params
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from freehold.web.gate import source_of

#: A JSON body of more bytes is refused: the largest that clients send describe 10,000 files with a sample of each.
MOST_JSON_BYTES = 32 << 20


def need_json_type(request: Request) -> None:
    """Raises HTTPException 415 for a browser's body that does not say it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    named = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not named and source_of(Headers(scope=request.scope), request.method).of_browser:
        raise HTTPException(415, "a browser must send this body with Content-Type: application/json")


def limited(receive: Receive, most_bytes: int = MOST_JSON_BYTES) -> Receive:
    """A body's reader that raises HTTPException 413 after so many bytes."""
    count = 0

    async def read() -> Any:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > most_bytes:
            raise HTTPException(413, f"the body has more than {most_bytes >> 20} MiB")
        return message

    return read


class JsonRoute(APIRoute):
    """A route whose body, where it has one that is not a form, is JSON of limited size."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's, after the checks of this file."""
        handler = super().get_route_handler()
        body = self.body_field
        if body is None or isinstance(body.field_info, params.Form):
            return handler

        async def handle(request: Request) -> Response:
            need_json_type(request)
            scope = {**request.scope, "headers": list(request.scope["headers"])}
            MutableHeaders(scope=scope)["content-type"] = "application/json"
            return await handler(Request(scope, limited(request.receive)))

        return handle
