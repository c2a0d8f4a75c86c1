"""The full-text table behind :mod:`freehold.hub.search_index`, in each database's own form.

SQLite: an FTS5 table of tokens, contentless and without positions; a row is removed by handing it its own
tokens again. PostgreSQL: a table of 64-bit digests of the tokens with a GIN index over them, which intersects
lists as FTS5 does and skips through the long ones where a short one leaves few candidates (its "fast scan").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa


@dataclass(frozen=True)
class Match:
    """All of these tokens, and one at least of each group."""

    all_of: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all_of or self.any_of)

    def narrowed(self, group: Iterable[str]) -> Match:
        """With one more group."""
        return Match(self.all_of, (*self.any_of, tuple(group)))


class Source(NamedTuple):
    """Repositories ``r`` that match: what stands after FROM and its values, what stands in WHERE and its
    values.
    """

    table: str
    values: list[Any]
    where: str
    where_values: list[Any]


class SearchTable(Protocol):
    """What the index needs of either form. SQL has ``?`` where values go; :meth:`run` puts in what the
    database takes.
    """

    def run(self, connection: sa.Connection, sql: str, values: Sequence[Any]) -> Sequence[Any]:
        """The rows of a query."""
        ...

    def put(self, connection: sa.Connection, rows: Sequence[tuple[int, list[str]]]) -> None:
        """Add rows of (repository, tokens)."""
        ...

    def take_out(self, connection: sa.Connection, rows: Sequence[tuple[int, str]]) -> None:
        """Remove rows of (repository, its tokens with spaces between)."""
        ...

    def condition(self, match: Match) -> tuple[str, list[Any]]:
        """A condition on a row of ``search``, whose number is ``search.rowid``, and its values."""
        ...

    def matching(self, match: Match) -> Source:
        """The repositories that match, found through the table of tokens."""
        ...

    def ordered_by(self, key: str) -> str:
        """Repositories as ``r``, to be walked in the order of a key."""
        ...


class SqliteSearch:
    """FTS5."""

    def run(self, connection: sa.Connection, sql: str, values: Sequence[Any]) -> Sequence[Any]:
        """See :class:`SearchTable`."""
        return connection.exec_driver_sql(sql, tuple(values)).all()

    def put(self, connection: sa.Connection, rows: Sequence[tuple[int, list[str]]]) -> None:
        """See :class:`SearchTable`."""
        connection.exec_driver_sql(
            "INSERT INTO search(rowid, tokens) VALUES (?, ?)",
            [(number, " ".join(tokens)) for number, tokens in rows],
        )

    def take_out(self, connection: sa.Connection, rows: Sequence[tuple[int, str]]) -> None:
        """See :class:`SearchTable`."""
        for number, tokens in rows:
            connection.exec_driver_sql(
                "INSERT INTO search(search, rowid, tokens) VALUES ('delete', ?, ?)", (number, tokens)
            )

    def condition(self, match: Match) -> tuple[str, list[Any]]:
        """See :class:`SearchTable`."""
        parts = [f'"{token}"' for token in match.all_of]
        parts += ["(" + " OR ".join(f'"{token}"' for token in group) + ")" for group in match.any_of]
        return "search MATCH ?", [" AND ".join(parts)]

    def matching(self, match: Match) -> Source:
        """See :class:`SearchTable`. A cross join keeps SQLite from beginning with the other table."""
        condition, values = self.condition(match)
        return Source(
            "search CROSS JOIN repositories r INDEXED BY by_id ON r.id = search.rowid",
            [],
            f"AND {condition}",
            values,
        )

    def ordered_by(self, key: str) -> str:
        """See :class:`SearchTable`."""
        return f"repositories r INDEXED BY by_{key}"


class PostgresSearch:
    """Arrays of digests under GIN. Two tokens of one digest would be taken for each other: one pair in 2.5
    million's is a chance of 2e-7.
    """

    def run(self, connection: sa.Connection, sql: str, values: Sequence[Any]) -> Sequence[Any]:
        """See :class:`SearchTable`."""
        return connection.exec_driver_sql(sql.replace("?", "%s"), tuple(values)).all()

    def put(self, connection: sa.Connection, rows: Sequence[tuple[int, list[str]]]) -> None:
        """See :class:`SearchTable`."""
        values = [(number, sorted({_digest(token) for token in tokens})) for number, tokens in rows]
        connection.exec_driver_sql("INSERT INTO search(rowid, tokens) VALUES (%s, %s)", values)

    def take_out(self, connection: sa.Connection, rows: Sequence[tuple[int, str]]) -> None:
        """See :class:`SearchTable`."""
        connection.exec_driver_sql(
            "DELETE FROM search WHERE rowid = ANY(%s)", ([number for number, _ in rows],)
        )

    def condition(self, match: Match) -> tuple[str, list[Any]]:
        """See :class:`SearchTable`."""
        parts, values = [], []
        if match.all_of:
            parts, values = ["search.tokens @> ?::bigint[]"], [[_digest(token) for token in match.all_of]]
        for group in match.any_of:
            parts.append("search.tokens && ?::bigint[]")
            values.append([_digest(token) for token in group])
        return " AND ".join(parts), values

    def matching(self, match: Match) -> Source:
        """See :class:`SearchTable`. The offset keeps PostgreSQL from walking the other table in its order and
        probing row by row.
        """
        condition, values = self.condition(match)
        return Source(
            f"(SELECT rowid FROM search WHERE {condition} OFFSET 0) search JOIN repositories r ON r.id = "
            "search.rowid",
            values,
            "",
            [],
        )

    def ordered_by(self, key: str) -> str:
        """See :class:`SearchTable`."""
        return "repositories r"


def _digest(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "big", signed=True)
