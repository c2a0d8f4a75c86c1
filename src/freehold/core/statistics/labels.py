"""Macro-F1: the mean over labels of each label's F1, with an interval that holds where labels are rare.

A label with three rows, all right, says nothing of how often it is wrong, and resampling its rows never shows
a wrong one. So, as in :mod:`freehold.core.statistics.bounded`, rows get random weights (Rubin 1981) and each
label one more row: a wrong one for the lower end, a right one for the upper. The fewer rows a label has, the
more that row counts. No library has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from freehold.core.statistics.interval import Groups, Interval, group_index

#: Draws beyond the end of the interval, the fewest of all draws, and draws at a time.
_BEYOND, _FEWEST, _BLOCK = 60, 3000, 500
#: A label with fewer rows is said to have few.
FEW_ROWS = 10


@dataclass(frozen=True)
class _Table:
    """``counts``: (units, 3 * labels) rows of the label, answers that name it, and both.

    A unit is weighted as one.

    ``shapes``: of the units' gamma weights. ``extra``: (labels,) the size of the row added to each label.
    """

    counts: np.ndarray
    shapes: np.ndarray
    extra: np.ndarray


def macro_f1(
    expected: Sequence[str], answered: Sequence[str], *, groups: Groups = None, level: float = 0.95
) -> Interval:
    """Mean F1 over the labels that occur in ``expected``.

    An answer that is none of them counts against the label it should have been.
    """
    labels = {label: i for i, label in enumerate(sorted(set(expected)))}
    count, n = len(labels), len(expected)
    if n == 0:
        return Interval(0.0, 0.0, 1.0, 0, level, "no rows")
    true = np.array([labels[label] for label in expected])
    guess = np.array([labels.get(label, count) for label in answered])
    index = group_index(groups, n)
    table = _by_answer(true, guess, count) if index is None else _by_group(true, guess, count, *index)
    value = float(_f1(table.counts.sum(axis=0)[None]).mean())
    alpha = (1 - level) / 2
    low, high = _ends(table, count, alpha)
    few = int((np.bincount(true, minlength=count) < FEW_ROWS).sum())
    method = "random weights, a row added to each label"
    if few:
        method += f"; {few} of {count} labels have fewer than {FEW_ROWS} rows"
    return Interval(value, min(low, value), max(high, value), n, level, method, index[1] if index else None)


def _rows(true: np.ndarray, guess: np.ndarray, count: int) -> np.ndarray:
    """(n, 3 * labels): what each row adds to the rows of a label, the answers that name it, and both."""
    table = np.zeros((len(true), 3, count + 1))
    number = np.arange(len(true))
    table[number, 0, true] = 1
    table[number, 1, guess] = 1
    table[number, 2, true] = true == guess
    return table[:, :, :count].reshape(len(true), 3 * count)


def _by_answer(true: np.ndarray, guess: np.ndarray, count: int) -> _Table:
    """Rows with the same label and answer are one unit with as large a shape as they are many."""
    cells, number = np.unique(np.stack([true, guess], axis=1), axis=0, return_counts=True)
    shares = _rows(cells[:, 0], cells[:, 1], count)
    return _Table(shares * number[:, None], number.astype(float), np.ones(count))


def _by_group(true: np.ndarray, guess: np.ndarray, count: int, group: np.ndarray, groups: int) -> _Table:
    """Each group is a unit.

    The row added to a label is as large as that label's part of a group that holds it.
    """
    counts = np.zeros((groups, 3 * count))
    np.add.at(counts, group, _rows(true, guess, count))
    held = counts[:, :count]
    return _Table(counts, np.ones(groups), held.sum(axis=0) / np.maximum((held > 0).sum(axis=0), 1))


def _ends(table: _Table, count: int, alpha: float) -> tuple[float, float]:
    draws = max(_FEWEST, math.ceil(_BEYOND / alpha))
    lows, highs = zip(*_draws(table, count, draws), strict=True)
    return (
        float(np.quantile(np.concatenate(lows), alpha)),
        float(np.quantile(np.concatenate(highs), 1 - alpha)),
    )


def _draws(table: _Table, count: int, draws: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Macro-F1 under random weights, with a wrong row and with a right row added to each label."""
    random = np.random.default_rng(0)
    units = table.counts / table.shapes[:, None]
    for start in range(0, draws, _BLOCK):
        size = min(_BLOCK, draws - start)
        totals = random.gamma(table.shapes, size=(size, len(table.shapes))) @ units
        added = random.exponential(size=(size, count)) * table.extra
        rows, answers, both = np.split(totals, 3, axis=1)
        yield (
            (2 * both / (rows + answers + added)).mean(axis=1),
            (2 * (both + added) / (rows + answers + 2 * added)).mean(axis=1),
        )


def _f1(totals: np.ndarray) -> np.ndarray:
    rows, answers, both = np.split(totals, 3, axis=1)
    return 2 * both / (rows + answers)
