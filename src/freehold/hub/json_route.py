"""The one place where both servers read a request's JSON.

A router made with ``route_class=JsonRoute`` reads the bodies of its routes here, whatever content type they are sent with: curl sends JSON
as a form unless told otherwise. Whether a request from a browser may come in at all is decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from freehold import strict_json


async def read_json(request: Request) -> tuple[bytes, Any]:
    """A body's bytes and its value; None for an empty body. Raises BadData, and HTTPException 415 for a compressed one."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise HTTPException(
            415, f"Content-Encoding: bodies are not taken as {encoding[:40]!r}; send it as it is"
        )
    data = await request.body()
    return data, strict_json.read(data) if data.strip() else None


class JsonRoute(APIRoute):
    """A route whose body is read by :func:`read_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI's documentation on custom routes."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def reading(request: Request) -> Response:
            data, value = await read_json(request)
            return await handle(_Read(request, data, value))

        return reading


class _Read(Request):
    """A request whose body has been read; FastAPI takes it for JSON."""

    def __init__(self, request: Request, data: bytes, value: Any):
        headers = [(name, text) for name, text in request.scope["headers"] if name != b"content-type"]
        super().__init__(
            {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}, request.receive
        )
        self._data, self._value = data.strip(), value

    async def body(self) -> bytes:
        """The body's bytes."""
        return self._data

    async def json(self) -> Any:
        """The body's value."""
        return self._value
