"""Whether the first record of a table names its columns, or is a row like the others."""

from __future__ import annotations

import re

#: Names that are common for columns and rare as values.
COMMON = frozenset(
    [
        "id",
        "text",
        "label",
        "labels",
        "category",
        "body",
        "subject",
        "description",
        "title",
        "message",
        "messages",
        "prompt",
        "completion",
        "question",
        "answer",
        "instruction",
        "input",
        "output",
        "response",
        "context",
        "content",
        "sentence",
        "review",
        "sentiment",
        "score",
        "rating",
        "intent",
        "topic",
        "class",
        "target",
        "ticket_id",
        "created",
        "created_at",
        "updated",
        "date",
        "timestamp",
        "name",
        "email",
        "language",
        "lang",
        "source",
        "split",
        "system",
        "history",
        "team",
        "priority",
        "status",
        "type",
        "comment",
        "comments",
        "summary",
        "query",
        "document",
        "url",
        "user",
        "customer",
    ]
)
_VALUE = re.compile(r"[-+]?\d+(?:[.,:/\-]\d+)*(?:[eE][-+]?\d+)?%?|\d{4}-\d\d-\d\d[ T].*")
_LONGEST_NAME = 200
_FEW_ROWS = 20


def has_header(records: list[list[str]]) -> bool:
    """``records``: the first some hundred, as texts. A number, a long text, or a value that its column
    repeats is no name.
    """
    first, rest = records[0], [record for record in records[1:] if record != records[0]]
    if not rest:
        return True
    if sum(cell.strip().lower() in COMMON for cell in first) > 1:
        return True
    if any(
        _repeated(cell, [record[n] for record in rest if n < len(record)]) for n, cell in enumerate(first)
    ):
        return False
    if any(cell.strip().lower() in COMMON for cell in first):
        return True
    return not any(
        _VALUE.fullmatch(cell.strip()) or "\n" in cell or len(cell) > _LONGEST_NAME for cell in first
    )


def _repeated(cell: str, column: list[str]) -> bool:
    return bool(cell.strip()) and column.count(cell) >= (1 if len(column) < _FEW_ROWS else 2)


def made_up_names(width: int) -> list[str]:
    """Names for columns without any."""
    return [f"column_{number}" for number in range(1, width + 1)]


def no_header_note(names: list[str]) -> str:
    """The sentence for a table without a header."""
    called = f"{names[0]} to {names[-1]}"
    return (
        f"The first row looks like data, so the columns are called {called}. Add a header with their names."
    )
