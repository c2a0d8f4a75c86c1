"""The hub's first pages: lists of repositories with search and tags, and the style sheet.

All pages are rendered here and readable without a script; their policy lets nothing from elsewhere load.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from freehold.hub.commits import KINDS, Repository
from freehold.hub.search_index import SearchQuery
from freehold.models.info import stated_licence
from freehold.servers.hub.addresses import page_path
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.page_templates import day, render
from freehold.servers.hub.session import CurrentSession, Session

_PAGE = 30
_SORTS = {"modified": "last change", "downloads": "downloads", "created": "age"}
#: Tags that a list offers, for each kind: (heading, how the tags begin).
_FACETS = {
    "model": (
        ("Task", ("text-", "image-", "automatic-", "feature-", "token-", "fill-")),
        ("Licence", ("license:",)),
        ("Format", ("gguf", "safetensors", "onnx")),
    ),
    "dataset": (
        ("Task", ("task_categories:",)),
        ("Licence", ("license:",)),
        ("Size", ("size_categories:",)),
    ),
    "space": (("Licence", ("license:",)),),
}
#: Repositories among which the tags are counted, and tags shown under one heading.
_MOST_COUNTED, _MOST_TAGS = 1000, 12

router = APIRouter(default_response_class=HTMLResponse)


class ListQuery(BaseModel):
    """What a list is narrowed down to, and its order; ``q``: words; ``cursor``: where the page begins."""

    kind: str = "model"
    q: str = ""
    tag: list[str] | None = None
    author: str = ""
    sort: str = "modified"
    cursor: str = ""

    @property
    def tags(self) -> list[str]:
        """The tags, each once."""
        return list(dict.fromkeys(self.tag or []))

    def address(self, **changes: object) -> str:
        """The address of the same list with other parameters, at its first page."""
        values: dict[str, object] = {
            "kind": self.kind,
            "q": self.q,
            "tag": self.tags,
            "author": self.author,
            "sort": self.sort,
        }
        values |= changes
        return "/?" + urlencode({key: value for key, value in values.items() if value}, doseq=True)


@dataclass(frozen=True)
class Choice:
    """A link to another list, and the number of repositories in it where that is known."""

    label: str
    address: str
    count: int = 0


@dataclass(frozen=True)
class Facet:
    """Tags to narrow a list down by."""

    heading: str
    choices: list[Choice]


@dataclass(frozen=True)
class Row:
    """A repository in a list."""

    name: str
    address: str
    private: bool
    gated: str
    downloads: int
    modified: str
    task: str
    licence: str


@dataclass(frozen=True)
class SortChoice:
    """An order of the list."""

    label: str
    address: str
    current: bool


@router.get("/-/hub.css")
def style() -> Response:
    """The style sheet of all pages."""
    text = resources.files("freehold.servers.hub").joinpath("templates/hub.css").read_text()
    return Response(text, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.get("/")
def list_page(session: CurrentSession, query: Annotated[ListQuery, Query()]) -> HTMLResponse:
    """A list of repositories."""
    return render_list(session, query)


def render_list(session: Session, query: ListQuery) -> HTMLResponse:
    """The page of a list. Raises ApiError, UsageError."""
    names = session.listed_names()
    if query.kind not in KINDS or query.sort not in _SORTS:
        raise ApiError(400, f"kind must be one of {', '.join(KINDS)}, and sort one of {', '.join(_SORTS)}")
    search = SearchQuery(
        query.kind,
        text=query.q,
        author=query.author,
        tags=tuple(query.tags),
        names=names,
        sort=query.sort,
    )
    repositories = session.hub.repositories
    rows, cursor = repositories.list(search, query.cursor, _PAGE)
    prefixes = [prefix for _, facet_prefixes in _FACETS[query.kind] for prefix in facet_prefixes]
    counted = repositories.index.facets(search, prefixes, limit=_MOST_COUNTED)
    return render(
        "list.html",
        kind=query.kind,
        title=f"{query.kind}s",
        heading=f"{query.kind.capitalize()}s" + (f" for \u201c{query.q}\u201d" if query.q else ""),
        q=query.q,
        chosen=_chosen(query),
        facets=_facets(query, counted.counts),
        of=counted.of,
        complete=counted.complete,
        sorts=[
            SortChoice(label, query.address(sort=name), name == query.sort) for name, label in _SORTS.items()
        ],
        base=session.base,
        rows=[_row(repository) for repository in rows],
        following=query.address(cursor=cursor) if cursor else "",
    )


def _chosen(query: ListQuery) -> list[Choice]:
    """What the list is narrowed down to; each link leads to the list without it."""
    chosen = [
        Choice(tag, query.address(tag=[other for other in query.tags if other != tag])) for tag in query.tags
    ]
    return [*chosen, Choice(query.author, query.address(author=""))] if query.author else chosen


def _facets(query: ListQuery, counts: dict[str, int]) -> list[Facet]:
    facets: list[Facet] = []
    for heading, prefixes in _FACETS[query.kind]:
        tags = [tag for tag in counts if tag.startswith(prefixes)][:_MOST_TAGS]
        choices = [
            Choice(
                tag.removeprefix(prefixes[0]) if len(prefixes) == 1 else tag,
                query.address(tag=[*query.tags, tag]),
                counts[tag],
            )
            for tag in tags
            if tag not in query.tags
        ]
        if choices:
            facets.append(Facet(heading, choices))
    return facets


def _row(repository: Repository) -> Row:
    return Row(
        repository.name,
        page_path(repository.kind, repository.name),
        repository.private,
        repository.gated,
        repository.downloads,
        day(repository.modified),
        repository.card.get("pipeline_tag") or "",
        stated_licence(repository.card),
    )
