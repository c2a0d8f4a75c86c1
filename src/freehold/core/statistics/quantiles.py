"""Quantiles, as the wait that 95 of 100 requests stay under."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from freehold.core.statistics.interval import Interval


def waits_needed(share: float, level: float = 0.95) -> int:
    """Fewest values of which the largest is an upper bound of the quantile ``share`` (72 for p95 at 95%)."""
    return math.ceil(math.log((1 - level) / 2) / math.log(share) - 1e-9)


def quantile_interval(values: Sequence[float], share: float, *, level: float = 0.95) -> Interval:
    """The quantile ``share`` with its interval by order statistics, for any distribution.

    Hahn and Meeker 1991, section 5.2.

    An end is infinite where too few values give it; the method then says how many are needed.
    """
    ordered, n = np.sort(np.asarray(values, dtype=float)), len(values)
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0, level, "no values")
    alpha = (1 - level) / 2
    # at most `alpha` of all samples have fewer than `first` values (and more than `last` - 1) below the
    # quantile
    below = stats.binom.cdf(np.arange(n), n, share)
    first = int((below <= alpha).sum())
    last = int((below < 1 - alpha).sum()) + 1
    low = float(ordered[first - 1]) if first else -math.inf
    high = float(ordered[last - 1]) if last <= n else math.inf
    method = "interval by order statistics"
    if last > n:
        method = f"no upper bound: that needs {waits_needed(share, level)} values"
    return Interval(float(np.quantile(ordered, share)), low, high, n, level, method)
