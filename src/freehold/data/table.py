"""A table: rows of named fields as a reader found them, before anything is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Values by name as a file holds them: a row's by column, or those of an object inside a row.
Fields = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    #: Names the row for a person, such as ``tickets.csv, line 12``.
    place: str
    #: Its values by column.
    fields: Fields


@dataclass(frozen=True)
class Fault:
    """A row, or a part of one, that cannot be used. Both texts are short phrases without a full stop."""

    #: Where it is.
    place: str
    #: What is wrong with it.
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True)
class Table:
    """All rows that a reader found in one source."""

    name: str
    #: sha256 of the file, or of the rows where there is no file.
    digest: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    #: Sentences on what the reader decided (delimiter, encoding, sheet, header) and what it left out.
    notes: tuple[str, ...] = ()
    #: Rows that could not be read.
    faults: tuple[Fault, ...] = ()
