"""Personal data in rows: found by patterns and checksums, and masked if wished.

What has a form is found well (addresses of mail, IBANs and card numbers by their checksums, telephone numbers); names are found where a title or a
phrase announces them, and otherwise not: what is not found is not thereby absent, and reports say so.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from freehold.data.examples import Example

LIMITS = "patterns and checksums; names only where a title or phrase announces them, so what is not found is not thereby absent"
_NAME = r"[A-ZÀ-ÖØ-Þ][a-zà-öø-ÿ'’-]+"
_PATTERNS: dict[str, re.Pattern[str]] = {
    "email": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"),
    "iban": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),
    "card number": re.compile(r"\b\d(?:[ -]?\d){12,18}\b"),
    "social security number": re.compile(r"\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b"),
    "ip address": re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
    "date of birth": re.compile(
        r"(?i:\b(?:born|date of birth|dob|geboren|geb\.)\b)[^.\n]{0,20}?(\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{1,2}\.? \w+ \d{4})"
    ),
    "telephone": re.compile(
        r"(?<![\w.])(?<!\d )(?:\+\d{1,3}(?:[ ./-]?\(?\d{1,8}\)?){1,5}|\(?\d{2,5}\)?(?:[ ./-]\d{2,8}){2,4})(?![\w-])(?! ?\d)"
    ),
    "street address": re.compile(
        rf"\b\d{{1,5}}[A-Za-z]? (?:{_NAME} ){{1,3}}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Square|Place)\b\.?"
        r"|\b[A-ZÄÖÜ][a-zäöüß-]+(?:straße|strasse|str\.|weg|gasse|platz|allee) \d{1,4}[a-z]?\b"
    ),
    "name": re.compile(
        rf"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Madame|Monsieur)\.? (?:{_NAME} ){{0,2}}{_NAME}"
        rf"|(?i:\b(?:my name is|i am called|ich heiße|patient|signed by|this is)) ((?:{_NAME} ){{1,2}}{_NAME})"
    ),
}


@dataclass(frozen=True)
class Found:
    """Something personal. ``start`` and ``end``: where in the text."""

    kind: str
    start: int
    end: int


def _luhn(digits: str) -> bool:
    """The checksum of card numbers (ISO/IEC 7812)."""
    doubled = [int(d) * 2 if i % 2 else int(d) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _iban(text: str) -> bool:
    """The checksum of IBANs (ISO 13616, modulo 97)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _true(kind: str, text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    if kind == "iban":
        return _iban(text)
    if kind == "card number":
        return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and _luhn(digits)
    if kind == "telephone":
        return 7 <= len(digits) <= 15
    if kind == "ip address":
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return False
    return True


def find(text: str) -> list[Found]:
    """Everything found, in order, none inside another; the kinds are tried in the order of their certainty."""
    found: list[Found] = []
    for kind, pattern in _PATTERNS.items():
        for match in pattern.finditer(text):
            group = 1 if match.lastindex else 0
            start, end = match.span(group)
            if _true(kind, match[group]) and all(end <= one.start or start >= one.end for one in found):
                found.append(Found(kind, start, end))
    return sorted(found, key=lambda one: one.start)


def mask(text: str, names: dict[str, str]) -> str:
    """The text with each thing replaced by its kind and a number, ``[EMAIL 1]``; the same thing always by the same, by ``names``."""
    parts, at = list[str](), 0
    for one in find(text):
        thing = text[one.start : one.end]
        if thing not in names:
            label = one.kind.upper()
            names[thing] = f"[{label} {1 + sum(name.startswith(f'[{label} ') for name in names.values())}]"
        parts += [text[at : one.start], names[thing]]
        at = one.end
    return "".join([*parts, text[at:]])


def masked(examples: Sequence[Example]) -> list[Example]:
    """Rows without what was found, the same thing by the same name throughout a file."""
    names: dict[str, str] = {}
    return [
        replace(
            example,
            messages=tuple((role, mask(text, names)) for role, text in example.messages),
            reference={key: mask(value, names) for key, value in example.reference.items()},
        )
        for example in examples
    ]


def summary(examples: Sequence[Example]) -> dict[str, Any]:
    """What rows hold, for reports."""
    kinds, rows = count(examples)
    return {"kinds": dict(kinds), "rows": len(rows), "of_rows": len(examples), "method": LIMITS}


def count(examples: Iterable[Example]) -> tuple[Counter[str], list[str]]:
    """(how often each kind is in the rows, ids of rows that hold any)."""
    kinds: Counter[str] = Counter()
    rows: list[str] = []
    for example in examples:
        found = [one.kind for _, text in example.messages for one in find(text)]
        kinds.update(found)
        if found:
            rows.append(example.id)
    return kinds, rows
