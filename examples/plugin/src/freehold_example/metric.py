"""A metric: the share of the expected answer's words that an answer has."""

from __future__ import annotations

from freehold.data.examples import Example
from freehold.evaluation.registered_metrics import RegisteredMetric


class WordRecall:
    """Grades from 0 to 1; more is better."""

    #: like none of Freehold's kinds of tasks
    kind = "text"
    #: what needs are on: --need 'word_recall>=0.8'
    name = "word_recall"
    method = "share of the expected answer's words that the answer has"

    def grade(self, row: Example, answer: str) -> float:
        """1 if the answer has all words of the expected one, 0 if it has none."""
        expected = set(row.answer.casefold().split())
        return len(expected & set(answer.casefold().split())) / max(len(expected), 1)


METRIC: RegisteredMetric = WordRecall()
