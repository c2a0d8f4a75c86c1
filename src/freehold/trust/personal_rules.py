"""The form of a rule that finds one kind of personal data: a pattern, and a check of what it matched."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

#: What a number may consist of: digits with capitals and separators among them.
_STRETCH = re.compile(r"\d(?:[\dA-Z \u00a0./()+–-]*\d)?")
#: Characters before and after a number in which the words that say what it is are looked for.
_BEFORE, _AFTER = 80, 40


@dataclass(frozen=True)
class Traits:
    """What is quickly known of a text. ``numbers``: (start, end, digits) of each stretch of digits, capitals
    and separators.
    """

    lower: str
    digits: int
    numbers: tuple[tuple[int, int, int], ...]
    most: int

    @staticmethod
    def of(text: str) -> Traits:
        """From a text."""
        count = _digits(text)
        stretches = _STRETCH.finditer(text) if count else ()
        numbers = tuple((match.start(), match.end(), _digits(match[0])) for match in stretches)
        return Traits(text.lower(), count, numbers, max((each[2] for each in numbers), default=0))

    def windows(self, least: int) -> list[tuple[int, int]]:
        """(start, end) of the text around each number of so many digits; what overlaps is joined."""
        joined: list[tuple[int, int]] = []
        for start, end, count in self.numbers:
            if count < least:
                continue
            if joined and start - _BEFORE <= joined[-1][1]:
                joined[-1] = (joined[-1][0], end + _AFTER)
            else:
                joined.append((max(0, start - _BEFORE), end + _AFTER))
        return joined


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text)) if len(text) < 40 else sum(map(text.count, "0123456789"))


@dataclass(frozen=True)
class Match:
    """What a pattern matched, and the text around it."""

    text: str
    start: int
    end: int

    @property
    def value(self) -> str:
        """The match itself."""
        return self.text[self.start : self.end]

    @property
    def digits(self) -> str:
        """Its digits."""
        return re.sub(r"\D", "", self.value)

    def before(self, characters: int) -> str:
        """Text before it."""
        return self.text[max(0, self.start - characters) : self.start]

    def after(self, characters: int) -> str:
        """Text after it."""
        return self.text[self.end : self.end + characters]


def always(_: Match) -> bool:
    """A pattern that needs no check."""
    return True


@dataclass(frozen=True)
class Rule:
    """``pattern``: its first group that matched is what is found, the whole match where there are none.

    ``holds``: a quick test of the whole text before the pattern is tried. ``near``: only around numbers of so
    many digits is it tried;
    0 for everywhere.
    """

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[Match], bool] = always
    holds: Callable[[Traits], bool] = lambda traits: True
    near: int = 0

    def matches(self, text: str, traits: Traits) -> list[Match]:
        """All that the rule finds."""
        if traits.most < self.near or not self.holds(traits):
            return []
        windows = traits.windows(self.near) if self.near else [(0, len(text))]
        return [match for window in windows for match in self._within(text, *window)]

    def _within(self, text: str, begin: int, stop: int) -> list[Match]:
        matches: list[Match] = []
        for match in self.pattern.finditer(text, begin, stop):
            start, end = match.span(match.lastindex or 0)
            candidate = Match(text, start, end)
            if end > start and self.check(candidate):
                matches.append(candidate)
        return matches


def has(*parts: str) -> Callable[[Traits], bool]:
    """A test that the text, in lower case, holds any of the parts."""
    return lambda traits: any(part in traits.lower for part in parts)


def digits(count: int) -> Callable[[Traits], bool]:
    """A test that the text holds so many digits."""
    return lambda traits: traits.digits >= count


#: A name in Latin letters.
_CAPITAL, _SMALL = (
    "[A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶŁĻĽĹŃŅŇŌŐŒŔŘŚŞŠŢŤŪŮŰŲŹŻŽ]",
    "[a-zà-öø-ÿāăąćčďđēėęěğģīıķłļľĺńņňōőœŕřśşšţťūůűųźżžß]",
)
NAME = rf"(?:{_CAPITAL}['’])?{_CAPITAL}{_SMALL}+(?:['’-]?{_CAPITAL}{_SMALL}+)*"
#: What says that a number counts, orders or names a thing and no person.
_THING = re.compile(
    r"(?<![A-Za-z])(?:order|invoice|tracking|shipment|parcel|ref(?:erence)?|ticket|case|"
    r"sku|part|serial|isbn|issn|ean|upc|article|item|batch|lot|version|"
    r"build|model|booking|product|po|doi|issue|pull request|commit|port|room|page|error|"
    r"code|bestellnummer|bestellung|rechnung(?:snummer)?|"
    r"auftrag(?:snummer)?|vorgang(?:snummer)?|kundennummer|artikel(?:nummer)?|"
    r"sendung(?:snummer)?|commande|facture|pedido|factura|zamówienie|total|amount|sum|"
    r"price|cost|score|timestamp|"
    r"epoch|unix time|population|id)\s*(?:number|num|no\.?|nr\.?|#|id|code)?\s*(?:is|was|"
    r"ist|of|:|=|#)?\s*[#(\"']?$",
    re.IGNORECASE,
)
_MONEY_BEFORE = re.compile(r"(?:[$€£¥₹]|\b(?:USD|EUR|GBP|CHF|INR|JPY|Rs\.?))\s*$")
_MONEY_AFTER = re.compile(
    r"\s?(?:[$€£¥₹%°]|(?:USD|EUR|GBP|CHF|INR|JPY|euros?|dollars?|zł|kr|Mio|km|kg|ms|bytes?|rows?|people)\b)"
)
_SUM_BEFORE = re.compile(r"(?:[*/×÷^=<>≈]|\d\s*[+−–-]|\s-)\s*$")
_SUM_AFTER = re.compile(r"\s*(?:[*/×÷^=<>≈]|[+−–-]\s)\s*[\d(<\w]")


def names_a_thing(match: Match) -> bool:
    """Whether the words before a number say that it stands for an order, a version or the like."""
    return bool(_THING.search(match.before(40)))


def is_sum_or_amount(match: Match) -> bool:
    """Whether a number is part of a calculation or an amount."""
    before, after = match.before(8), match.after(8)
    return bool(
        _MONEY_BEFORE.search(before)
        or _MONEY_AFTER.match(after)
        or _SUM_BEFORE.search(before)
        or _SUM_AFTER.match(after)
    )
