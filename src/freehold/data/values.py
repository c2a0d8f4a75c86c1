"""What a cell holds: whether it is missing, and its value as text."""

from __future__ import annotations

import ast
import datetime
import json
import math
import re
from decimal import Decimal
from typing import Any
from uuid import UUID

from freehold.data.draft import DEEPEST, depth

#: Written-out forms of "nothing", in answers and labels.
MISSING = frozenset(
    {
        "NaN",
        "nan",
        "NAN",
        "None",
        "NULL",
        "N/A",
        "n/a",
        "#N/A",
        "#NA",
        "<NA>",
        "NaT",
        "#N/A N/A",
        "#NULL!",
        "#REF!",
        "#VALUE!",
    }
)
#: Forms that can be a true label too: they are missing values only where few rows have them.
MISSING_IF_RARE = frozenset({"-", "--", "NA", "none", "null", "NONE", "Null"})
#: Forms that no text of a person consists of.
MISSING_TEXT = frozenset({"NaN", "nan", "#N/A", "<NA>", "NaT", "#REF!", "#VALUE!"})

_FENCED = re.compile(r"\s*```(?:json[5c]?|JSON)?[ \t]*\r?\n?(.*?)\r?\n?[ \t]*```\s*", re.S)
#: Control characters that no chat or C string carries; tab, line feed and carriage return stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: What stands before or after an amount.
_UNIT = re.compile(r"(?:[€$£¥%]|EUR|USD|GBP|CHF|PLN|zł)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


#: Characters of a list as Python prints it, at most: reading one takes hundreds of times its length.
_LONGEST_LITERAL = 1 << 16


class RowFault(Exception):
    """A row that cannot be used: the column, "" where it is about the whole row, and what is wrong."""

    def __init__(self, column: str, reason: str):
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


def is_missing(value: Any, words: frozenset[str] = frozenset()) -> bool:
    """Whether a value is absent: None, NaN, blank text, or one of ``words``."""
    if value is None:
        return True
    if isinstance(value, str):
        return not visible(value) or value.strip() in words
    return isinstance(value, float | Decimal) and math.isnan(value)


def visible(text: str) -> bool:
    """Whether a text shows anything: more than white space, zero-width and control characters."""
    return bool(re.sub(r"[\s\u200b-\u200f\u2060\ufeff\x00-\x1f\x7f]", "", text))


def unwrapped(value: Any) -> Any:
    """A numpy scalar or array as the Python value it stands for; anything else as it is."""
    if type(value).__module__ == "numpy":
        return value.tolist()
    return value


def text_of(value: Any, column: str = "") -> str:
    """A value as text: true and false, dates as ISO, lists and objects as JSON. Raises RowFault."""
    value = unwrapped(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | UUID):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime.date | datetime.datetime | datetime.time):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        try:
            return json.dumps(
                value, ensure_ascii=False, allow_nan=False, default=lambda item: _inner(item, column)
            )
        except ValueError as error:
            raise RowFault(column, "contains NaN or Infinity, which JSON does not allow") from error
    raise RowFault(
        column, f"contains {'bytes' if isinstance(value, bytes) else type(value).__name__}, not text"
    )


def _inner(value: Any, column: str) -> Any:
    """A value inside JSON that JSON has no form for."""
    value = unwrapped(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if isinstance(value, list | int | float) else text_of(value, column)


def json_value(text: str) -> Any:
    """The JSON value that a text is: the one way to read JSON in cells and answers.

    Raises ValueError where it is not one, is nested more than :data:`DEEPEST` levels deep, which nothing that
    works on it could follow, or has a number of too many digits.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("lists and objects are nested too deeply") from None
    if text.count("[") + text.count("{") > DEEPEST and depth(value) > DEEPEST:
        raise ValueError(f"lists and objects are nested more than {DEEPEST} levels deep")
    return value


def parsed(value: Any) -> Any:
    """A list or object written as JSON, or as Python prints it, as the list or object; anything else as it
    is.
    """
    value = unwrapped(value)
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json_value(value)
    except ValueError:
        pass
    if len(value) > _LONGEST_LITERAL:
        return value
    try:
        literal = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return literal if isinstance(literal, list | dict) else value


def without_unit(text: str) -> tuple[str, str]:
    """(an amount without its percent sign or currency, that sign or nothing), for ``12.50 €`` or ``$3``."""
    plain = text.strip()
    unit = _UNIT.match(plain)
    if unit:
        return plain[unit.end() :].lstrip(), unit[0]
    unit = re.search(_UNIT.pattern + "$", plain)
    return (plain[: unit.start()].rstrip(), unit[0]) if unit else (plain, "")


def json_text(text: str) -> tuple[str, bool] | None:
    """(the JSON object or list that a text is, whether it was fenced); None for any other text."""
    match = _FENCED.fullmatch(text)
    inner = match.group(1) if match else text
    if not inner.lstrip().startswith(("{", "[")):
        return None
    try:
        json_value(inner)
    except ValueError:
        return None
    return (inner.strip() if match else text), bool(match)


def has_half_characters(text: str) -> bool:
    """Whether a text holds a lone surrogate, which UTF-8 cannot write."""
    return _SURROGATE.search(text) is not None


def without_control(text: str) -> str:
    """Control characters other than tab and line ends are taken out."""
    return _CONTROL.sub("", text)
