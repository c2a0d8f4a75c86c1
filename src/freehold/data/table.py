"""A table: rows of named fields as a reader found them, before anything is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """``place`` names the row for a person, e.g.

    ``tickets.csv, line 12``; ``fields`` are its values by column.
    """

    place: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A row, or a part of one, that cannot be used: where it is and what is wrong with it, each a short
    phrase without a full stop.
    """

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True)
class Table:
    """``notes`` are sentences on what the reader decided (delimiter, encoding, sheet, header) and what it
    left out.

    ``digest`` is the sha256 of the file, or of the rows where there is no file. ``faults`` are rows that
    could not be read at all.
    """

    name: str
    digest: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
