"""The hub's pages about what a repository holds: folders, files, revisions and what changed in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from freehold.hub.commits import Commit, File, Repository
from freehold.hub.scans import worst
from freehold.servers.hub.addresses import page_path, plural_and_name, unescape_slashes
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.differences import (
    MOST_SHOWN_BYTES,
    changed_files,
    shown_difference,
    shown_text,
)
from freehold.servers.hub.page_templates import day, format_bytes, render_tab
from freehold.servers.hub.session import CurrentSession, Session

#: Revisions on one page.
_PAGE = 30

router = APIRouter(default_response_class=HTMLResponse)


@dataclass(frozen=True)
class Crumb:
    """A folder above the one that is shown."""

    name: str
    address: str


@dataclass(frozen=True)
class FileRow:
    """A file or folder in a list; ``status``: the worst that was found in it."""

    name: str
    is_folder: bool
    size: str
    address: str
    digest: str
    status: str


@dataclass(frozen=True)
class RevisionRow:
    """A commit in a list."""

    title: str
    author: str
    day: str
    short_id: str
    address: str
    tree_address: str


@router.get("/{where:where}/tree/{revision}")
@router.get("/{where:where}/tree/{revision}/{folder:path}")
def files_page(where: str, revision: str, session: CurrentSession, folder: str = "") -> HTMLResponse:
    """The files and folders of a folder."""
    repository = session.readable(*plural_and_name(where))
    commit = _commit(session, repository, revision)
    path = unescape_slashes(folder).strip("/")
    start = path + "/" if path else ""
    files = {name: file for name, file in commit.files.items() if name.startswith(start)}
    if path and not files:
        raise ApiError(404, f"{path[:120]} does not exist on {revision[:80]}")
    return render_tab(
        repository,
        "Files",
        "files.html",
        revision=unescape_slashes(revision),
        count=len(files),
        total=format_bytes(sum(file.size for file in files.values())),
        rows=_file_rows(session, repository, revision, start, files),
        crumbs=_crumbs(repository, revision, path),
    )


def _crumbs(repository: Repository, revision: str, folder: str) -> list[Crumb]:
    names = folder.split("/") if folder else []
    return [
        Crumb(name, page_path(repository.kind, repository.name, "tree", revision, "/".join(names[: at + 1])))
        for at, name in enumerate(names)
    ]


def _file_rows(
    session: Session, repository: Repository, revision: str, start: str, files: Mapping[str, File]
) -> list[FileRow]:
    """The files and folders directly below ``start``, folders first."""
    readable = session.may_read_files(repository)
    dangers = session.hub.dangers(repository, files if readable else {})
    members: dict[str, list[str]] = {}
    for path in sorted(files, key=lambda path: ("/" not in path[len(start) :], path)):
        members.setdefault(path[len(start) :].partition("/")[0], []).append(path)
    rows: list[FileRow] = []
    for name, paths in members.items():
        is_folder = paths[0] != start + name
        part = "tree" if is_folder else "blob"
        rows.append(
            FileRow(
                name,
                is_folder,
                format_bytes(sum(files[path].size for path in paths)),
                page_path(repository.kind, repository.name, part, revision, start + name),
                files[paths[0]].sha256[:12] if readable and not is_folder else "",
                worst([danger for path in paths for danger in dangers.get(path, [])]),
            )
        )
    return rows


@router.get("/{where:where}/blob/{revision}/{path:path}")
def file_page(where: str, revision: str, path: str, session: CurrentSession) -> HTMLResponse:
    """A file's text, or why it is not shown."""
    repository = session.readable(*plural_and_name(where), files=True)
    name = unescape_slashes(path)
    file = _commit(session, repository, revision).files.get(name)
    if file is None:
        raise ApiError(404, f"{path[:120]} does not exist on {revision[:80]}")
    is_small = file.size <= MOST_SHOWN_BYTES
    return render_tab(
        repository,
        "Files",
        "file.html",
        revision=unescape_slashes(revision),
        path=name,
        size=format_bytes(file.size),
        digest=file.sha256,
        text=shown_text(session.hub.blobs, file),
        why="This file is binary." if is_small else "This file is too large to be shown.",
        raw=page_path(repository.kind, repository.name, "resolve", revision, name),
        dangers=session.hub.dangers(repository, {name: file}).get(name, []),
    )


@router.get("/{where:where}/commits/{revision}")
def revisions_page(
    where: str, revision: str, session: CurrentSession, after: Annotated[int, Query(ge=0)] = 0
) -> HTMLResponse:
    """The commits from a revision back, a page at a time."""
    repository = session.readable(*plural_and_name(where))
    start = session.commit_id(repository, unescape_slashes(revision))
    history = session.hub.repositories.history(repository, start)
    end = after + _PAGE
    following = ""
    if len(history) > end:
        following = page_path(repository.kind, repository.name, "commits", revision) + f"?after={end}"
    rows = [_revision_row(repository, commit) for commit in history[after:end]]
    return render_tab(repository, "Revisions", "revisions.html", rows=rows, following=following)


def _revision_row(repository: Repository, commit: Commit) -> RevisionRow:
    return RevisionRow(
        commit.title,
        commit.author,
        day(commit.created),
        commit.id[:10],
        page_path(repository.kind, repository.name, "commit", commit.id),
        page_path(repository.kind, repository.name, "tree", commit.id),
    )


@router.get("/{where:where}/commit/{revision}")
def difference_page(where: str, revision: str, session: CurrentSession, since: str = "") -> HTMLResponse:
    """What a commit changed, or what changed ``since`` another revision."""
    repository = session.readable(*plural_and_name(where), files=True)
    new = _commit(session, repository, revision)
    earlier = session.commit_id(repository, since) if since else new.parent
    old = session.hub.repositories.commit(repository, earlier).files if earlier else {}
    compared = f" against {earlier[:10]}" if earlier else ", the first"
    return render_tab(
        repository,
        "Revisions",
        "difference.html",
        heading=new.title,
        message=new.message,
        files=changed_files(old, new.files),
        about=f"{new.author}, {day(new.created)}: {new.id[:10]}{compared}",
        difference=shown_difference(session.hub.blobs, old, new.files),
    )


def _commit(session: Session, repository: Repository, revision: str) -> Commit:
    commit_id = session.commit_id(repository, unescape_slashes(revision))
    return session.hub.repositories.commit(repository, commit_id)
