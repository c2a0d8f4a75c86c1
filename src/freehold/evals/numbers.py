"""Numbers as people write them, compared as numbers: 1,234.5 and 1.234,50, .5, 1e3, 1/2, 007, and a minus of any kind.

A separator that is followed by groups of exactly three digits separates thousands if it comes twice, or if it is a comma; a single point
before three digits is a decimal point. Where both occur, the last one is the decimal one.
"""

from __future__ import annotations

import re
from fractions import Fraction

#: Signs that mean minus: hyphen, non-breaking hyphen, figure dash, en dash, minus, small and full-width ones.
_MINUS = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_TO_HYPHEN = str.maketrans(dict.fromkeys(_MINUS, "-"))
_SIGN = rf"[+\-{_MINUS[1:]}]"
#: What may stand between groups of three digits besides point and comma: apostrophes and spaces that do not break.
_GROUPS = "'\u2019\u00a0\u202f\u2009"
_BODY = rf"(?:\d+(?:[.,]\d+|[{_GROUPS}]\d{{3}}(?!\d))*|[.,]\d+)(?:[eE]{_SIGN}?\d+)?"
_NUMBER = re.compile(rf"(?<![\w.,]){_SIGN}?{_BODY}(?:\s?/\s?\d+(?![\d/.,]*\d))?|(?<=\w)[+]?{_BODY}")
_DATE = re.compile(r"\d+/\d+/\d+")
_WHOLE = re.compile(rf"{_SIGN}?\s?{_BODY}(?:\s?/\s?\d+)?")


def find_numbers(text: str) -> list[Fraction]:
    """The numbers in a text, in their order. A sign counts only where no word or digit comes right before it.

    1,2,3 are three numbers, and so are those of a date like 3/4/2026.
    """
    apart = _DATE.sub(lambda match: match.group().replace("/", " "), text)
    apart = _NUMBER.sub(lambda match: _listed(match.group()), apart)
    return [number for match in _NUMBER.finditer(apart) if (number := _parse(match.group())) is not None]


def whole_number(text: str) -> Fraction | None:
    """The number that a text is and nothing else; None where it is not one."""
    plain = text.strip()
    return _parse(plain) if _WHOLE.fullmatch(plain) and _listed(plain) == plain else None


def _listed(text: str) -> str:
    """A run of digits and one kind of separator that cannot be one number, with spaces between its numbers."""
    for separator in ",.":
        several = re.fullmatch(rf"\d+(?:[{separator}]\d+){{2,}}", text)
        if several and not re.fullmatch(rf"\d{{1,3}}(?:[{separator}]\d{{3}})+", text):
            return text.replace(separator, " ")
    return text


def _parse(text: str) -> Fraction | None:
    """One number; None for a fraction over zero or an exponent beyond what a number needs."""
    negative = text[0] in _MINUS
    plain = text.lstrip(f"+{_MINUS}").strip()
    top, slash, bottom = (piece.strip() for piece in plain.partition("/"))
    mantissa, _, exponent = top.lower().partition("e")
    power = int(exponent.translate(_TO_HYPHEN)) if exponent else 0
    if abs(power) > 400 or (slash and not int(bottom)):
        return None
    value = Fraction(_plain(mantissa)) * Fraction(10) ** power / (int(bottom) if slash else 1)
    return -value if negative else value


def _plain(text: str) -> str:
    """Digits with at most one decimal point."""
    text = re.sub(f"[{_GROUPS}]", "", text)
    points, commas = text.count("."), text.count(",")
    if points and commas:
        decimal = "," if text.rfind(",") > text.rfind(".") else "."
        thousands = "." if decimal == "," else ","
        return _decimal(text.replace(thousands, ""), decimal)
    separator = "." if points else ","
    grouped = re.fullmatch(rf"\d{{1,3}}(?:[{separator}]\d{{3}})+", text) is not None
    if grouped and (commas or points > 1):
        return text.replace(separator, "")
    return _decimal(text, separator)


def _decimal(text: str, separator: str) -> str:
    """The text with its last separator as the point; the others are thousands."""
    head, found, tail = text.rpartition(separator)
    if not found:
        return tail
    return f"{head.replace(separator, '') or '0'}.{tail}"
