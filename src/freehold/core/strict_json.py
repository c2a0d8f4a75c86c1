"""JSON from elsewhere: read whole and without doubt, or refused in one sentence.

What readers disagree about is refused: names given twice, numbers that no float or 64-bit integer can hold,
characters that are half of a pair, bytes that are not UTF-8, text after the value. Nesting ends at 200
levels.
"""

from __future__ import annotations

import math
import re
from typing import Any

import jiter

from freehold.core.errors import BadData

#: Integers from here on are refused: what is sent on as JSON must be read the same by all.
MOST_INTEGER = 2**64
#: Names, and lists and objects, in one text: a million of them take a processor's second, in which nothing
#: else is done.
MOST_PARTS = 500_000
#: Long numbers, large exponents and what JSON has no numbers for; only where there are some are all values
#: looked at.
_SUSPECT = re.compile(rb"[0-9]{19}|[0-9.][eE]\+?[0-9]{3}|NaN|Infinity")
_MARK = b"\xef\xbb\xbf"


def read(data: bytes) -> Any:
    """The value that ``data`` holds. Raises BadData."""
    value, unfit = parse(data)
    if unfit is not None:
        raise BadData(unfit_at(unfit))
    return value


def parse(data: bytes) -> tuple[Any, str | None]:
    """(the value that ``data`` holds, the path of a number in it that no reader may use, if any). Raises
    BadData.
    """
    data = data.removeprefix(_MARK)
    if max(data.count(b":"), data.count(b"[") + data.count(b"{")) > MOST_PARTS:
        raise BadData(f"the JSON cannot be read: it has more than {MOST_PARTS:,} names, lists or objects")
    try:
        value = jiter.from_json(data, catch_duplicate_keys=True)
    except ValueError as error:
        raise BadData(f"the JSON cannot be read: {_plain(str(error), data)}") from None
    return value, _unfit(value) if _SUSPECT.search(data) else None


def unfit_at(path: str) -> str:
    """The sentence that refuses a number."""
    return f"{path or 'the JSON'}: a number must be finite, and a whole number below 2^64"


def _plain(fault: str, data: bytes) -> str:
    """The parser's words in ours."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8"
    for theirs, ours in (
        ("recursion limit exceeded", "it is nested deeper than 200 levels"),
        ("Detected duplicate key", "a name appears twice:"),
        ("expected value", "a value is missing"),
        ("expected ident", "a value is missing"),
        ("EOF while parsing", "it ends in the middle of"),
        ("number out of range", "it holds a number that is too large"),
        ("lone leading surrogate in hex escape", "it holds half of a pair of surrogates"),
        ("unexpected end of hex escape", "it holds half of a pair of surrogates"),
    ):
        fault = fault.replace(theirs, ours)
    return fault[:300]


def _unfit(value: Any) -> str | None:
    """The path of a number that is not finite or too large, such as ``messages.0.weight``; None where there
    is none.
    """
    if isinstance(value, float):
        return None if math.isfinite(value) else ""
    if isinstance(value, int):
        return None if abs(value) < MOST_INTEGER else ""
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            if (below := _unfit(part)) is not None:  # no deeper than the parser went
                return f"{str(name)[:60]}.{below}"[:200].rstrip(".")
    return None


def depth(value: Any, most: int) -> int:
    """How deep lists and objects are nested, counted without recursion; the count stops at ``most`` + 1."""
    level, count = [value], 0
    while level and count <= most:
        level = [
            part
            for entry in level
            if isinstance(entry, dict | list)
            for part in (entry.values() if isinstance(entry, dict) else entry)
        ]
        count += 1
    return count
