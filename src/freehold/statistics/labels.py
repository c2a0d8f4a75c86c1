"""Macro-F1: the mean over labels of each label's F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freehold.statistics.interval import Groups, Interval, group_index

RESAMPLES = 2000
#: A label with fewer rows has an F1 that says little of the truth: then no interval is given.
FEWEST_PER_LABEL = 10


def macro_f1(
    wanted: Sequence[str], given: Sequence[str], *, groups: Groups = None, level: float = 0.95
) -> Interval:
    """Mean F1 over the labels that occur in ``wanted``; from 0 to 1 where a label has too few rows for an interval that holds."""
    labels = {label: i for i, label in enumerate(sorted(set(wanted)))}
    count, n = len(labels), len(wanted)
    true = np.array([labels[label] for label in wanted])
    guess = np.array([labels.get(label, count) for label in given])
    index = group_index(groups, n)
    rows = np.bincount(true, minlength=count)
    value = float(_f1(true, guess, np.ones((1, n)), count)[0])
    few = int((rows < FEWEST_PER_LABEL).sum())
    if few:
        how = f"no interval: {few} of {count} labels have fewer than {FEWEST_PER_LABEL} rows"
        return Interval(value, 0.0, 1.0, n, level, how, index[1] if index else None)
    random = np.random.default_rng(0)
    units, group = (n, np.arange(n)) if index is None else (index[1], index[0])
    draws = random.multinomial(units, np.full(units, 1 / units), size=RESAMPLES).astype(np.int32)
    values = _f1(true, guess, draws[:, group], count)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        value, float(low), float(high), n, level, "bootstrap interval", index[1] if index else None
    )


def _f1(true: np.ndarray, guess: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Macro-F1 for each row of ``weights`` (draws, n): how often each row is in the draw."""
    from scipy.sparse import csr_matrix

    n, rows = len(true), np.arange(len(true))

    def tally(numbers: np.ndarray, keep: np.ndarray) -> np.ndarray:
        where = csr_matrix((keep.astype(float), (rows, numbers)), shape=(n, count + 1))
        return np.asarray((where.T @ weights.T).T)[:, :count]

    every = np.ones(n, dtype=bool)
    present, hit = tally(true, every), tally(true, true == guess)
    total = present + tally(guess, every)
    there = present > 0
    f1 = np.divide(2 * hit, total, out=np.zeros_like(hit), where=total > 0)
    return (f1 * there).sum(axis=1) / there.sum(axis=1)
