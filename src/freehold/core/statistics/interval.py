"""A figure with its interval, and rows that belong together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

#: One name per row: rows with the same name (a patient, an author, a document) belong together. None: every
#: row stands alone.
Groups = Sequence[Hashable] | None


@dataclass(frozen=True)
class Interval:
    """A value and the interval that covers the truth in ``level`` of all samples.

    ``(1 - level) / 2`` is the most that the truth lies below ``low`` (and above ``high``), so that one end is
    a one-sided bound at that error. An end of plus or minus infinity says that so few rows give no bound.
    ``groups``: how many groups the ``n`` rows come from, None where rows stand alone. ``method``: name of the
    interval in words for the report.
    """

    value: float
    low: float
    high: float
    n: int
    level: float
    method: str
    groups: int | None = None


def group_index(groups: Groups, n: int) -> tuple[np.ndarray, int] | None:
    """(number of the group for each row, how many groups); None where every row is a group of its own.

    Raises ValueError where ``groups`` has not one name per row.
    """
    if groups is None:
        return None
    if len(groups) != n:
        raise ValueError(f"{len(groups)} group names for {n} rows: give one name per row")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(name, len(numbers)) for name in groups], dtype=int)
    return None if len(numbers) == n else (index, len(numbers))
