"""What a commit changes, computed, and written as rows of the catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.core import atomic_files
from freehold.core.errors import NotFound
from freehold.hub import discussions
from freehold.hub.commits import Change, File, Repository
from freehold.models import catalogue as tables
from freehold.models.names import check_path

#: Longest first line of a commit, in characters.
MOST_TITLE = 1000


def changed(
    files: dict[str, File], name: str, change: Change, files_at: Callable[[str], dict[str, File]]
) -> dict[str, File]:
    """The files after a change. ``files_at``: the files of a revision of the repository ``name``. Raises
    NotFound.
    """
    before = dict(files)
    for path in change.removed:
        if path not in files:
            raise NotFound(
                f"{path[:120]!r} cannot be removed: it is not in {name}",
                "look at the list of files",
            )
        del files[path]
    for folder in change.removed_folders:
        inside = [path for path in files if path.startswith(folder.rstrip("/") + "/")]
        if not inside:
            raise NotFound(
                f"the folder {folder[:120]!r} cannot be removed: it is not in {name}",
                "look at the list of files",
            )
        for path in inside:
            del files[path]
    for source, revision, target in change.copied:
        origin = files_at(revision) if revision else before
        if source not in origin:
            raise NotFound(
                f"{source[:120]!r} cannot be copied: it is not in {name}",
                "look at the list of files",
            )
        files[check_path(target)] = origin[source]
    return files | change.put


def differing(first: dict[str, File], second: dict[str, File]) -> set[str]:
    """Paths that are not the same in both."""
    return {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)}


def commit_row(parent: str, change: Change, author: str, files: dict[str, File]) -> dict[str, Any]:
    """The row of a commit; its id is the digest of the rest.

    Raises UsageError for texts that are too long.
    """
    discussions.check_most(change.title, MOST_TITLE, "summary of a commit")
    discussions.check_most(change.message, discussions.TEXT, "description of a commit")
    plain = {path: [file.sha256, file.size, file.lfs, file.oid] for path, file in sorted(files.items())}
    values = {
        "parent": parent,
        "title": change.title,
        "message": change.message,
        "author": author,
        "created": time.time(),
        "files": plain,
    }
    return values | {"id": atomic_files.digest_of(values)[:40]}


def branch_row(repository: Repository, branch: str) -> tuple[sa.ColumnElement[bool], ...]:
    """The row of a branch or of a request's line."""
    refs = tables.refs
    return (
        refs.c.repository == repository.id,
        refs.c.kind.in_(("branch", "request")),
        refs.c.name == branch,
    )


def protect(connection: sa.Connection, repository: int, files: Mapping[str, File]) -> None:
    """Note the contents of a commit, so that none of them is collected."""
    holdings = tables.holdings
    noted = set(
        connection.execute(sa.select(holdings.c.sha256).where(holdings.c.repository == repository)).scalars()
    )
    new = {file.sha256 for file in files.values()} - noted
    if new:
        connection.execute(
            holdings.insert(), [{"repository": repository, "sha256": digest} for digest in new]
        )


def new_number(connection: sa.Connection) -> int:
    """A number that no repository has or ever had, within a transaction."""
    table, highest = tables.numbers, sa.select(sa.func.max(tables.repositories.c.id)).scalar_subquery()
    same_repository = table.c.name == "repository"
    first = tables.upsert(connection, table).values(name="repository", last=0)
    connection.execute(first.on_conflict_do_nothing())
    last = sa.case((highest > table.c.last, highest), else_=table.c.last)
    connection.execute(table.update().where(same_repository).values(last=last + 1))
    return connection.execute(sa.select(table.c.last).where(same_repository)).scalar_one()
