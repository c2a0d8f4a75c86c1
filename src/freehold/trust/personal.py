"""Personal data in rows: found by patterns, check digits and words around it, and masked if wished.

What has a form is found well (addresses of mail, bank, card and national numbers by their check digits,
telephone numbers by the numbering
plans); names where a title, a phrase or a known given name announces them. What is not found is not thereby
absent, and reports say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from freehold.data.examples import Example
from freehold.trust import personal_names, personal_numbers, personal_words
from freehold.trust.personal_rules import Traits

LIMITS = (
    "patterns, check digits and the words around a number; names only where a title, a "
    "phrase or a common given name announces them, so what is "
    "not found is not thereby absent"
)
#: In the order of their certainty: what an earlier rule finds, a later one does not find again.
_RULES = (*personal_words.RULES, *personal_numbers.RULES, *personal_names.RULES)


@dataclass(frozen=True)
class Finding:
    """Something personal. ``start`` and ``end``: where in the text."""

    kind: str
    start: int
    end: int


def find(text: str) -> list[Finding]:
    """Everything found, in order, none inside another; more certain rules are tried first."""
    traits = Traits.of(text)
    findings: list[Finding] = []
    for rule in _RULES:
        for match in rule.matches(text, traits):
            if all(match.end <= finding.start or match.start >= finding.end for finding in findings):
                findings.append(Finding(rule.kind, match.start, match.end))
    return sorted(findings, key=lambda finding: finding.start)


def mask(text: str, names: dict[str, str]) -> str:
    """The text with each thing replaced by its kind and a number, ``[EMAIL 1]``; the same thing always by the
    same, by ``names``.
    """
    parts, at = list[str](), 0
    for finding in find(text):
        thing = text[finding.start : finding.end]
        if thing not in names:
            label = finding.kind.upper()
            names[thing] = f"[{label} {1 + sum(name.startswith(f'[{label} ') for name in names.values())}]"
        parts += [text[at : finding.start], names[thing]]
        at = finding.end
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


def summary(examples: Sequence[Example]) -> dict[str, object]:
    """What rows hold, for reports."""
    kinds, rows = count(examples)
    return {"kinds": dict(kinds), "rows": len(rows), "of_rows": len(examples), "method": LIMITS}


def count(examples: Iterable[Example]) -> tuple[Counter[str], list[str]]:
    """(how often each kind is in the rows, ids of rows that hold any)."""
    kinds: Counter[str] = Counter()
    rows: list[str] = []
    for example in examples:
        kinds_found = [finding.kind for _, text in example.messages for finding in find(text)]
        kinds.update(kinds_found)
        if kinds_found:
            rows.append(example.id)
    return kinds, rows
