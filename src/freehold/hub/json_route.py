"""The one place where both servers read a request's JSON.

A router made with ``route_class=JsonRoute`` reads the bodies of its routes here, whatever content type they are sent with: curl sends JSON
as a form unless told otherwise. Whether a request from a browser may come in at all is decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from freehold import strict_json
from freehold.errors import BadData

#: Bytes from which on a body is read in a thread of its own.
_LONG = 1 << 18


async def body_of(request: Request) -> bytes:
    """A body's bytes without space around them. Raises HTTPException 415 for a compressed one."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise HTTPException(
            415, f"Content-Encoding: bodies are not taken as {encoding[:40]!r}; send it as it is"
        )
    try:
        return (await request.body()).strip()
    except ClientDisconnect:
        raise HTTPException(400, "the request ended before its body did") from None


class JsonRoute(APIRoute):
    """A route whose body is read by :func:`freehold.strict_json.parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI's documentation on custom routes."""
        handle, field = super().get_route_handler(), self.body_field
        if field is None:
            return handle

        async def reading(request: Request) -> Response:
            data = await body_of(request)
            value, unfit = await _parsed(data)
            if unfit is not None:  # the field's own range says more, where it has one
                errors = field.validate(value, loc=("body",))[1]
                raise RequestValidationError(errors) if errors else BadData(strict_json.unfit_at(unfit))
            return await handle(_Read(request, data, value))

        return reading


async def _parsed(data: bytes) -> tuple[Any, str | None]:
    """See :func:`freehold.strict_json.parse`; what takes longer is done beside the event loop."""
    if not data:
        return None, None
    return strict_json.parse(data) if len(data) < _LONG else await run_in_threadpool(strict_json.parse, data)


class _Read(Request):
    """A request whose body has been read; FastAPI takes it for JSON."""

    def __init__(self, request: Request, data: bytes, value: Any):
        headers = [(name, text) for name, text in request.scope["headers"] if name != b"content-type"]
        super().__init__(
            {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}, request.receive
        )
        self._data, self._value = data, value

    async def body(self) -> bytes:
        """The body's bytes."""
        return self._data

    async def json(self) -> Any:
        """The body's value."""
        return self._value
