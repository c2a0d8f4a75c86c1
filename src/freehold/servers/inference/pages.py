"""The chat page: three files of ours, under a policy that lets nothing from elsewhere in."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_FILES = {
    "/": ("index.html", "text/html"),
    "/-/chat.js": ("chat.js", "text/javascript"),
    "/-/chat.css": ("chat.css", "text/css"),
}
#: The page itself is no secret; what it asks is.
PATHS = tuple(_FILES)


def routes() -> APIRouter:
    """The page and its parts."""
    router = APIRouter()
    for path, (name, kind) in _FILES.items():
        data = resources.files("freehold.servers.inference").joinpath(f"page/{name}").read_bytes()

        def shown(data: bytes = data, kind: str = kind) -> Response:
            return Response(data, media_type=f"{kind}; charset=utf-8", headers=_HEADERS)

        router.add_api_route(path, shown, methods=["GET"], include_in_schema=False)
    return router
