"""The hub as an HTTP application that speaks the Hugging Face Hub's protocol."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request

from freehold.models.store import Store
from freehold.servers.hub import (
    api_access,
    api_commits,
    api_discussions,
    api_files,
    api_history,
    api_info,
    api_lfs,
    api_refs,
    api_repositories,
    api_trees,
    api_xet,
    pages_files,
    pages_lists,
    pages_repository,
)
from freehold.servers.hub.api_error import ApiError, add_error_handlers, json_error
from freehold.servers.hub.middleware import KeepEscapedSlashes, Login, RequestIds
from freehold.servers.hub.session import CurrentSession
from freehold.servers.hub.state import Hub
from freehold.servers.web.gate import Gate
from freehold.servers.web.site import Site

router = APIRouter()

#: The particular addresses first: the general ones, a repository's own address last, fit many of them.
_ROUTERS = (
    api_xet.router,
    api_files.router,
    api_lfs.router,
    api_commits.router,
    api_access.router,
    api_discussions.router,
    api_repositories.router,
    api_info.revision_router,
    api_history.router,
    api_trees.router,
    api_refs.router,
    api_info.router,
    pages_lists.router,
    pages_files.router,
    pages_repository.router,
)


@router.get("/health")
def health() -> dict[str, str]:
    """Whether the hub answers."""
    return {"status": "ok"}


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request, session: CurrentSession) -> dict[str, Any]:
    """The description of the API, for those who may read."""
    session.reader()
    return request.app.openapi()


def make_app(
    store: Store, *, loopback: bool = True, strict: bool = False, site: Site | None = None
) -> FastAPI:
    """The application over a store.

    ``loopback``: reading needs no token. ``strict``: commits that bring unsafe files to a model are refused.
    ``site``: the host names it answers to.
    """
    hub = Hub(store, public=loopback, strict=strict)
    app = FastAPI(title="Freehold hub", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.hub = hub
    if not loopback:
        app.add_middleware(Login, hub=hub)
    app.add_middleware(KeepEscapedSlashes)
    app.add_middleware(RequestIds)
    # the outermost: nothing is read or answered before it
    app.add_middleware(Gate, site=site or Site(), refused=lambda _, reason: json_error(ApiError(403, reason)))
    add_error_handlers(app)
    for part in (router, *_ROUTERS):
        app.include_router(part)
    return app
