"""JSON from elsewhere: read whole and without doubt, or refused in one sentence.

What readers disagree about is refused: names given twice, numbers that no float or 64-bit integer can hold, characters that are half of a
pair, bytes that are not UTF-8, text after the value. Nesting ends at 200 levels.
"""

from __future__ import annotations

import math
import re
from typing import Any

import jiter

from freehold.errors import BadData

#: Integers beyond this are refused: what is sent on as JSON must be read the same by all.
MOST_INTEGER = 2**64
#: Long numbers and large exponents; only where there are some are all values looked at.
_SUSPECT = re.compile(rb"[0-9]{19}|[0-9.][eE]\+?[0-9]{3}")
_MARK = b"\xef\xbb\xbf"


def read(data: bytes) -> Any:
    """The value that ``data`` holds. Raises BadData."""
    data = data.removeprefix(_MARK)
    try:
        value = jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise BadData(f"the JSON cannot be read: {_plain(str(error))}") from None
    if _SUSPECT.search(data):
        _check(value)
    return value


def _plain(fault: str) -> str:
    """The parser's words in ours."""
    for theirs, ours in (
        ("recursion limit exceeded", "it is nested deeper than 200 levels"),
        ("Detected duplicate key", "it has a name twice:"),
        ("invalid unicode code point", "it holds bytes that are not UTF-8"),
        ("number out of range", "it holds a number that is too large"),
        ("lone leading surrogate in hex escape", "it holds half of a pair of surrogates"),
        ("unexpected end of hex escape", "it holds half of a pair of surrogates"),
    ):
        fault = fault.replace(theirs, ours)
    return fault[:300]


def _check(value: Any) -> None:
    """Raises BadData where a number is too large."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += item.values()
        elif isinstance(item, list):
            left += item
        elif (isinstance(item, float) and not math.isfinite(item)) or (
            isinstance(item, int) and abs(item) >= MOST_INTEGER
        ):
            raise BadData("the JSON cannot be read: it holds a number that is too large")
