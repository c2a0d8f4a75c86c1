"""What kind of values a column holds: text, labels, ids, dates, numbers, chat messages, ..."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from freehold.data.messages import ROLES
from freehold.data.names import words_of
from freehold.data.table import Fields, Table
from freehold.data.values import MISSING_TEXT, RowFault, is_missing, parsed, text_of, unwrapped, without_unit

#: Looked at per column, spread over the table.
_ROWS = 4000
#: This share of the values must be of a kind.
_NEARLY = 0.95
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?")
_MONTH = r"(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zä]*\.?"
_CLOCK = r"(\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]\.?m\.?)?( ?(z|utc|gmt|[+-]\d{2}:?\d{2}))?)"
_DAY = "|".join(
    (
        r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}",  # 2026-03-01
        r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}",  # 1.3.2026
        rf"(\w{{3,9}},? )?\d{{1,2}}\.?[ -]{_MONTH}[ -]\d{{2,4}}",  # Sun, 1 March 2026
        rf"{_MONTH} \d{{1,2}},? \d{{4}}",  # March 1, 2026
        rf"\w{{3}} {_MONTH} +\d{{1,2}} [\d:]+ (\w{{3,4}} )?\d{{4}}",  # Sun Mar 01 22:19:45 UTC 2026
    )
)
_DATE = re.compile(
    rf"({_DAY})([ ,t]+{_CLOCK})?|{_CLOCK}",
    re.I,
)
_OPAQUE = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f-]{20,}|\S+@\S+\.\S+|https?://\S+", re.I)
_ID_WORDS = frozenset({"id", "ids", "uuid", "guid", "key", "nr", "no", "number", "index", "idx", "nummer"})
_BOOLEANS = frozenset({"true", "false", "yes", "no"})


_IN_WORDS = {
    "id": "ids",
    "date": "dates",
    "number": "numbers",
    "boolean": "true or false",
    "label": "labels",
    "constant": "always the same",
    "empty": "nothing",
    "object": "objects",
    "list": "lists",
}


@dataclass(frozen=True)
class Profile:
    """``kind``: empty, messages, object, list, boolean, date, id, number, constant, label or text.

    ``rows`` counts values that are there, ``distinct`` how many of them differ; lengths are means;
    ``samples`` are a few values.
    """

    column: str
    kind: str
    rows: int
    distinct: int
    characters: float
    words: float
    samples: tuple[str, ...]

    @property
    def repeats(self) -> bool:
        """Whether the values come back often enough to be labels: three rows each, at most 60 characters."""
        return self.distinct >= 2 and 3 * self.distinct <= self.rows and self.characters <= 60

    def __str__(self) -> str:
        return f'"{self.column}" ({_IN_WORDS.get(self.kind, self.kind)})'


def profile(table: Table, column: str) -> Profile:
    """What a column of a table holds."""
    step = max(1, len(table.rows) // _ROWS)
    cells = [unwrapped(row.fields.get(column)) for row in table.rows[::step]]
    present = [cell for cell in cells if not is_missing(cell, MISSING_TEXT)]
    texts = [_short(cell) for cell in present]
    distinct = list(dict.fromkeys(texts))
    count = max(1, len(texts))
    return Profile(
        column,
        _kind(present, texts, len(distinct), column),
        len(present),
        len(distinct),
        sum(map(len, texts)) / count,
        sum(len(text.split()) for text in texts) / count,
        tuple(text if len(text) <= 40 else text[:39] + "…" for text in distinct[:3]),
    )


def _short(value: Any) -> str:
    try:
        return text_of(value)
    except RowFault:
        return repr(value)[:80]


def _kind(present: Sequence[Any], texts: Sequence[str], distinct: int, column: str) -> str:
    if not present:
        return "empty"
    shape = _structure(present)
    if shape:
        return shape
    if _all(texts, lambda text: text.strip().casefold() in _BOOLEANS):
        return "boolean"
    if all(isinstance(value, datetime.date | datetime.datetime | datetime.time) for value in present) or _all(
        texts, _is_date
    ):
        return "date"
    if _is_id(texts, distinct, column):
        return "id"
    if distinct == 1 and len(texts) >= 3:
        return "constant"
    if _all(present, _is_number):
        return "number"
    words = sum(len(text.split()) for text in texts) / len(texts)
    longest = max(map(len, texts))
    return (
        "label"
        if len(texts) >= 6 and 2 * distinct <= len(texts) and words <= 8 and longest <= 120
        else "text"
    )


def _structure(present: Sequence[Any]) -> str:
    values = [parsed(value) for value in present]
    if 2 * sum(map(is_messages, values)) >= len(
        values
    ):  # the other rows are faults, not another kind of column
        return "messages"
    if _all(values, lambda value: isinstance(value, dict)) or any(map(_holds_objects, values)):
        return "object"
    if _all(values, lambda value: isinstance(value, list | tuple)):
        return "list"
    return ""


def is_messages(value: Any) -> bool:
    """Whether a value is a list of chat messages: objects with a role (or from) and something said.

    An extracted list of people with a role each is none: at least one role must be one of a chat.
    """
    if isinstance(value, dict) and isinstance(value.get("messages"), list | tuple):
        value = value["messages"]
    if not isinstance(value, list | tuple) or not value:
        return False
    if all(isinstance(item, dict) and set(item) == {"input", "output"} for item in value):
        return True
    return all(map(_is_message, value)) and any(map(_has_known_role, value))


def _is_message(item: Any) -> bool:
    said = ("content", "value", "text", "tool_calls", "function_call")
    return isinstance(item, dict) and ("role" in item or "from" in item) and any(key in item for key in said)


def _has_known_role(item: Fields) -> bool:
    return str(item.get("role", item.get("from"))).strip().casefold() in ROLES


def _holds_objects(value: Any) -> bool:
    """Whether a value is a list of objects, or of lists as spans are written."""
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(item, dict | list | tuple) for item in value)
    )


def _all(values: Sequence[Any], test: Any) -> bool:
    return sum(map(bool, map(test, values))) >= _NEARLY * len(values)


def _is_date(text: str) -> bool:
    return bool(_DATE.fullmatch(text.strip()))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float | Decimal) or bool(_NUMBER.fullmatch(without_unit(str(value))[0]))


def _is_id(texts: Sequence[str], distinct: int, column: str) -> bool:
    """Values without spaces that hardly ever come back and are all built alike, or whole numbers that only
    rise.
    """
    if any(" " in text.strip() for text in texts[:50]):
        return False
    if _all(texts, lambda text: _OPAQUE.fullmatch(text.strip())):
        return True
    named = called_id(column)
    if distinct < (0.5 if named else 0.98) * len(texts) or len(texts) < 3:
        return False
    if _all(texts, lambda text: re.fullmatch(r"\d+", text)):
        numbers = [int(text) for text in texts if text.isdecimal()]
        return named or all(a <= b for a, b in itertools.pairwise(numbers))
    if _all(texts, _NUMBER.fullmatch) or any(re.search(r"[^\w#./:-]", text) for text in texts[:50]):
        return False
    shapes = {re.sub(r"[^\W\d_]+", "A", re.sub(r"\d+", "9", text)) for text in texts}
    return any("9" in shape for shape in shapes) and len(shapes) <= max(2, len(texts) // 20)


def called_id(column: str) -> bool:
    """Whether a column calls itself an id or a number."""
    words = words_of(column)
    return bool(words) and (words[-1] in _ID_WORDS or words[0] == "id")
