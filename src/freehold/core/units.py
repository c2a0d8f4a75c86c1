"""Sizes, durations and shares as people write them. Each kind has its own parser and takes no other kind.

A bare number is refused where a unit is needed: ``--memory 4`` may mean bytes or gigabytes. Only 0 is the
same in every unit.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

from freehold.core.errors import UsageError

#: Bytes in each unit, by the unit in lower case.
BYTES = {"b": 1} | {
    f"{letter}{middle}b": base**power
    for power, letter in enumerate("kmgtp", 1)
    for middle, base in (("", 1000), ("i", 1024))
}
#: Seconds in each unit, by the unit in lower case.
SECONDS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86_400),
}
_SIZE_EXAMPLE, _DURATION_EXAMPLE, _SHARE_EXAMPLE = "4GiB", "45m, 90s, 800ms or 1h30m", "0.9 or 90%"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z%]*)")


def parse_bytes(text: str, option: str = "", *, positive: bool = False) -> int:
    """Bytes of a size such as ``4GiB`` or ``100MB``.

    ``option`` names where the text was given, for the error. ``positive``: 0 is refused too. Raises
    UsageError.
    """
    quantity = _QUANTITY.fullmatch(text.strip())
    if quantity is None:
        raise _error(text, option, _other_kind(text) or "is not a size", _SIZE_EXAMPLE)
    number, unit = quantity[1], quantity[2].lower()
    if unit not in BYTES and (unit or Fraction(number)):
        letter = "G" if not unit else unit.upper() if f"{unit}b" in BYTES else ""
        example = f"{number}{letter}iB or {number}{letter}B" if letter else _SIZE_EXAMPLE
        problem = "is a size without a unit" if letter else _other_kind(text) or "has an unknown unit"
        raise _error(text, option, problem, example)
    size = int(Fraction(number) * BYTES.get(unit, 1))
    if positive and size <= 0:
        raise _error(text, option, "must be more than 0", _SIZE_EXAMPLE)
    return size


def parse_seconds(text: str, option: str = "", *, positive: bool = False) -> float:
    """Seconds of a duration such as ``45m``, ``90s``, ``800ms`` or ``1h30m``, the larger unit first.

    ``option`` names where the text was given, for the error. ``positive``: 0 is refused too. Raises
    UsageError.
    """
    parts = _parts(text)
    units = [unit for _, unit in parts]
    if not parts or not all(unit in SECONDS for unit in units):
        bare = parts and all(unit == "" for unit in units)
        problem = "is a duration without a unit" if bare else _other_kind(text) or "is not a duration"
        raise _error(text, option, problem, _DURATION_EXAMPLE)
    lengths = [SECONDS[unit] for unit in units]
    if any(first <= second for first, second in itertools.pairwise(lengths)):
        raise _error(text, option, "is not a duration: the larger unit comes first", _DURATION_EXAMPLE)
    total = sum(Fraction(number) * length for (number, _), length in zip(parts, lengths, strict=True))
    if positive and total <= 0:
        raise _error(text, option, "must be more than 0", _DURATION_EXAMPLE)
    return float(total)


def parse_share(text: str, option: str = "") -> float:
    """A share from 0 to 1, written as ``0.9`` or ``90%``.

    ``option`` names where the text was given, for the error. Raises UsageError.
    """
    quantity = _QUANTITY.fullmatch(text.strip())
    if quantity is None or quantity[2] not in ("", "%"):
        raise _error(text, option, _other_kind(text) or "is not a share", _SHARE_EXAMPLE)
    share = Fraction(quantity[1]) / (100 if quantity[2] else 1)
    if share > 1:
        likely = not quantity[2] and 2 <= share <= 100
        example = f"{float(share / 100):g} or {float(share):g}%" if likely else _SHARE_EXAMPLE
        raise _error(text, option, "is more than 1, and a share is between 0 and 1", example)
    return float(share)


def _parts(text: str) -> list[tuple[str, str]]:
    """(number, unit in lower case) of each part, as of ``1h30m``; nothing for other texts. 0 needs no
    unit."""
    if text.strip() == "0":
        return [("0", "s")]
    if _QUANTITY.sub("", text).strip():
        return []
    return [(number, unit.lower()) for number, unit in _QUANTITY.findall(text)]


def _other_kind(text: str) -> str:
    """Which kind of quantity a text is where another is needed, as the end of a sentence; "" where it is
    none.
    """
    units = {unit for _, unit in _parts(text)}
    if units and units <= BYTES.keys():
        return "is a size, which does not fit here"
    if units and units <= SECONDS.keys():
        return "is a duration, which does not fit here"
    return "is a percentage, which does not fit here" if units == {"%"} else ""


def _error(text: str, option: str, problem: str, example: str) -> UsageError:
    where = f"{option}: " if option else ""
    return UsageError(f"{where}{text.strip()!r} {problem}", f"write for example {example}")
