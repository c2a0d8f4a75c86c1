"""Discussions of a repository and the requests to change it: a numbered line of events each.

A request is a discussion with a line of commits beside the branches, ``refs/pr/NUMBER``; both are numbered
together. What merges one is in :mod:`freehold.hub.repositories`, since merging is a commit.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.core.errors import Conflict, NotFound, UsageError
from freehold.models import catalogue as tables

STATUSES = ("open", "closed", "merged", "draft")
#: Longest title and longest comment, in characters.
TITLE, TEXT = 300, 100_000


@dataclass(frozen=True)
class Discussion:
    """A discussion's row; ``request``: it proposes a change to the branch ``base``; ``merged_as``: the commit
    that took it in.
    """

    repository: int
    number: int
    title: str
    status: str
    author: str
    created: float
    request: bool
    base: str
    merged_as: str


@dataclass(frozen=True)
class Event:
    """What happened: ``comment`` (raw, edited, hidden), ``title-change`` (from, to), ``status-change``
    (status), ``commit`` (subject, oid).
    """

    id: str
    author: str
    at: float
    kind: str
    data: dict[str, Any]


def line_of(number: int) -> str:
    """Name of a request's line of commits."""
    return f"refs/pr/{number}"


def number_of(line: str) -> int:
    """Inverse of :func:`line_of`; 0 for what is no request's line."""
    number = line.removeprefix("refs/pr/")
    return int(number) if number != line and number.isdecimal() and len(number) < 10 else 0


def check_most(value: str, most: int, what: str) -> None:
    """Raises UsageError for a text that is too long."""
    if len(value) > most:
        raise UsageError(f"the {what} has {len(value)} characters", f"send at most {most}")


def check_text(value: str, most: int, what: str) -> str:
    """The text without the space around it. Raises UsageError for an empty or a too long one."""
    text = value.strip()
    if not text or len(text) > most:
        raise UsageError(f"the {what} has {len(text)} characters", f"send 1 to {most}")
    return text


def start(
    connection: sa.Connection,
    repository: int,
    title: str,
    author: str,
    *,
    text: str = "",
    request: bool = False,
    status: str = "open",
) -> int:
    """A new discussion within a transaction; its number."""
    table = tables.discussions
    number = 1 + (
        connection.execute(
            sa.select(sa.func.max(table.c.number)).where(table.c.repository == repository)
        ).scalar()
        or 0
    )
    connection.execute(
        table.insert().values(
            repository=repository,
            number=number,
            title=title[:TITLE],
            status=status,
            author=author,
            created=time.time(),
            request=request,
            base="main",
            merged_as="",
        )
    )
    if text:
        _say(connection, repository, number, author, text)
    return number


def note(
    connection: sa.Connection, repository: int, number: int, author: str, kind: str, data: dict[str, Any]
) -> Event:
    """Add an event within a transaction."""
    event = Event(secrets.token_hex(12), author, time.time(), kind, data)
    connection.execute(
        tables.events.insert().values(
            id=event.id,
            repository=repository,
            number=number,
            author=author,
            at=event.at,
            kind=kind,
            data=data,
        )
    )
    return event


def _say(connection: sa.Connection, repository: int, number: int, author: str, text: str) -> Event:
    return note(
        connection, repository, number, author, "comment", {"raw": text, "edited": False, "hidden": False}
    )


def set_status(
    connection: sa.Connection, discussion: Discussion, status: str, author: str, merged_as: str = ""
) -> Event:
    """Change a discussion's status within a transaction, unless someone else did since it was read. Raises
    Conflict.
    """
    table = tables.discussions
    changed = connection.execute(
        table.update()
        .where(
            table.c.repository == discussion.repository,
            table.c.number == discussion.number,
            table.c.status == discussion.status,
        )
        .values(status=status, merged_as=merged_as)
    )
    if changed.rowcount != 1:
        raise Conflict(f"discussion {discussion.number} is no longer {discussion.status}", "look at it again")
    return note(
        connection, discussion.repository, discussion.number, author, "status-change", {"status": status}
    )


class Discussions:
    """The discussions in one store."""

    def __init__(self, engine: sa.Engine):
        self.engine = engine

    def list(
        self,
        repository: int,
        *,
        request: bool | None = None,
        closed: bool | None = None,
        author: str = "",
        after: int = 0,
        limit: int = 50,
    ) -> tuple[list[Discussion], int]:
        """(a page of them, newest first; how many there are). ``closed``: whether merged or closed ones, None
        for all.
        """
        table = tables.discussions
        conditions = [table.c.repository == repository]
        if request is not None:
            conditions.append(table.c.request == request)
        if closed is not None:
            over = table.c.status.in_(("closed", "merged"))
            conditions.append(over if closed else sa.not_(over))
        if author:
            conditions.append(table.c.author == author)
        with self.engine.connect() as connection:
            count = connection.execute(sa.select(sa.func.count()).where(*conditions)).scalar() or 0
            rows = connection.execute(
                sa.select(table).where(*conditions).order_by(table.c.number.desc()).offset(after).limit(limit)
            )
            return [Discussion(*row) for row in rows], count

    def find(self, repository: int, number: int) -> Discussion:
        """Raises NotFound."""
        table = tables.discussions
        row = None
        if 0 < number < 2**31:  # databases hold no larger ones
            with self.engine.connect() as connection:
                row = connection.execute(
                    sa.select(table).where(table.c.repository == repository, table.c.number == number)
                ).first()
        if row is None:
            raise NotFound(f"there is no discussion {str(number)[:40]}", "look at the list of discussions")
        return Discussion(*row)

    def events(self, discussion: Discussion) -> list[Event]:
        """All that happened, in order."""
        table = tables.events
        conditions = table.c.repository == discussion.repository, table.c.number == discussion.number
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(table).where(*conditions).order_by(table.c.at, table.c.id))
            return [Event(row.id, row.author, row.at, row.kind, row.data) for row in rows]

    def comment(self, discussion: Discussion, author: str, text: str) -> Event:
        """Add a comment. Raises UsageError."""
        text = check_text(text, TEXT, "comment")
        with self.engine.begin() as connection:
            return _say(connection, discussion.repository, discussion.number, author, text)

    def rename(self, discussion: Discussion, author: str, title: str) -> Event:
        """Give another title. Raises UsageError."""
        title = check_text(title, TITLE, "title")
        table = tables.discussions
        with self.engine.begin() as connection:
            connection.execute(
                table.update()
                .where(table.c.repository == discussion.repository, table.c.number == discussion.number)
                .values(title=title)
            )
            return note(
                connection,
                discussion.repository,
                discussion.number,
                author,
                "title-change",
                {"from": discussion.title, "to": title},
            )

    def status(self, discussion: Discussion, author: str, status: str, comment: str = "") -> Event:
        """Open or close it. Raises UsageError, and Conflict for a merged one."""
        if status not in ("open", "closed"):
            raise UsageError(f"{status[:40]!r} is not a valid status", "send open or closed")
        if discussion.status == "merged":
            raise Conflict(
                f"request {discussion.number} is merged, and that cannot be changed", "open another one"
            )
        with self.engine.begin() as connection:
            if comment.strip():
                _say(
                    connection,
                    discussion.repository,
                    discussion.number,
                    author,
                    check_text(comment, TEXT, "comment"),
                )
            return set_status(connection, discussion, status, author)

    def find_comment(self, discussion: Discussion, event: str) -> Event:
        """Raises NotFound."""
        for comment in self.events(discussion):
            if comment.id == event and comment.kind == "comment":
                return comment
        raise NotFound(
            f"discussion {discussion.number} has no comment {event[:40]!r}", "look at the discussion"
        )

    def edit(self, discussion: Discussion, comment: Event, text: str | None) -> Event:
        """Put another text into a comment; None hides it for good. Raises UsageError, Conflict."""
        if comment.data["hidden"]:
            raise Conflict("the comment is hidden, and that cannot be changed", "write another one")
        hidden = {"raw": "", "edited": comment.data["edited"], "hidden": True}
        data = (
            hidden
            if text is None
            else {"raw": check_text(text, TEXT, "comment"), "edited": True, "hidden": False}
        )
        with self.engine.begin() as connection:
            connection.execute(
                tables.events.update().where(tables.events.c.id == comment.id).values(data=data)
            )
        return Event(comment.id, comment.author, comment.at, comment.kind, data)
