"""How the hub's pages are rendered: templates, the headers of every page, dates and sizes."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from freehold.hub.commits import KINDS, Repository
from freehold.servers.hub.addresses import page_path

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY}
#: (label, parts of its address below the repository's) of each part of a repository's page.
_TABS = (
    ("Card", ()),
    ("Files", ("tree", "main")),
    ("Revisions", ("commits", "main")),
    ("Lineage", ("lineage",)),
    ("Discussions", ("discussions",)),
)
_ERROR_TITLES = {401: "A token is needed", 403: "Access denied", 404: "Not found"}


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("freehold.servers.hub"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _text(template: str, kind: str, **values: Any) -> str:
    values = {"q": ""} | values
    return _templates().get_template(template).render(kind=kind, kinds=KINDS, **values)


def render(template: str, *, kind: str = "model", **values: Any) -> HTMLResponse:
    """A page. ``kind``: the kind of repository that the search form looks for."""
    return HTMLResponse(_text(template, kind, **values), headers=_HEADERS)


def render_tab(repository: Repository, tab: str, template: str, **values: Any) -> HTMLResponse:
    """One of the parts of a repository's page, under the tabs for all."""
    tabs = [(label, page_path(repository.kind, repository.name, *parts)) for label, parts in _TABS]
    return render(
        template,
        kind=repository.kind,
        title=repository.name,
        name=repository.name,
        private=repository.private,
        gated=repository.gated,
        tab=tab,
        tabs=tabs,
        **values,
    )


def error_page(status: int, message: str, headers: dict[str, str] | None = None) -> HTMLResponse:
    """An error as a page; 401 makes the browser ask for a token."""
    title = _ERROR_TITLES.get(status, "The request failed")
    login = {"WWW-Authenticate": 'Basic realm="a token of this hub as the password"'}
    content = _text("error.html", "", title=title, message=message)
    return HTMLResponse(content, status, {**_HEADERS, **(headers or {}), **(login if status == 401 else {})})


def day(seconds: float) -> str:
    """The date of a time in seconds since 1970, as pages show it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def format_bytes(count: int) -> str:
    """A number of bytes as pages show it."""
    value, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:,.0f} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"
