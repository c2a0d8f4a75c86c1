"""Rows of a query to an SQLite file that is opened to be read and for nothing else."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from freehold.core.errors import BadData, DoesNotFit, NotFound, UsageError
from freehold.data.bounds import BYTES_PER_VALUE, Bound
from freehold.data.draft import Draft, distinct_names, quoted, unusable
from freehold.data.table import Fields

#: Seconds that a query may take, with its rows.
LONGEST_QUERY_S = 600.0
_ROWS_AT_ONCE = 256
#: Steps of SQLite's machine between two looks at the clock.
_STEPS = 100_000
_EXAMPLE = 'sqlite:FILE?SELECT ..., for example "sqlite:tickets.db?SELECT body, team FROM tickets"'
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


def read_query(rest: str) -> Draft:
    """``rest`` is ``FILE?QUERY``. Raises NotFound, UsageError, BadData, DoesNotFit."""
    path, query = _parted(rest)
    draft = Draft(path.name)
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise BadData(f"{path} cannot be opened ({error})", "Check that it is an SQLite file") from error
    try:
        _fill(draft, connection, path, query)
    except sqlite3.DatabaseError as error:
        if "interrupted" in str(error):
            raise DoesNotFit(
                f"the query on {path.name} did not end within {LONGEST_QUERY_S:g} s",
                "Add a LIMIT, or check that none of its views repeats itself without end",
            ) from None
        if "too big" in str(error):
            raise DoesNotFit(
                f"the query on {path.name} has a value that is larger than the memory that may be read into",
                "Select fewer or shorter columns",
            ) from None
        raise _explained(connection, path, error) from error
    finally:
        connection.close()
    return draft


def _parted(rest: str) -> tuple[Path, str]:
    places = [at for at, character in enumerate(rest) if character == "?"]
    at = next((at for at in places if os.path.isfile(Path(rest[:at]).expanduser())), None)
    if at is None:
        file = Path(rest.partition("?")[0]).expanduser()
        if not os.path.isfile(file):
            raise NotFound(f"there is no file {file}", f"Write {_EXAMPLE}")
        at = len(rest)
    path, query = Path(rest[:at]).expanduser(), rest[at + 1 :].strip()
    if not query:
        raise UsageError(
            f"{path.name} needs a query; it has the tables {quoted(_tables(path)) or 'none'}",
            f"Write {_EXAMPLE}",
        )
    return path, query


def _tables(path: Path) -> list[str]:
    """Raises BadData for a file that SQLite cannot read."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
            )
            return [row[0] for row in rows]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise BadData(
            f"{path.name} is not an SQLite file, or is damaged ({error})", "Check the path"
        ) from error


def _explained(connection: sqlite3.Connection, path: Path, error: sqlite3.Error) -> BadData:
    connection.set_authorizer(None)
    if "not authorized" in str(error) or "prohibited" in str(error):
        return BadData("the query does more than read", "Use one SELECT")
    tables = _tables(path)
    return BadData(
        f"the query on {path.name} failed: {error}; its tables are {quoted(tables) or 'none'}",
        "Fix the query",
    )


def _allow(
    action: int, _first: str | None, second: str | None, _database: str | None, _trigger: str | None
) -> int:
    loads = action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in (
        "load_extension",
        "readfile",
        "writefile",
        "edit",
    )
    return sqlite3.SQLITE_OK if action in _ALLOWED and not loads else sqlite3.SQLITE_DENY


def _fill(draft: Draft, connection: sqlite3.Connection, path: Path, query: str) -> None:
    bound = Bound(draft.name)
    connection.set_authorizer(_allow)
    connection.text_factory = bytes
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(bound.most, 2**31 - 1))
    ends = time.monotonic() + LONGEST_QUERY_S
    connection.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
    try:
        cursor = connection.execute(query)
    except sqlite3.ProgrammingError as error:
        raise BadData(f"the query cannot be run: {error}", "Use one SELECT") from error
    draft.columns = distinct_names([each[0] for each in cursor.description or []], draft)
    for number, values in enumerate(_rows(cursor, bound), 1):
        bound.more(
            sum(len(value) if isinstance(value, bytes) else 8 for value in values)
            + len(values) * BYTES_PER_VALUE // 4
        )
        _take(draft, f"{draft.name}, row {number} of the query", values)


def _rows(cursor: sqlite3.Cursor, bound: Bound) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, some at a time."""
    for rows in bound.each(iter(lambda: cursor.fetchmany(_ROWS_AT_ONCE), [])):
        yield from rows


def _take(draft: Draft, place: str, values: tuple[Any, ...]) -> None:
    fields: Fields = {}
    for column, value in zip(draft.columns, values, strict=True):
        try:
            fields[column] = value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError:
            draft.fault(place, f'column "{column}": the text is not UTF-8')
            return
    reason = unusable(fields)
    if reason:
        draft.fault(place, reason)
    else:
        draft.add(place, fields)
