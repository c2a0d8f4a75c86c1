"""Where answers to labelled rows go wrong: figures for each label, and which label is taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from freehold.core import statistics

#: Up to so many labels a matrix can be read; above, the most frequent confusions are listed.
MOST_IN_MATRIX = 25
#: A label with fewer test rows says little about itself.
FEW_ROWS = 10


@dataclass(frozen=True)
class LabelFigures:
    """One label: its test rows, answers that name it, precision (None without an answer), recall with interval, F1."""

    label: str
    rows: int
    answered: int
    precision: float | None
    recall: float
    recall_low: float
    recall_high: float
    f1: float


@dataclass(frozen=True)
class Confusion:
    """``rows`` test rows that carry ``wanted`` were answered ``given``."""

    wanted: str
    given: str
    rows: int


def per_label(wanted: Sequence[str], given: Sequence[str]) -> list[LabelFigures]:
    """Figures of each label that occurs in ``wanted``, most rows first."""
    rows, answered = Counter(wanted), Counter(given)
    right = Counter(a for a, b in zip(wanted, given, strict=True) if a == b)
    return [
        LabelFigures(
            label,
            count,
            answered[label],
            right[label] / answered[label] if answered[label] else None,
            right[label] / count,
            *statistics.wilson(right[label], count),
            2 * right[label] / (count + answered[label]),
        )
        for label, count in sorted(rows.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def confusions(wanted: Sequence[str], given: Sequence[str]) -> list[Confusion]:
    """Pairs of different labels that were taken for each other, most frequent first."""
    pairs = Counter((a, b) for a, b in zip(wanted, given, strict=True) if a != b)
    return [
        Confusion(a, b, count)
        for (a, b), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def matrix(wanted: Sequence[str], given: Sequence[str]) -> tuple[tuple[str, ...], list[list[int]]] | None:
    """(labels, counts[wanted][given]) over all labels that occur; None for more than :data:`MOST_IN_MATRIX`."""
    labels = tuple(sorted({*wanted, *given}))
    if len(labels) > MOST_IN_MATRIX:
        return None
    pairs = Counter(zip(wanted, given, strict=True))
    return labels, [[pairs[a, b] for b in labels] for a in labels]
