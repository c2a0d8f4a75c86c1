"""Where answers to labelled rows go wrong: figures for each label, and which labels are confused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from freehold.core import statistics

#: Labels up to which a matrix is readable; above, the most frequent confusions are listed.
MOST_IN_MATRIX = 25
#: A label with fewer test rows says little about itself.
FEW_ROWS = 10


@dataclass(frozen=True)
class LabelFigures:
    """The figures of one label."""

    #: the label
    label: str
    #: test rows that carry it
    rows: int
    #: answers that name it
    answered: int
    #: share of those answers that are right, None where there is none
    precision: float | None
    #: share of its rows that are answered right
    recall: float
    #: lower end of recall's 95% interval
    recall_low: float
    #: upper end of recall's 95% interval
    recall_high: float
    #: harmonic mean of precision and recall
    f1: float


@dataclass(frozen=True)
class Confusion:
    """Two labels of which one was answered for the other."""

    #: the label that the rows carry
    wanted: str
    #: the label that the answers name
    given: str
    #: how many test rows
    rows: int


def per_label(expected: Sequence[str], given: Sequence[str]) -> list[LabelFigures]:
    """Figures of each label that occurs in ``expected``, most rows first."""
    rows, answered = Counter(expected), Counter(given)
    right = Counter(a for a, b in zip(expected, given, strict=True) if a == b)
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


def confusions(expected: Sequence[str], answered: Sequence[str]) -> list[Confusion]:
    """Pairs of different labels that were confused, most frequent first."""
    pairs = Counter((a, b) for a, b in zip(expected, answered, strict=True) if a != b)
    return [
        Confusion(a, b, count)
        for (a, b), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def matrix(
    expected: Sequence[str], answered: Sequence[str]
) -> tuple[tuple[str, ...], list[list[int]]] | None:
    """(labels, counts[wanted][given]) over all labels that occur; None for too many labels to read."""
    labels = tuple(sorted({*expected, *answered}))
    if len(labels) > MOST_IN_MATRIX:
        return None
    pairs = Counter(zip(expected, answered, strict=True))
    return labels, [[pairs[a, b] for b in labels] for a in labels]
