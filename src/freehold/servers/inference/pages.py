"""The chat page: three files, under a policy that lets nothing from other sites in."""

from __future__ import annotations

import functools
from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
#: Open to everybody: the page asks for a key where its requests need one.
PATHS = ("/", "/-/chat.js", "/-/chat.css")
router = APIRouter()


@functools.cache
def _data(name: str) -> bytes:
    return resources.files("freehold.servers.inference").joinpath(f"page/{name}").read_bytes()


def _file(name: str, media_type: str) -> Response:
    return Response(_data(name), media_type=f"{media_type}; charset=utf-8", headers=_HEADERS)


@router.get("/", include_in_schema=False)
def index() -> Response:
    """The chat page."""
    return _file("index.html", "text/html")


@router.get("/-/chat.js", include_in_schema=False)
def script() -> Response:
    """The page's script."""
    return _file("chat.js", "text/javascript")


@router.get("/-/chat.css", include_in_schema=False)
def style() -> Response:
    """The page's style."""
    return _file("chat.css", "text/css")
