"""Rows that belong together: the column that says so, and columns that look as if they did."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from freehold.core.errors import BadData, UsageError
from freehold.core.wording import counted
from freehold.data.columns import Mapping, existing
from freehold.data.names import words_of
from freehold.data.nested import opened
from freehold.data.table import Row, Table
from freehold.data.values import MISSING_TEXT, RowFault, is_missing, parsed, text_of, unwrapped

if TYPE_CHECKING:
    from freehold.data.examples import Example


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that name something which several rows may be of. A column named so is a group only with repeats.
_OF = _words(
    "patient patients subject participant author writer speaker user customer client account person student "
    "doc document article paper book chapter thread conversation dialog dialogue chat session case visit "
    "encounter admission study site hospital household family company repo repository story "
    "passage paragraph video episode reviewer annotator respondent interview "
    "patientin autor kunde dokument auteur cliente documento autore"
)
_IDS = _words("id ids uuid guid key nr no num number code name hash nummer")
_ANSWERS = ("label", "labels", "completion")
#: Words of :data:`_OF` that alone name something else more often.
_UNCLEAR = _words("subject case site user account person session story video client")
#: A column of fewer rows than this for a value, on average, does not look like one of groups.
_FEWEST_ROWS_A_GROUP = 1.2
_FEWEST_GROUPS = 5


def groups_of(table: Table, column: str, mapping: Mapping) -> tuple[str, list[str]]:
    """(the column as the table writes it, what each of its rows belongs to: "" where the cell is empty).

    A field inside a column of objects may be named too. Raises BadData naming the nearest column, and
    UsageError where the column is the answer.
    """
    try:
        name = existing(column, table, "--group")
    except BadData:
        inside = opened(table)
        if inside is table or set(inside.columns) == set(table.columns):
            raise
        table, name = inside, existing(column, inside, "--group")
    _refuse_answer(name, mapping)
    return name, [_group_of(row, name) for row in table.rows]


def _refuse_answer(column: str, mapping: Mapping) -> None:
    """Raises UsageError where the column is the answer: each answer would be in one split only."""
    part = next((part for part in _ANSWERS if column in mapping.parts.get(part, ())), "")
    if part:
        raise UsageError(
            f"--group {column}: this column is the {part}, so each {part} would be in one split only",
            "name a column that says which rows belong together, such as patient_id",
        )


def _group_of(row: Row, column: str) -> str:
    """What a row belongs to, as text; 7 and 7.0 are the same."""
    value = unwrapped(row.fields.get(column))
    if is_missing(value, MISSING_TEXT):
        return ""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    try:
        return text_of(value, column).strip()
    except RowFault:
        return repr(value)


def group_notes(table: str, column: str, groups: Sequence[str]) -> list[str]:
    """Sentences on how many groups rows have, and how many rows are of none."""
    empty = sum(not group for group in groups)
    known = counted(len(groups) - empty, "row belongs", "rows belong")
    number = counted(len(set(groups) - {""}), "group")
    notes = [f'{table}: {known} to {number} by the column "{column}".']
    if empty:
        rows = counted(empty, "row has", "rows have")
        alone = "stands alone" if empty == 1 else "stand alone, each as a group of its own"
        notes.append(f'{table}: {rows} no value in the column "{column}" and {alone}.')
    return notes


def suggested(tables: Collection[Table], used: Collection[str]) -> str:
    """A sentence that names ``--group`` where a column of no part looks like one of groups; else ""."""
    first = next(iter(tables))
    for column in sorted(set(first.columns) - set(used), key=lambda name: (-_looks(name), name)):
        if not _looks(column) or any(column not in table.columns for table in tables):
            continue
        counts = Counter(group for table in tables for row in table.rows if (group := _group_of(row, column)))
        rows = counts.total()
        if len(counts) < _FEWEST_GROUPS or rows < _FEWEST_ROWS_A_GROUP * len(counts):
            continue
        if any(isinstance(parsed(row.fields.get(column)), list | dict) for row in first.rows[:20]):
            continue
        return (
            f'The column "{column}" has {len(counts):,} values on {rows:,} rows. If rows with the same value '
            f"belong together, pass --group {_quoted(column)}: they then stay in one split, and the "
            "intervals "
            "take it into account."
        )
    return ""


def _looks(column: str) -> int:
    """2 where a name says what rows are of with an id, 1 where it only says so, 0 for other names."""
    words = set(words_of(column))
    if not words & _OF:
        return 0
    rest = words - _OF
    if rest:
        return 2 if rest <= _IDS else 0
    return 0 if words <= _UNCLEAR else 1


def _quoted(column: str) -> str:
    return f'"{column}"' if " " in column else column


def clusters(examples: Sequence[Example]) -> tuple[str, ...] | None:
    """For each row the name of what it belongs to, where a row that stands alone has a name of its own;
    None where no row belongs to anything. What intervals with groups are made from.
    """
    if not any(example.group for example in examples):
        return None
    return tuple(f"group {e.group}" if e.group else f"row {number}" for number, e in enumerate(examples))
