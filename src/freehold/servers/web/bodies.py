"""Bodies that are JSON: what a program sends is read as JSON whatever type it names, a browser's must name
the type.

``curl -d`` names the type of a form, and other programs name none. A page of another site can send forms and
text without being asked first, but not JSON: so a browser must say that it sends JSON, beside the check of
where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from freehold.core import strict_json
from freehold.core.errors import BadData
from freehold.servers.web.gate import source_of

#: A JSON body of more bytes is refused: the largest that clients send describe 10,000 files with a sample of
#: each.
MOST_JSON_BYTES = 32 << 20
#: Bytes from which on a body is read in a thread of its own.
_LONG = 1 << 18


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


async def body_of(request: Request) -> bytes:
    """A body's bytes without space around them. Raises HTTPException 413 for one that is too large, 415 for a
    compressed one."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise HTTPException(
            415, f"Content-Encoding: {encoding[:40]!r} cannot be read here; send the body uncompressed"
        )
    try:
        return (await Request(request.scope, limited(request.receive)).body()).strip()
    except ClientDisconnect:
        raise HTTPException(400, "the request ended before its body did") from None


class JsonRoute(APIRoute):
    """A route whose body, where it has one that is not a form, is JSON of limited size, read by
    :func:`freehold.core.strict_json.parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's, after the checks of this file."""
        handler, field = super().get_route_handler(), self.body_field
        if field is None or isinstance(field.field_info, params.Form):
            return handler

        async def handle(request: Request) -> Response:
            need_json_type(request)
            data = await body_of(request)
            value, unfit = await _parsed(data)
            if unfit is not None:  # the field's own range says more, where it has one
                errors = field.validate(value, loc=("body",))[1]
                raise RequestValidationError(errors) if errors else BadData(strict_json.unfit_at(unfit))
            return await handler(_Read(request, data, value))

        return handle


async def _parsed(data: bytes) -> tuple[Any, str | None]:
    """See :func:`freehold.core.strict_json.parse`; what takes longer is done beside the event loop."""
    if not data:
        return None, None
    return strict_json.parse(data) if len(data) < _LONG else await run_in_threadpool(strict_json.parse, data)


class _Read(Request):
    """A request whose body has been read; FastAPI takes it for JSON."""

    def __init__(self, request: Request, data: bytes, value: Any):
        scope = {**request.scope, "headers": list(request.scope["headers"])}
        MutableHeaders(scope=scope)["content-type"] = "application/json"
        super().__init__(scope, request.receive)
        self._data, self._value = data, value

    async def body(self) -> bytes:
        """The body's bytes."""
        return self._data

    async def json(self) -> Any:
        """The body's value."""
        return self._value
