"""The hub's JSON API that describes repositories: one, lists of them, their tags, and whether they open."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from freehold.core.errors import BadData
from freehold.hub import front_matter
from freehold.hub.commits import Repository
from freehold.hub.scans import repository_status
from freehold.hub.search_index import SearchQuery
from freehold.servers.hub.addresses import PLURALS, next_link, unescape_slashes
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.json_answers import Body, Empty
from freehold.servers.hub.repository_info import (
    RepositoryInfo,
    add_weight_facts,
    repository_info,
    requested_properties,
    revision_info,
    with_properties,
)
from freehold.servers.hub.session import CurrentSession, Session
from freehold.servers.web.bodies import JsonRoute

#: Names of the Hugging Face Hub for an order -> names of the search index.
_SORTS = {
    "lastModified": "modified",
    "createdAt": "created",
    "downloads": "downloads",
    "likes": "downloads",
    "trendingScore": "downloads",
    "trending": "downloads",
    "modified": "modified",
}
_PAGE = 1000
#: So many tags are listed, the most frequent ones.
_MOST_TAGS = 10_000

#: A revision's address is matched before all others below a repository's, and a repository's own after them.
revision_router = APIRouter(prefix="/api", route_class=JsonRoute)
router = APIRouter(prefix="/api", route_class=JsonRoute)


class InfoQuery(BaseModel):
    """What a description is asked to hold."""

    #: sizes and digests of files
    blobs: bool = False
    #: these properties alone
    expand: list[str] | None = None
    #: what was found in the files
    securityStatus: bool = False


class ListQuery(BaseModel):
    """Which repositories a list holds, in what order, and what it says of each."""

    #: words of names and cards
    search: str = ""
    author: str = ""
    #: tags, each alone or several with commas
    filter: list[str] | None = None
    pipeline_tag: str = ""
    sort: str = "lastModified"
    #: 1: the least first
    direction: int = -1
    limit: int = Field(_PAGE, ge=1)
    #: with files
    full: bool = False
    expand: list[str] | None = None
    #: where the page begins, as the link to it says
    cursor: str = ""


class Tag(BaseModel):
    """A tag that repositories have."""

    type: str
    id: str
    label: str


class YamlFault(BaseModel):
    """What is wrong with a card's metadata."""

    message: str


class YamlReport(BaseModel):
    """Whether a card's metadata can be read."""

    errors: list[YamlFault]
    warnings: list[YamlFault]


@revision_router.get("/{plural}/{repo:repo}/revision/{revision}", response_model_exclude_unset=True)
def info_at(
    plural: str, repo: str, revision: str, session: CurrentSession, query: Annotated[InfoQuery, Query()]
) -> RepositoryInfo:
    """A repository at a revision."""
    return _info(session, session.readable(plural, repo), unescape_slashes(revision), query)


@router.get("/{plural}/{repo:repo}/auth-check")
def auth_check(plural: str, repo: str, session: CurrentSession) -> Empty:
    """Whether the files of a repository open."""
    session.readable(plural, repo, files=True)
    return Empty()


@router.get("/{plural}/{repo:repo}/auth-check/write")
def write_check(plural: str, repo: str, session: CurrentSession) -> Empty:
    """Whether a repository may be changed."""
    session.writable(plural, repo)
    return Empty()


@router.post("/validate-yaml")
def validate(body: Body, response: Response) -> YamlReport:
    """Whether the metadata of a card can be read."""
    try:
        front_matter.read(body.text("content"))
    except BadData as error:
        response.status_code = 400
        return YamlReport(errors=[YamlFault(message=error.message)], warnings=[])
    return YamlReport(errors=[], warnings=[])


@router.get("/{plural}-tags-by-type")
def tags_by_type(plural: str, session: CurrentSession) -> dict[str, list[Tag]]:
    """The tags of all repositories of a kind."""
    kind = _kind_of_list(plural)
    session.reader()
    tags: dict[str, dict[str, Tag]] = {}
    for tag in session.hub.repositories.index.facets(SearchQuery(kind), limit=_MOST_TAGS).counts:
        group, _, label = tag.rpartition(":")
        tags.setdefault(group or "other", {})[tag] = Tag(type=group or "other", id=tag, label=label)
    return {group: list(members.values()) for group, members in tags.items()}


@router.get("/{plural}/{repo:repo}", response_model_exclude_unset=True)
def info(
    plural: str, repo: str, session: CurrentSession, query: Annotated[InfoQuery, Query()]
) -> RepositoryInfo:
    """A repository at its branch main."""
    return _info(session, session.readable(plural, repo), "main", query)


@router.get("/{plural}", response_model_exclude_unset=True)
def list_repositories(
    plural: str, session: CurrentSession, response: Response, query: Annotated[ListQuery, Query()]
) -> list[RepositoryInfo]:
    """The repositories of a kind, a page at a time."""
    kind = _kind_of_list(plural)
    if query.sort not in _SORTS:
        raise ApiError(400, f"lists cannot be sorted by {query.sort[:40]!r}; use one of {', '.join(_SORTS)}")
    repositories, cursor = session.hub.repositories.list(
        _search(query, kind, session), query.cursor, min(query.limit, _PAGE)
    )
    if cursor:
        response.headers["Link"] = next_link(session.request, cursor=cursor)
    return [_list_entry(session, repository, query) for repository in repositories]


def _kind_of_list(plural: str) -> str:
    if plural not in PLURALS:
        raise ApiError(404, f"there is no list of {plural[:40]}")
    return PLURALS[plural]


def _search(query: ListQuery, kind: str, session: Session) -> SearchQuery:
    tags = [tag for value in query.filter or [] for tag in value.split(",") if tag]
    if query.pipeline_tag:
        tags.append(query.pipeline_tag)
    return SearchQuery(
        kind,
        words=query.search,
        author=query.author,
        tags=tuple(tags),
        names=session.listed_names(),
        sort=_SORTS[query.sort],
        descending=query.direction != 1,
    )


def _info(session: Session, repository: Repository, revision: str, query: InfoQuery) -> RepositoryInfo:
    hub = session.hub
    commit = hub.repositories.commit(repository, session.commit_id(repository, revision))
    readable = session.may_read_files(repository)
    shows_facts = repository.kind == "model" and readable
    info = revision_info(repository, commit, blobs=query.blobs, digests=readable)
    if shows_facts:
        add_weight_facts(info, hub, commit)
    info = with_properties(info, requested_properties(query.expand))
    if query.securityStatus and shows_facts:
        info.securityRepoStatus = repository_status(hub.dangers(repository, commit.files), commit.files)
    return info


def _list_entry(session: Session, repository: Repository, query: ListQuery) -> RepositoryInfo:
    hub = session.hub
    names = requested_properties(query.expand)
    with_facts = not names.isdisjoint({"gguf", "safetensors"})
    if query.full or with_facts or not names.isdisjoint({"sha", "siblings", "usedStorage"}):
        commit = hub.repositories.commit(repository, "main")
        info = revision_info(repository, commit)
        if with_facts and repository.kind == "model" and session.may_read_files(repository):
            add_weight_facts(info, hub, commit)
    else:
        info = repository_info(repository)
    return with_properties(info, names)
