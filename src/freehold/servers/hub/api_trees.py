"""The hub's JSON API about the files and folders of a revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from freehold.core import strict_json
from freehold.hub.commits import Commit, Repository
from freehold.servers.hub.addresses import next_link, unescape_slashes
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.session import CurrentSession, Session
from freehold.servers.hub.tree_entries import TreeEntry, closed_entries, paths_below, tree_entries
from freehold.servers.web.bodies import JsonRoute, body_of, limited

_PAGE = 1000
#: So many paths are described at once; each is looked for among all files.
_MOST_PATHS = 1000

router = APIRouter(prefix="/api", route_class=JsonRoute)


class TreeQuery(BaseModel):
    """Which part of a folder is listed."""

    #: folders within folders too
    recursive: bool = False
    #: with the last commit of each, and what was found in files
    expand: bool = False
    limit: int = Field(_PAGE, ge=1, le=10_000)
    #: the last path of the page before
    cursor: str = ""


@dataclass(frozen=True)
class PathsBody:
    """Paths to describe; ``expand``: as for :class:`TreeQuery`."""

    paths: list[str]
    expand: bool


async def _paths_body(request: Request) -> PathsBody:
    """The paths of a form or a JSON body. Raises ApiError, BadData."""
    try:
        request = Request(request.scope, limited(request.receive))
        if request.headers.get("content-type", "").startswith("application/json"):
            body = strict_json.read(await body_of(request))
            values, expand = body["paths"], bool(body.get("expand"))
        else:
            form = await request.form()
            values, expand = form.getlist("paths"), str(form.get("expand", "")).lower() == "true"
        paths = [values] if isinstance(values, str) else [str(path) for path in values]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApiError(400, "send the field 'paths' once for each path") from None
    if len(paths) > _MOST_PATHS:
        message = f"{len(paths)} paths in one request; send at most {_MOST_PATHS}"
        raise ApiError(400, message)
    return PathsBody(paths, expand)


@router.get("/{plural}/{repo:repo}/tree/{revision}", response_model_exclude_unset=True)
def tree(
    plural: str,
    repo: str,
    revision: str,
    session: CurrentSession,
    response: Response,
    query: Annotated[TreeQuery, Query()],
) -> list[TreeEntry]:
    """The files and folders of a revision."""
    return _list_folder(session, session.readable(plural, repo), revision, "", query, response)


@router.get("/{plural}/{repo:repo}/tree/{revision}/{folder:path}", response_model_exclude_unset=True)
def subtree(
    plural: str,
    repo: str,
    revision: str,
    folder: str,
    session: CurrentSession,
    response: Response,
    query: Annotated[TreeQuery, Query()],
) -> list[TreeEntry]:
    """The files and folders of a folder."""
    return _list_folder(session, session.readable(plural, repo), revision, folder, query, response)


@router.post("/{plural}/{repo:repo}/paths-info/{revision}", response_model_exclude_unset=True)
def paths_info(
    plural: str,
    repo: str,
    revision: str,
    session: CurrentSession,
    body: Annotated[PathsBody, Depends(_paths_body)],
) -> list[TreeEntry]:
    """Those of some paths that are files or folders of a revision."""
    repository = session.readable(plural, repo)
    commit = _commit(session, repository, revision)
    ordered = sorted(commit.files)
    stripped = [path.strip("/") for path in body.paths]
    paths = [path for path in stripped if path and (path in commit.files or paths_below(ordered, path))]
    return _entries(session, repository, commit, paths, expand=body.expand)


def _commit(session: Session, repository: Repository, revision: str) -> Commit:
    commit_id = session.commit_id(repository, unescape_slashes(revision))
    return session.hub.repositories.commit(repository, commit_id)


def _list_folder(
    session: Session,
    repository: Repository,
    revision: str,
    folder: str,
    query: TreeQuery,
    response: Response,
) -> list[TreeEntry]:
    commit = _commit(session, repository, revision)
    names = _names_in(commit, folder.strip("/"), recursive=query.recursive)
    if names is None:
        raise ApiError(404, f"{folder.strip('/')[:120]} does not exist on {revision}", "EntryNotFound")
    ordered = [name for name in sorted(names) if name > query.cursor]
    page = ordered[: query.limit]
    if len(ordered) > query.limit:
        response.headers["Link"] = next_link(session.request, cursor=page[-1])
    response.headers["X-Repo-Commit"] = commit.id
    return _entries(session, repository, commit, page, expand=query.expand)


def _names_in(commit: Commit, folder: str, *, recursive: bool) -> set[str] | None:
    """Paths of the files and folders in a folder; None where there is no such folder."""
    start = folder + "/" if folder else ""
    below = [path for path in commit.files if path.startswith(start)]
    if folder and not below:
        return None
    names: set[str] = set()
    for path in below:
        parts = path[len(start) :].split("/")
        depths = range(1, len(parts) + 1) if recursive else (1,)
        names.update(start + "/".join(parts[:depth]) for depth in depths)
    return names


def _entries(
    session: Session, repository: Repository, commit: Commit, paths: list[str], *, expand: bool
) -> list[TreeEntry]:
    if not session.may_read_files(repository):
        return closed_entries(commit, paths)
    return tree_entries(session.hub, repository, commit, paths, expand=expand)
