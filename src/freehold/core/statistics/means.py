"""The mean of scores, with an interval that holds its level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from freehold.core.statistics.bounded import (
    lower_bound,
    lower_bound_of_groups,
    upper_bound,
    upper_bound_of_groups,
)
from freehold.core.statistics.interval import Groups, Interval, group_index

#: Fewest rows or groups for an interval of numbers without known limits: a t interval of fewer says nothing
#: of its error.
FEWEST = 10


def mean_interval(scores: Sequence[float], *, groups: Groups = None, level: float = 0.95) -> Interval:
    """The mean of scores with its interval.

    Scores of 0 and 1: Clopper and Pearson's exact interval. Scores from 0 to 1: Gaffke's, of which that is a
    case. Other numbers: Student's t, which errs too often on few skewed numbers (docs/evidence.md).

    ``groups``: name of each row's group; the error then counts groups, not rows.
    """
    values = np.asarray(scores, dtype=float)
    n = len(values)
    if n == 0:
        return Interval(0.0, 0.0, 1.0, 0, level, "no rows")
    index = group_index(groups, n)
    bounded = bool(values.min() >= 0.0 and values.max() <= 1.0)
    if index is not None:
        return _grouped(values, *index, level, bounded)
    if not bounded:
        return _unbounded(values, level)
    alpha = (1 - level) / 2
    shares = bool(np.isin(values, (0.0, 1.0)).all())
    name = "Clopper-Pearson exact interval" if shares else "Gaffke interval for scores from 0 to 1"
    return Interval(
        float(values.mean()), lower_bound(values, alpha), upper_bound(values, alpha), n, level, name
    )


def share_interval(successes: float, n: int, *, level: float = 0.95) -> Interval:
    """Clopper and Pearson's exact interval of ``successes`` in ``n`` rows."""
    if n == 0:
        return Interval(0.0, 0.0, 1.0, 0, level, "no rows")
    ends = np.array([1.0, 0.0])
    counts = np.array([successes, n - successes])
    alpha = (1 - level) / 2
    low, high = lower_bound(ends, alpha, counts), upper_bound(ends, alpha, counts)
    return Interval(successes / n, low, high, n, level, "Clopper-Pearson exact interval")


def wilson(successes: float, n: int) -> tuple[float, float]:
    """95% score interval of a share (Wilson 1927), for description.

    It does not hold its level in every case. (0, 1) for no rows.

    Scipy's takes whole successes only; a share of another sample brought to ``n`` rows has none.
    """
    if n == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf(0.975))
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    # rounding must not put the share itself outside
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def standard_error(values: np.ndarray, group: np.ndarray | None = None, count: int = 0) -> float:
    """Standard error of the mean, of ``count`` groups where ``group`` is given.

    Groups by CR1: the squares of the sums of their residuals, times G / (G - 1).
    """
    n = len(values)
    if group is None:
        return float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    sums = np.bincount(group, weights=values - values.mean(), minlength=count)
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / n) if count > 1 else 0.0


def row_variance(scores: Sequence[float], *, groups: Groups = None) -> float:
    """Variance of one row's score as far as the mean's error goes.

    Rows times its squared standard error, of groups if given.
    """
    values = np.asarray(scores, dtype=float)
    group, count = group_index(groups, len(values)) or (None, 0)
    return standard_error(values, group, count) ** 2 * len(values)


def _grouped(values: np.ndarray, group: np.ndarray, count: int, level: float, bounded: bool) -> Interval:
    n, alpha, value = len(values), (1 - level) / 2, float(values.mean())
    if bounded:
        sums = np.bincount(group, weights=values, minlength=count)
        sizes = np.bincount(group, minlength=count).astype(float)
        low, high = lower_bound_of_groups(sums, sizes, alpha), upper_bound_of_groups(sums, sizes, alpha)
        return Interval(value, low, high, n, level, f"Gaffke interval over {count} groups", count)
    if count < FEWEST:
        return Interval(value, -np.inf, np.inf, n, level, f"fewer than {FEWEST} groups give no bound", count)
    half = float(stats.t.ppf(1 - alpha, count - 1)) * standard_error(values, group, count)
    return Interval(value, value - half, value + half, n, level, f"t interval over {count} groups", count)


def _unbounded(values: np.ndarray, level: float) -> Interval:
    n, value, alpha = len(values), float(values.mean()), (1 - level) / 2
    if n < FEWEST:
        return Interval(value, -np.inf, np.inf, n, level, f"fewer than {FEWEST} rows give no bound")
    error = standard_error(values)
    half = float(stats.t.ppf(1 - alpha, n - 1)) * error
    return Interval(value, value - half, value + half, n, level, "t interval")
