"""A table under way: what the readers of each kind of file add rows, notes and faults to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from freehold.core.errors import BadData
from freehold.data.bounds import Bound
from freehold.data.table import Fault, Fields, Row, Table

#: Half of a pair that stands for one character, which no encoding can write, and the character that ends a
#: text in C.
_UNUSABLE = re.compile("[\ud800-\udfff\0]")
#: Values nested deeper than this cannot be an answer that anything else reads.
DEEPEST = 200
#: Columns that a table may have.
MOST_COLUMNS = 10_000


@dataclass
class Draft:
    """Rows, sentences on what was decided, and rows that could not be read. ``columns`` come first in the
    order given.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    #: Counts what rows cost beside their text.
    bound: Bound = field(init=False)

    def __post_init__(self) -> None:
        self.bound = Bound(self.name)

    def add(self, place: str, fields: Fields) -> None:
        """Take a row in. Raises DoesNotFit."""
        self.bound.row(len(fields))
        self.rows.append(Row(place, fields))

    def fault(self, place: str, reason: str) -> None:
        """Note a row that cannot be used. Raises DoesNotFit."""
        self.bound.row(2)
        self.faults.append(Fault(place, reason))

    def table(self, digest: str) -> Table:
        """The finished table; its columns are those of all rows. Raises BadData where they are too many."""
        columns = dict.fromkeys(self.columns)
        for row in self.rows:
            if not row.fields.keys() <= columns.keys():
                columns |= dict.fromkeys(row.fields)
                check_columns(self.name, len(columns))
        return Table(
            self.name, digest, tuple(columns), tuple(self.rows), tuple(self.notes), tuple(self.faults)
        )


def unusable(fields: Fields) -> str:
    """Why a row's texts cannot be used, with the column, or nothing."""
    for column, value in fields.items():
        reason = next((_reason(text) for text in _texts(column, value) if _UNUSABLE.search(text)), "")
        if reason:
            shown = column.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
            return f'column "{shown}": {reason}'
    return ""


def _reason(text: str) -> str:
    character = _UNUSABLE.search(text)
    assert character is not None
    if character[0] == "\0":
        return "the text contains a NUL character"
    code = f"\\u{ord(character[0]):04x}"
    return f"the text contains half of a character ({code}); perhaps an emoji was cut in the middle"


def _texts(column: str, value: Any) -> Iterable[str]:
    """The texts in a value, at any depth."""
    yield column
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            pending += value


def depth(value: Any) -> int:
    """How many lists and objects lie within each other."""
    deepest, pending = 0, [(value, 0)]
    while pending:
        value, level = pending.pop()
        if isinstance(value, dict | list):
            deepest = max(deepest, level + 1)
            inner = value.values() if isinstance(value, dict) else value
            pending += [(each, level + 1) for each in inner if isinstance(each, dict | list)]
    return deepest


def check_columns(name: str, count: int) -> None:
    """Raises BadData where a table has more columns than any reader needs."""
    if count > MOST_COLUMNS:
        raise BadData(
            f"{name} has {count:,} columns; at most {MOST_COLUMNS:,} can be read",
            "Write a file that has only the columns with the texts and the answers",
        )


def distinct_names(names: list[str], draft: Draft) -> list[str]:
    """Column names without outer spaces, none empty, none twice; says what was changed. Raises BadData."""
    check_columns(draft.name, len(names))
    trimmed = [name.strip().strip("\ufeff\u200b").strip() for name in names]
    if any(name != short for name, short in zip(names, trimmed, strict=True)):
        changed = [short for name, short in zip(names, trimmed, strict=True) if name != short]
        draft.notes.append(f"Spaces around column names are removed: {quoted(changed)}.")
    stated, taken, counts = frozenset(trimmed), set[str](), Counter[str]()
    final: list[str] = []
    for number, name in enumerate(trimmed, 1):
        name = name or f"column_{number}"
        unique, counts[name] = name, max(counts[name], 1)
        while unique in taken or (unique != name and unique in stated):
            counts[name] += 1
            unique = f"{name}_{counts[name]}"
        taken.add(unique)
        final.append(unique)
    _say_renamed(trimmed, final, draft)
    return final


def _say_renamed(trimmed: list[str], final: list[str], draft: Draft) -> None:
    unnamed = [new for old, new in zip(trimmed, final, strict=True) if not old]
    if unnamed:
        draft.notes.append(f"Columns without a name are called {quoted(unnamed)}.")
    for old, new in zip(trimmed, final, strict=True):
        if old and old != new:
            draft.notes.append(
                f'The column name "{old}" appears more than once; a later one is called "{new}".'
            )


def quoted(names: Iterable[str], most: int = 8) -> str:
    """Names for a sentence, the first few of many."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f'"{name}"' for name in names[:most]) + more
