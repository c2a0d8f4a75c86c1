"""The hub as an HTTP application that speaks the Hugging Face Hub's protocol."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from freehold.core.errors import (
    BadData,
    DoesNotFit,
    FreeholdError,
    NotFound,
    Refused,
    Unsupported,
    UsageError,
)
from freehold.hub.commits import Exists, Stale
from freehold.hub.discussions import Conflict
from freehold.hub.storage_backends import Away
from freehold.models.catalogue import cause_of
from freehold.models.store import Store
from freehold.servers.hub import (
    api_access,
    api_commits,
    api_discussions,
    api_files,
    api_repositories,
    api_xet,
    pages,
)
from freehold.servers.hub.session import ApiError, Hub, Known
from freehold.servers.web.gate import App, Gate, Scope
from freehold.servers.web.site import Site

#: Failure -> HTTP status; the first that fits.
_STATUS: tuple[tuple[type[FreeholdError], int], ...] = (
    (Exists, 409), (Conflict, 409), (Stale, 412), (NotFound, 404), (UsageError, 400), (BadData, 400), (Unsupported, 400), (DoesNotFit, 507), (Refused, 403), (Away, 503),
)  # fmt: skip


class _Repo(Convertor[str]):
    regex = "[^/]+(?:/[^/]+)?"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Where(_Repo):
    regex = "(?:(?:models|datasets|spaces)/)?[^/]+(?:/[^/]+)?"


class _Refs(_Repo):
    regex = "branch|tag"


register_url_convertor("repo", _Repo())
register_url_convertor("where", _Where())
register_url_convertor("refs", _Refs())


class KeepEscapedSlashes:
    """Routes see ``%2F`` as clients wrote it: a revision may hold a slash and is still one part of the path."""

    def __init__(self, app: App):
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and b"%2" in raw:
            parts = raw.decode("ascii", "replace").replace("%2f", "%2F").split("%2F")
            scope = {**scope, "path": "%2F".join(unquote(part) for part in parts)}
        await self.app(scope, receive, send)


class Numbered:
    """Gives each answer a number of its own, which error messages of clients repeat."""

    def __init__(self, app: App):
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """See the ASGI specification."""

        async def numbered(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = secrets.token_hex(8)
            await send(message)

        await self.app(scope, receive, numbered)


class Login:
    """Where a hub is closed, answers nobody: neither a route's error nor the list of routes."""

    #: health and style tell nothing, and a library checks cards without its token
    _OPEN = ("/health", "/-/hub.css", "/api/validate-yaml")
    #: addresses that bring a signed right with them
    _SIGNED = ("/lfs/", "/xet/")

    def __init__(self, app: App, hub: Hub):
        self.app, self.hub = app, hub

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path not in self._OPEN and not path.startswith(self._SIGNED):
            request = Request(scope)
            try:
                await run_in_threadpool(self.hub.reader, request)
            except ApiError as error:
                answer = _told(request, error.status, error.message, error.code, error.headers, error.also)
                await answer(scope, receive, send)
                return
            except OperationalError as error:
                await _catalogue_failed(request, error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _catalogue_failed(request: Request, error: OperationalError) -> Response:
    cause = cause_of(error)
    full = "full" in cause or "No space" in cause
    return _told(
        request,
        507 if full else 503,
        f"the catalogue cannot be written ({cause}); {'free some space' if full else 'try again later'}",
    )


def _refusal(
    status: int,
    message: str,
    code: str = "",
    headers: dict[str, str] | None = None,
    also: dict[str, str] | None = None,
) -> JSONResponse:
    # a header takes printable ASCII without space at its ends, and names of what was asked for hold anything
    told = "".join(
        sign if " " <= sign <= "~" else " " if sign < " " else "?" for sign in message[:500]
    ).strip()
    extra = {"X-Error-Message": told} | ({"X-Error-Code": code} if code else {}) | (headers or {})
    return JSONResponse({"error": message} | (also or {}), status_code=status, headers=extra)


#: Characters of a refusal's sentence.
_MOST_TOLD = 600


def _told(request: Request, status: int, message: str, code: str = "", headers: dict[str, str] | None = None,
          also: dict[str, str] | None = None) -> Response:  # fmt: skip
    """A refusal in the form that was asked for: a page for a browser. What it repeats of a request is cut."""
    if len(message) > _MOST_TOLD:
        message = f"{message[:_MOST_TOLD]}..."
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        return pages.refused(status, message, headers)
    return _refusal(status, message, code, headers, also)


def make_app(
    store: Store,
    *,
    loopback: bool = True,
    known: Known | None = None,
    strict: bool = False,
    site: Site | None = None,
) -> FastAPI:
    """The application over a store. ``loopback``: reading needs no token; ``site``: the names it answers to.

    ``known``: what rooms above know. ``strict``: commits that bring unsafe files to a model are refused.
    """
    hub = Hub(store, public=loopback, known=known, strict=strict)
    app = FastAPI(title="Freehold hub", docs_url=None, redoc_url=None, openapi_url=None)
    if not loopback:
        app.add_middleware(Login, hub=hub)
    app.add_middleware(KeepEscapedSlashes)
    app.add_middleware(Numbered)
    # the outermost: nothing is read or answered before it
    app.add_middleware(Gate, site=site or Site(), refused=lambda _, reason: _refusal(403, reason))

    @app.exception_handler(ApiError)
    async def answered(request: Request, error: ApiError) -> Response:
        return _told(request, error.status, error.message, error.code, error.headers, error.also)

    @app.exception_handler(FreeholdError)
    async def failed(request: Request, error: FreeholdError) -> Response:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return _told(request, status, str(error), "EntryNotFound" if status == 404 else "")

    @app.exception_handler(OperationalError)
    async def catalogue_failed(request: Request, error: OperationalError) -> Response:
        return _catalogue_failed(request, error)

    @app.exception_handler(DataError)
    async def unwritable(request: Request, _: DataError) -> Response:
        # PostgreSQL holds no zero characters in text and no numbers beyond 64 bits
        return _told(
            request, 400, "the request holds a zero character or a number that is too large to be kept"
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _told(request, 400, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        told = "there is nothing at this address" if error.status_code == 404 else str(error.detail)
        return _told(request, error.status_code, told, headers=dict(error.headers or {}))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/openapi.json", include_in_schema=False)
    def description(request: Request) -> dict[str, Any]:
        hub.reader(request)
        return app.openapi()

    # the more particular addresses first: a repository's own address fits many of them
    app.include_router(api_xet.routes(hub))
    app.include_router(api_files.routes(hub))
    app.include_router(api_commits.routes(hub))
    app.include_router(api_access.routes(hub))
    app.include_router(api_discussions.routes(hub))
    app.include_router(api_repositories.routes(hub))
    app.include_router(pages.routes(hub))
    return app
