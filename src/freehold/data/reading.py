"""Decisions on answers that need all rows: which words mean a missing value, and whether a row has several
labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from freehold.data.choices import first_mark
from freehold.data.columns import Mapping
from freehold.data.names import SEVERAL, rank
from freehold.data.shapes import Reading, split_labels
from freehold.data.table import Table
from freehold.data.values import MISSING, MISSING_IF_RARE, is_missing, parsed, text_of, unwrapped

#: A word such as "none" is a label from this share of the rows on.
_OFTEN = 0.2
_NEARLY = 0.95
_MOST_LABELS = 200


def decide(tables: Sequence[tuple[Table, Mapping]]) -> tuple[Reading, list[str]]:
    """(the decisions for all tables of a task, sentences on them)."""
    values, column = _answers(tables)
    missing, notes = _missing(values, column)
    if not any(mapping.shape == "text" for _, mapping in tables):
        choices = any("choices" in mapping.parts for _, mapping in tables)
        return Reading(missing, first_choice=first_mark(values) if choices else ""), notes
    present = [value for value in values if not is_missing(value, missing)]
    separator = _separator(present, column, any("labels" in mapping.parts for _, mapping in tables))
    if not separator:
        return Reading(missing), notes
    as_json = any(", " in str(label) for value in present for label in split_labels(value, separator) or [])
    how = "lists" if separator == "list" else f'texts with "{separator}" between the labels'
    written = "a JSON list" if as_json else "the labels in alphabetical order, separated by commas"
    notes.append(
        f'Rows have several labels: column "{column}" has {how}. The expected answer is {written}; their '
        "order does not matter."
    )
    return Reading(missing, separator, as_json), notes


def _answers(tables: Sequence[tuple[Table, Mapping]]) -> tuple[list[Any], str]:
    """(the cells of the answer column, its name); nothing for chats."""
    values: list[Any] = []
    name = ""
    for table, mapping in tables:
        part = next((part for part in ("completion", "label", "labels") if part in mapping.parts), None)
        if part is not None and mapping.shape != "messages":
            name = name or mapping.parts[part][0]
            values += [unwrapped(row.fields.get(mapping.parts[part][0])) for row in table.rows]
    return values, name


def _missing(values: Sequence[Any], column: str) -> tuple[frozenset[str], list[str]]:
    counts = Counter(
        value.strip() for value in values if isinstance(value, str) and value.strip() in MISSING_IF_RARE
    )
    often = {word: count for word, count in counts.items() if count >= _OFTEN * len(values)}
    notes = [
        f'"{word}" is the value of column "{column}" in {count} of {len(values)} rows: it is read as an '
        "answer, not as a missing value."
        for word, count in often.items()
    ]
    return MISSING | (MISSING_IF_RARE - set(often)), notes


def _separator(values: Sequence[Any], column: str, several: bool) -> str:
    """What stands between the labels of a row: "list" where cells are lists, "" where a row has one label."""
    if not values:
        return ""
    lists = sum(isinstance(parsed(value), list | tuple) for value in values)
    if lists >= _NEARLY * len(values) or (lists and several):
        return "list"
    texts = [text_of(value) for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        return "list" if several else ""
    named = several or rank(column, SEVERAL, whole=True) is not None
    for separator in (";", "|", ","):
        if _splits(texts, separator, named) and (separator != "," or named):
            return separator
    return "list" if several else ""


def _splits(texts: Sequence[str], separator: str, named: bool) -> bool:
    """Whether nearly all texts are made of few pieces that come back in other combinations."""
    whole = [tuple(piece.strip() for piece in text.split(separator) if piece.strip()) for text in texts]
    split = [pieces for pieces in whole if len(pieces) > 1]
    if len(split) < max(2, 0.02 * len(texts)):
        return False
    rows = Counter(piece for pieces in whole for piece in set(pieces))
    combinations: dict[str, set[tuple[str, ...]]] = {}
    for pieces in whole:
        for piece in pieces:
            combinations.setdefault(piece, set()).add(tuple(sorted(pieces)))
    if len(rows) > _MOST_LABELS or max(map(len, rows)) > 60:
        return False
    closed = sum(all(rows[piece] > 1 for piece in pieces) for pieces in whole)
    if closed < (0.5 if named else _NEARLY) * len(whole):
        return False
    shared = sum(any(len(combinations[piece]) > 1 for piece in pieces) for pieces in split)
    return shared >= _NEARLY * len(split)
