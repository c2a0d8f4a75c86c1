"""Numbers as people write them, compared as numbers: 1,234.5 and 1.234,50, .5, 1e3, 1/2, 1\u00bd, 3 x 10^5,
007, and a minus of any kind.

A separator that is followed by groups of exactly three digits separates thousands if it comes twice, or if it
is a comma; a single point before three digits is a decimal point. Where both occur, the last one is the
decimal one. Groups of two before the last three (1,23,456) are those of India.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

#: Signs that mean minus: hyphen, non-breaking hyphen, figure dash, en dash, minus, small and full-width ones.
_MINUS = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_TO_HYPHEN = str.maketrans(dict.fromkeys(_MINUS, "-"))
_SIGN = rf"[+\-{_MINUS[1:]}]"
#: What may stand between groups of three digits besides point and comma: apostrophes and spaces that do not
#: break.
_GROUPS = "'\u2019\u00a0\u202f\u2009_"
_BODY = rf"(?:\d+(?:[.,]\d+|[{_GROUPS}]\d{{3}}(?!\d))*|[.,]\d+)(?:[eE]{_SIGN}?\d+)?"
_NUMBER = re.compile(rf"(?<![\w.,]){_SIGN}?{_BODY}(?:\s?/\s?\d+(?![\d/.,]*\d))?|(?<=\w)[+]?{_BODY}")
#: A longer run of digits is not a number that anyone asked for.
_LONGEST = 400
_DATE = re.compile(r"\d+/\d+/\d+")
_INDIAN = r"\d{1,2}(?:,\d\d)+,\d{3}"


def _mixed(match: re.Match[str]) -> str:
    """1 1/2 as 3/2; other numbers beside a fraction as they are."""
    whole, top, bottom = map(int, match.groups())
    return f"{whole * bottom + top}/{bottom}" if top < bottom else match.group()


#: Groups of three with spaces between: two or more of them, or one before a fraction or the end.
_SPACED = re.compile(
    r"(?<![\d.,])(\d{1,3}(?: \d{3})+)(?![\d])(?:(?<= \d{3} \d{3})|(?=[.,]\d{1,2}(?!\d)|[.!?]?\s*$))"
)
_TIMES_TEN = r"\s*(?:[\u00d7\u22c5\u00b7*xX]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)"
#: What is written around digits in other ways, and how it is written here.
_REWRITTEN = (
    (re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}"), r"\1/\2"),
    (re.compile(rf"{_TIMES_TEN}\s*\{{?\s*({_SIGN}?\d+)\s*\}}?"), r"e\1"),
    (re.compile(rf"(?<![\w.,])10\s*(?:\^|\*\*)\s*\{{?\s*({_SIGN}?\d+)\s*\}}?"), r"1e\1"),
    (re.compile(r"(?<![\w.,/])(\d{1,3}) (\d{1,2})/(\d{1,2})(?![\w/])"), _mixed),
    (re.compile(r"((?:\A|\bis\b|\bequals\b|[=:])\s*)(?:minus|negative)\s+(?=[\d.])", re.I), r"\1-"),
    (_SPACED, lambda match: match[1].replace(" ", "_")),
)
#: One number and another as the ends of a range: 3-4, 3 to 4, between 3 and 4.
_RANGE = re.compile(
    rf"(?:\bbetween\s+)(?P<low>{_BODY})\s+and\s+(?P<high>{_BODY})"
    rf"|(?<![\w.,{_MINUS}/])(?P<from>{_BODY})\s*(?:[{_MINUS}~]|\bto\b|\bbis\b)\s*(?P<to>{_BODY})"
    rf"(?![\w/{_MINUS}]|\s*=)",
    re.I,
)
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-"
)
_WHOLE = re.compile(rf"{_SIGN}?\s?{_BODY}(?:\s?/\s?\d+)?")


def find_numbers(text: str) -> list[Fraction]:
    """The numbers in a text, in their order. A sign counts only where no word or digit comes right before it.

    1,2,3 are three numbers, and so are those of a date like 3/4/2026.
    """
    apart = _DATE.sub(lambda match: match.group().replace("/", " "), plainly(text))
    apart = _NUMBER.sub(lambda match: _listed(match.group()), apart)
    return [number for match in _NUMBER.finditer(apart) if (number := _parse(match.group())) is not None]


def whole_number(text: str) -> Fraction | None:
    """The number that a text is and nothing else; None where it is not one."""
    plain = plainly(text).strip()
    return _parse(plain) if _WHOLE.fullmatch(plain) and _listed(plain) == plain else None


def plainly(text: str) -> str:
    """The text with the numbers in it written with digits and plain signs: \u00bd as 1/2, 3 x 10^5 as 3e5,
    minus 5 as -5.
    """
    text = _without_endless(text)
    if not text.isascii():
        text = _without_endless(_FRACTION_SIGN.sub(_written_out, text))
        text = re.sub(
            r"10([\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+)",
            lambda match: f"10^{match[1].translate(_SUPERSCRIPTS)}",
            text,
        )
        text = text.replace("\u066b", ".").replace("\u066c", "_").replace("\u2044", "/")
    for pattern, plain in _REWRITTEN:
        text = pattern.sub(plain, text)
    return text


def _without_endless(text: str) -> str:
    """The text with long runs of white space, and of what numbers are written with, cut in their middle.

    What is looked for below is looked for from every character of such a run to its end.
    """
    return _ENDLESS.sub(_ends_of_run, _MUCH_SPACE.sub(lambda m: "\n\n" if "\n" in m[0] else "  ", text))


def _ends_of_run(match: re.Match[str]) -> str:
    """The first and the last numbers of a run; a run without separators is no number at all."""
    pieces = re.findall(r"[^.,/]+|[.,/]", match[0])
    if len(pieces) < 8:
        return " # "
    head, tail = "".join(pieces[:100])[: _LONGEST // 2], "".join(pieces[-100:])[-_LONGEST // 2 :]
    return f"{head.rpartition(_last_separator(head))[0]} # {tail.partition(_first_separator(tail))[2]}"


def _first_separator(text: str) -> str:
    return next((character for character in text if character in ".,/"), "#")


def _last_separator(text: str) -> str:
    return _first_separator(text[::-1])


_MUCH_SPACE = re.compile(r"\s{9,}+")
_ENDLESS = re.compile(rf"[\d.,/{_GROUPS}{_MINUS}+eE\u00bc-\u00be\u2150-\u215e]{{{_LONGEST + 1},}}+")
_FRACTION_SIGN = re.compile("(\\d*)\\s?([\u00bc-\u00be\u2150-\u215e])")


def _written_out(match: re.Match[str]) -> str:
    """A sign such as \u00bd, or a number before one, as one fraction."""
    top, _, bottom = unicodedata.normalize("NFKC", match[2]).partition("\u2044")
    whole = int(match[1] or 0)
    return f"{whole * int(bottom) + int(top)}/{bottom}"


def ends_in_range(text: str) -> bool:
    """Whether the last number of a text ends a range, which is no number but two; arithmetic has none."""
    written = plainly(text)
    if _OPERATOR.search(written):
        return False
    last = max((match.end() for match in _NUMBER.finditer(written)), default=-1)
    return any(match.end() == last for match in _RANGE.finditer(written))


#: What stands in arithmetic, where 48 - 24 is no range.
_OPERATOR = re.compile(r"[=+\u00d7\u00f7]|(?<!\*)\*(?!\*)|\d\s*x\s*\d")


def _listed(text: str) -> str:
    """A run of digits and one kind of separator that cannot be one number, spaces between its numbers."""
    for separator in ",.":
        several = re.fullmatch(rf"\d+(?:[{separator}]\d+){{2,}}", text)
        if several and re.fullmatch(_INDIAN, text):
            continue
        if several and not re.fullmatch(rf"\d{{1,3}}(?:[{separator}]\d{{3}})+", text):
            return text.replace(separator, " ")
    return text


def _parse(text: str) -> Fraction | None:
    """One number; None for a fraction over zero, an exponent beyond what a number needs, endless digits."""
    if len(text) > _LONGEST:
        return None
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
    if re.fullmatch(_INDIAN, text):
        return text.replace(",", "")
    grouped = re.fullmatch(rf"\d{{1,3}}(?:[{separator}]\d{{3}})+", text) is not None
    if grouped and (commas or points > 1):
        return text.replace(separator, "")
    return _decimal(text, separator)


def _decimal(text: str, separator: str) -> str:
    """The text with its last separator as the point; the others are thousands."""
    head, point, tail = text.rpartition(separator)
    if not point:
        return tail
    return f"{head.replace(separator, '') or '0'}.{tail}"


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {word: value for value, word in enumerate(f"{_UNITS} seventeen eighteen nineteen".split())}
_SMALL |= {word: 10 * value for value, word in enumerate(_TENS, 2)}
_LARGE = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}


def in_words(text: str) -> Fraction | None:
    """The number that an English text is and nothing else, as "twenty-one" or "two hundred and five"; None
    where it is not one.
    """
    words = [word for word in re.findall(r"[a-z]+", text.lower()) if word != "and"]
    if not words or re.search(r"[^\sA-Za-z.,!-]", text):
        return None
    negative = words[0] in ("minus", "negative")
    total, part = 0, 0
    for word in words[negative:]:
        if word in _SMALL:
            part += _SMALL[word]
        elif word == "hundred":
            part = max(part, 1) * 100
        elif word in _LARGE:
            total, part = total + max(part, 1) * _LARGE[word], 0
        else:
            return None
    return Fraction(-(total + part) if negative else total + part) if len(words) > negative else None
