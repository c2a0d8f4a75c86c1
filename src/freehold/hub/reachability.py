"""Which commits and contents the branches, tags and requests of a repository lead to."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from freehold.models import catalogue as tables


def leads_to(connection: sa.Connection, repository: int, commit_id: str) -> bool:
    """Whether a branch, a tag, a request or a mirrored commit is at a commit or came after it."""
    refs = tables.refs
    at = sa.select(refs.c.name).where(refs.c.repository == repository, refs.c.commit_id == commit_id)
    if connection.execute(at.limit(1)).first() is not None:
        return True
    line = line_of_refs(repository)
    statement = sa.select(line.c.id).where(line.c.id == commit_id).limit(1)
    return connection.execute(statement).first() is not None


def held_by(connection: sa.Connection, repository: int, digests: Collection[str]) -> set[str]:
    """Those of ``digests`` that a revision of a repository, by its number, holds: a ref's commit or one
    before it."""
    holdings, commits = tables.holdings, tables.commits
    ever: set[str] = set()
    for some in tables.in_parts(digests):
        where = (holdings.c.repository == repository, holdings.c.sha256.in_(some))
        ever |= set(connection.execute(sa.select(holdings.c.sha256).where(*where)).scalars())
    if not ever:
        return ever
    of_it = commits.c.repository == repository
    known = set(connection.execute(sa.select(commits.c.id).where(of_it)).scalars())
    line = set(connection.execute(sa.select(line_of_refs(repository).c.id)).scalars()) & known
    if line == known:  # nothing was removed or squashed: what was ever held still is
        return ever
    left = set(ever)
    for some in tables.in_parts(line):
        states = connection.execute(sa.select(commits.c.files).where(of_it, commits.c.id.in_(some)))
        for files in states.scalars():
            left -= {values[0] for values in files.values()}
    return ever - left


def line_of_refs(repository: int) -> sa.CTE:
    """The commits that a repository's refs are at, and all before them, as rows of ``id``."""
    refs, commits = tables.refs, tables.commits
    line = (
        sa.select(refs.c.commit_id.label("id"))
        .where(refs.c.repository == repository)
        .cte("line", recursive=True)
    )
    earlier = sa.select(commits.c.parent).where(
        commits.c.repository == repository, commits.c.id == line.c.id, commits.c.parent != ""
    )
    return line.union(earlier)
