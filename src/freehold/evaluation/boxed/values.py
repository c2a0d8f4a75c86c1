"""Values on their way between the answer's process and the tests' process: data cross by value.

A value of a built-in data type crosses as its contents, so that it is rebuilt on the other side and brings
no code along. Anything else stays where it is, and only a number for it crosses.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
from collections.abc import Callable, Iterable
from typing import Any

#: Values nested deeper than this do not cross.
DEEPEST = 200
#: Bytes of one message, at most.
LONGEST_MESSAGE = 1 << 25
_SMALL = 1 << 62
_MOMENTS: dict[str, Any] = {kind.__name__: kind for kind in (datetime.datetime, datetime.date, datetime.time)}

Keep = Callable[[Any], list[Any]]
Find = Callable[[int, str], Any]


class CannotCross(Exception):
    """A value that is nested too deeply, or is larger than a message may be."""


def to_message(value: Any) -> bytes:
    """One line of bytes. Raises CannotCross."""
    try:
        line = json.dumps(value).encode() + b"\n"
    except RecursionError:
        raise CannotCross("the value is nested too deeply") from None
    if len(line) > LONGEST_MESSAGE:
        raise CannotCross("the value is too large")
    return line


def pack(value: Any, keep: Keep, level: int = 0) -> Any:
    """The value as JSON has it; ``keep`` gives what crosses in place of an object. Raises CannotCross."""
    if level > DEEPEST:
        raise CannotCross(f"the value is nested more than {DEEPEST} levels deep")
    if value is None or isinstance(value, bool | float | str):
        return _plain_scalar(value)
    if isinstance(value, int):
        number = int(value)
        return number if -_SMALL < number < _SMALL else ["int", hex(number)]
    packed = _packed_items(value, keep, level + 1)
    if packed is None:
        packed = _packed_others(value)
    return keep(value) if packed is None else packed


def _plain_scalar(value: Any) -> Any:
    """A value of exactly a built-in type: one of a class of the answer loses its class."""
    for kind in (bool, float, str):
        if isinstance(value, kind):
            return kind(value) if type(value) is not kind else value
    return value


def _packed_items(value: Any, keep: Keep, level: int) -> list[Any] | None:
    """A container with its items; None for anything else."""
    if isinstance(value, dict):
        tag = "counter" if type(value) is collections.Counter else "dict"
        return [tag, [[pack(k, keep, level), pack(v, keep, level)] for k, v in value.items()]]
    if isinstance(value, collections.deque):
        return ["deque", _all(value, keep, level), value.maxlen]
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return [kind.__name__, _all(value, keep, level)]
    return None


def _all(values: Iterable[Any], keep: Keep, level: int) -> list[Any]:
    return [pack(each, keep, level) for each in values]


def _packed_others(value: Any) -> list[Any] | None:
    """A value of the standard library's data types; None for anything else."""
    if isinstance(value, bytes | bytearray):
        return [type(value).__name__, value.hex()]
    if isinstance(value, range):
        return ["range", [str(value.start), str(value.stop), str(value.step)]]
    if isinstance(value, complex):
        return ["complex", [value.real, value.imag]]
    if isinstance(value, fractions.Fraction):
        return ["fraction", [hex(value.numerator), hex(value.denominator)]]
    if isinstance(value, decimal.Decimal):
        return ["decimal", str(value)]
    if isinstance(value, datetime.timedelta):
        return ["timedelta", [value.days, value.seconds, value.microseconds]]
    if type(value).__name__ in _MOMENTS and type(value) is _MOMENTS[type(value).__name__]:
        return ["moment", [type(value).__name__, value.isoformat()]]
    return ["ellipsis"] if value is ... else None


def unpack(packed: Any, find: Find) -> Any:
    """The value of what :func:`pack` made; ``find`` gives the object of (number, name).

    Raises ValueError, KeyError, TypeError or IndexError for what no ``pack`` makes.
    """
    if not isinstance(packed, list):
        return packed
    tag, *rest = packed
    if tag in _CONTAINERS:
        return _CONTAINERS[tag]([unpack(each, find) for each in rest[0]])
    if tag in ("dict", "counter"):
        filled = {unpack(key, find): unpack(value, find) for key, value in rest[0]}
        return filled if tag == "dict" else collections.Counter(filled)
    if tag == "deque":
        return collections.deque([unpack(each, find) for each in rest[0]], rest[1])
    return find(int(rest[0]), str(rest[1])) if tag == "object" else _OTHERS[tag](*rest)


_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_OTHERS: dict[str, Callable[..., Any]] = {
    "int": lambda text: int(text, 16),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "range": lambda three: range(*map(int, three)),
    "complex": lambda two: complex(*two),
    "fraction": lambda two: fractions.Fraction(int(two[0], 16), int(two[1], 16)),
    "decimal": decimal.Decimal,
    "timedelta": lambda three: datetime.timedelta(*three),
    "moment": lambda two: _MOMENTS[two[0]].fromisoformat(two[1]),
    "ellipsis": lambda: ...,
}
