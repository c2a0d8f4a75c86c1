"""Cases of the front door: what a file holds, and what must be read, said or refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freehold.data.examples import RowOptions, parse_columns

_THINGS = {
    "invoice": "billing",
    "refund": "billing",
    "password": "access",
    "badge": "access",
    "parcel": "shipping",
    "courier": "shipping",
    "screen": "hardware",
    "printer": "hardware",
}
_FAULTS = (
    "is broken",
    "went missing",
    "was charged twice",
    "does not start",
    "arrived late",
    "shows an error",
)
_WHERE = (
    "in Oslo",
    "at the front desk",
    "since Monday",
    "on floor three",
    "after the update",
    "for the whole team",
)


@dataclass(frozen=True)
class Ticket:
    """A support ticket: a subject, a body, its team, and a number of its own."""

    number: int
    subject: str
    text: str
    label: str


def tickets(count: int = 40) -> list[Ticket]:
    """Different tickets, always the same ones."""
    chance = random.Random(7)
    made: list[Ticket] = []
    for number in range(count):
        thing = chance.choice(list(_THINGS))
        subject = f"{thing.title()} {chance.choice(_FAULTS)}"
        text = f"The {thing} {chance.choice(_FAULTS)} {chance.choice(_WHERE)}, case {1000 + 7 * number}."
        made.append(Ticket(number, subject, text, _THINGS[thing]))
    return made


T = tickets()
FIRST = T[0]


def lines(rows: Sequence[Any]) -> bytes:
    """Rows as JSON lines; a text is a line as it stands."""
    written = [
        row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, default=str) for row in rows
    ]
    return ("\n".join(written) + "\n").encode()


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], delimiter: str = ",", end: str = "\n"
) -> str:
    """A CSV text; cells with a delimiter, quote or line end are quoted."""

    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in (delimiter, '"', "\n")) else text

    return "".join(delimiter.join(map(cell, row)) + end for row in [columns, *rows])


Content = bytes | str | Sequence[Any] | Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A file and what must come of it.

    ``content``: bytes, a text, rows to be written as JSON lines, or a function that writes the file. Where
    ``refused`` is
    given the file must be refused with these phrases; else ``count`` examples are read, the first of which
    asks ``prompt``
    (a part of its last user message) and wants ``answer``; ``columns`` and ``notes`` are phrases of what is
    said.
    """

    name: str
    content: Content
    file: str = "in.jsonl"
    count: int = 40
    prompt: str | None = None
    answer: str | None = None
    system: str | None = None
    roles: str | None = None
    reference: Mapping[str, str] | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    silent: bool = False
    left_out: int = 0
    refused: tuple[str, ...] = ()
    options: RowOptions = field(default_factory=RowOptions)

    def write(self, folder: Path) -> Path:
        """Writes the file into a folder."""
        path = folder / self.file
        if callable(self.content):
            self.content(path)
        elif isinstance(self.content, bytes):
            path.write_bytes(self.content)
        elif isinstance(self.content, str):
            path.write_bytes(self.content.encode())
        else:
            path.write_bytes(lines(self.content))
        return path


def given(columns: str, **options: Any) -> RowOptions:
    """Options with ``--columns``."""
    return RowOptions(parse_columns(columns), **options)


def chat(*said: tuple[str, Any], role: str = "role", content: str = "content") -> list[dict[str, Any]]:
    """Messages from (role, content) pairs."""
    return [{role: who, content: what} for who, what in said]
