"""Rows with the same text and different answers: the largest share of rows that any model can get right.

A model that gives the same answer to the same text is right on those of its rows that share one answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from freehold.data.examples import Example
from freehold.evaluation.metrics import METRICS, Metric

#: Kinds of tasks where an answer is right or wrong; of texts and programs several may be good.
_KINDS = frozenset({"label", "labels", "number", "value", "json"})
_SHOWN = 3


@dataclass(frozen=True)
class Ceiling:
    """The best that any model can reach on some rows."""

    #: the highest share of rows that can be right
    value: float = 1.0
    #: rows whose text has another answer too
    rows: int = 0
    #: ids of pairs of such rows
    examples: tuple[tuple[str, str], ...] = ()


def ceiling(metric: Metric, rows: Sequence[Example]) -> Ceiling:
    """The ceiling of these rows; 1 where no text has two answers, or several answers may be good."""
    if not applies(metric) or not rows:
        return Ceiling()
    disputed, right, pairs = 0, 0, list[tuple[str, str]]()
    for alike in same_texts(rows):
        best = most_right(metric, alike, (_answer(metric, example) for example in alike))
        right += best
        if best < len(alike):
            disputed += len(alike)
            pairs.append(_differing(metric, alike))
    return Ceiling(right / len(rows), disputed, tuple(pairs[:_SHOWN]))


def reachable(metric: Metric, rows: Sequence[Example], labels: Collection[str]) -> float:
    """The share of rows that any answer of ``labels`` can get right, the same for the same text."""
    right = 0
    for alike in same_texts(rows):
        answers = [answer for example in alike if (answer := metric.wanted(example)) in labels]
        right += most_right(metric, alike, answers)
    return right / len(rows) if rows else 1.0


def applies(metric: Metric) -> bool:
    """Whether the metric calls an answer right or wrong; a person's own function may not."""
    return metric.kind in _KINDS and metric.name == METRICS[metric.kind].name


def same_texts(rows: Iterable[Example]) -> list[list[Example]]:
    """Rows grouped by their prompt, white space aside."""
    by_text: dict[tuple[tuple[str, str], ...], list[Example]] = defaultdict(list)
    for example in rows:
        by_text[tuple((role, " ".join(text.split())) for role, text in example.prompt)].append(example)
    return list(by_text.values())


def most_right(metric: Metric, alike: Sequence[Example], answers: Iterable[str]) -> int:
    """How many rows of the same text the best of some answers gets right."""
    return max((sum(_right(metric, e, answer) for e in alike) for answer in set(answers)), default=0)


def _answer(metric: Metric, example: Example) -> str:
    return metric.wanted(example) if metric.kind == "label" else example.answer


def _right(metric: Metric, example: Example, answer: str) -> bool:
    return metric.grade(example, answer) >= 1.0


def _differing(metric: Metric, alike: Sequence[Example]) -> tuple[str, str]:
    first = alike[0]
    answer = _answer(metric, first)
    return first.id, next((e.id for e in alike[1:] if not _right(metric, e, answer)), alike[-1].id)
