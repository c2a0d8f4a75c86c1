"""Errors as the hub answers them: as JSON with the headers that clients read, or as a page for a browser."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException

from freehold.core.errors import (
    AccessDenied,
    BadData,
    Conflict,
    DoesNotFit,
    FreeholdError,
    NotFound,
    PolicyDenied,
    Unsupported,
    UsageError,
)
from freehold.hub.commits import Stale
from freehold.hub.storage_backends import Away
from freehold.models.catalogue import cause_of
from freehold.servers.hub.page_templates import error_page

#: Error -> HTTP status; the first that fits.
_STATUS: tuple[tuple[type[FreeholdError], int], ...] = (
    (Conflict, 409),
    (Stale, 412),
    (NotFound, 404),
    (UsageError, 400),
    (BadData, 400),
    (Unsupported, 400),
    (DoesNotFit, 507),
    (PolicyDenied, 403),
    (AccessDenied, 403),
    (Away, 503),
)
#: Characters of an error's sentence in an answer, and of the header that repeats it.
_MOST_CHARACTERS, _MOST_IN_HEADER = 600, 500


class ApiError(Exception):
    """An answer other than success.

    ``code``: the word that clients know it by (``RepoNotFound``). ``headers``: further headers.
    ``body_fields``: further fields of its body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "",
        headers: dict[str, str] | None = None,
        body_fields: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers, self.body_fields = headers or {}, body_fields or {}


def json_error(error: ApiError) -> JSONResponse:
    """An error as JSON, with the headers that huggingface_hub reads."""
    headers = {"X-Error-Message": _header_text(error.message)}
    if error.code:
        headers["X-Error-Code"] = error.code
    content = {"error": error.message} | error.body_fields
    return JSONResponse(content, status_code=error.status, headers=headers | error.headers)


def _header_text(message: str) -> str:
    """A header holds printable ASCII without space at its ends, and the names in a message hold anything."""
    return "".join(
        character if " " <= character <= "~" else " " if character < " " else "?"
        for character in message[:_MOST_IN_HEADER]
    ).strip()


def error_response(request: Request, error: ApiError) -> Response:
    """An error in the form that was asked for: a page for a browser. A long message is cut."""
    if len(error.message) > _MOST_CHARACTERS:
        message = f"{error.message[:_MOST_CHARACTERS]}..."
        error = ApiError(error.status, message, error.code, error.headers, error.body_fields)
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        return error_page(error.status, error.message, error.headers)
    return json_error(error)


def catalogue_error(error: OperationalError) -> ApiError:
    """The catalogue could not be written."""
    cause = cause_of(error)
    full = "full" in cause or "No space" in cause
    remedy = "free some space" if full else "try again later"
    return ApiError(507 if full else 503, f"the catalogue cannot be written ({cause}); {remedy}")


def _freehold_error(error: FreeholdError) -> ApiError:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return ApiError(status, str(error), "EntryNotFound" if status == 404 else "")


def _http_error(error: HTTPException) -> ApiError:
    message = "there is nothing at this address" if error.status_code == 404 else str(error.detail)
    return ApiError(error.status_code, message, headers=dict(error.headers or {}))


def _validation_error(error: RequestValidationError) -> ApiError:
    first = error.errors()[0]
    return ApiError(400, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def add_error_handlers(app: FastAPI) -> None:
    """Answer every expected exception of a route as :func:`error_response` does."""

    @app.exception_handler(ApiError)
    async def _(request: Request, error: ApiError) -> Response:
        return error_response(request, error)

    @app.exception_handler(FreeholdError)
    async def _(request: Request, error: FreeholdError) -> Response:
        return error_response(request, _freehold_error(error))

    @app.exception_handler(OperationalError)
    async def _(request: Request, error: OperationalError) -> Response:
        return error_response(request, catalogue_error(error))

    @app.exception_handler(DataError)
    async def _(request: Request, _error: DataError) -> Response:
        # PostgreSQL holds no zero characters in text and no numbers beyond 64 bits
        message = "the request contains a zero character or a number that is too large to store"
        return error_response(request, ApiError(400, message))

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return error_response(request, _validation_error(error))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        return error_response(request, _http_error(error))
