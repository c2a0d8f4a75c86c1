"""Differences of two variants on the same rows.

Variants answer the same rows, so differences are tested on pairs: two unpaired intervals that overlap say nothing about a difference
measured on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from freehold.statistics.interval import Groups, Interval, group_index
from freehold.statistics.means import mean_interval

#: Draws of a permutation test.
RESAMPLES = 2000


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value that as many rows are gained as lost (McNemar 1947, binomial form); 1 where none is."""
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def bonett_price(gained: int, lost: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two paired shares (Bonett and Price 2012): Wald's with one row added to each cell that differs."""
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, float(up - down - half)), min(1.0, float(up - down + half))


def sign_flip(totals: np.ndarray) -> float:
    """Two-sided p-value that each total (of a row or a group) could as well have the other sign."""
    random = np.random.default_rng(0)
    moving = totals[totals != 0]
    extreme, seen = 0, abs(moving.sum()) - 1e-12
    for _ in range(RESAMPLES // 250):
        flips = random.choice((-1.0, 1.0), size=(250, len(moving)))
        extreme += int((np.abs(flips @ moving) >= seen).sum())
    # the rows as they are count as one of the draws, so p is never below 1 / (draws + 1) (Phipson and Smyth 2010)
    return (extreme + 1) / (RESAMPLES + 1)


def difference_interval(gain: np.ndarray, *, groups: Groups = None, level: float = 0.95) -> Interval:
    """The mean of differences with its interval; differences between -1 and 1 are scores from 0 to 1, doubled."""
    if len(gain) and np.abs(gain).max() <= 1.0:
        half = mean_interval(list((gain + 1) / 2), groups=groups, level=level)
        return Interval(
            2 * half.value - 1, 2 * half.low - 1, 2 * half.high - 1, half.n, level, half.method, half.groups
        )
    return mean_interval(list(gain), groups=groups, level=level)


def paired(
    first: Sequence[float], second: Sequence[float], *, groups: Groups = None, level: float = 0.95
) -> dict[str, Any]:
    """Difference ``second - first`` on the same rows: value, interval, p-value, rows gained and lost.

    Shares: Bonett and Price's interval with McNemar's exact test. Graded scores, and any scores in groups: a sign-flip permutation test
    (of whole groups) with the interval of the mean difference.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    gain, n = b - a, len(a)
    gained, lost = int((gain > 0).sum()), int((gain < 0).sum())
    index = group_index(groups, n)
    if index is None and np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all():
        low, high = bonett_price(gained, lost, n, level)
        p, test, method = mcnemar(gained, lost), "McNemar, exact", "Bonett-Price interval"
    else:
        totals = gain if index is None else np.bincount(index[0], weights=gain, minlength=index[1])
        interval = difference_interval(gain, groups=groups, level=level)
        low, high, method = interval.low, interval.high, interval.method
        p = sign_flip(totals)
        test = "sign-flip permutation" if index is None else "sign-flip permutation of groups"
    return {
        "difference": float(gain.mean()), "low": low, "high": high, "p": p, "test": test, "rows": n,
        "gained": gained, "lost": lost, "method": method, "groups": index[1] if index else None,
    }  # fmt: skip
