"""Addresses of the hub: path parameters, the pages of repositories, links from one list page to the next."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.convertors import Convertor, register_url_convertor

#: Part of an address -> kind of repository.
PLURALS = {"models": "model", "datasets": "dataset", "spaces": "space"}


class _Repo(Convertor[str]):
    """``name`` or ``organisation/name``."""

    regex = "[^/]+(?:/[^/]+)?"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Where(_Repo):
    """A repository as pages name it: a model by its name, others with their kind first."""

    regex = "(?:(?:models|datasets|spaces)/)?[^/]+(?:/[^/]+)?"


class _Refs(_Repo):
    """The kinds of refs that clients remove."""

    regex = "branch|tag"


# here, since every module with routes imports this one before it declares them
register_url_convertor("repo", _Repo())
register_url_convertor("where", _Where())
register_url_convertor("refs", _Refs())


def page_path(kind: str, name: str, *more: str) -> str:
    """The path of a repository's page on the hub, or of something below it."""
    start = "" if kind == "model" else f"/{kind}s"
    return "/".join([f"{start}/{name}", *(quote(part, safe="/") for part in more if part)])


def plural_and_name(where: str) -> tuple[str, str]:
    """(plural kind, name) of the repository that a page's address starts with; models have no kind there."""
    plural, _, name = where.partition("/")
    return (plural, name) if plural in PLURALS and name else ("models", where)


def base_of(request: Request) -> str:
    """The address that the client uses for this hub, without a slash at its end."""
    return str(request.base_url).rstrip("/")


def unescape_slashes(parameter: str) -> str:
    """A path parameter with the slashes that were escaped in it."""
    return parameter.replace("%2F", "/")


def next_link(request: Request, **changes: object) -> str:
    """A Link header to the same list with other parameters."""
    pairs = [(key, value) for key, value in request.query_params.multi_items() if key not in changes]
    query = urlencode(pairs + [(key, str(value)) for key, value in changes.items()])
    return f'<{base_of(request)}{request.scope["raw_path"].decode("ascii")}?{query}>; rel="next"'
