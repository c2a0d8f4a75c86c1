"""Differences of two variants on the same rows.

Variants answer the same rows, so differences are tested on pairs: two unpaired intervals that overlap say
nothing about a difference measured on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from scipy import stats

from freehold.core.statistics.bounded import error_of, error_of_groups
from freehold.core.statistics.interval import Groups, group_index
from freehold.core.statistics.means import mean_interval

#: p-values below this are not told apart: they say nothing that anybody can use.
LEAST_SHOWN = 1e-12


class PairedDifference(TypedDict):
    """The difference ``second - first`` of two variants' scores on the same rows."""

    #: the mean difference
    difference: float
    #: lower end of its interval
    low: float
    #: upper end of its interval
    high: float
    #: two-sided p-value that there is no difference; with n independent rows never less than 2 * 0.5**n
    p: float
    #: name of the test
    test: str
    #: rows that both answered
    rows: int
    #: rows on which the second is better
    gained: int
    #: rows on which the second is worse
    lost: int
    #: name of the interval
    method: str
    #: groups that the rows come from, None where rows stand alone
    groups: int | None


def p_text(p: float) -> str:
    """A p-value as it is shown: ``p=0.031``, and ``p<1e-12`` for what is smaller, 0 by rounding included."""
    return f"p={p:.2g}" if p >= LEAST_SHOWN else f"p<{LEAST_SHOWN:g}"


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value that as many rows are gained as lost (McNemar 1947, binomial form).

    1 where none is.
    """
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def bonett_price(gained: int, lost: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two paired shares (Bonett and Price 2012).

    Wald's with one row added to each cell that differs.
    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, float(up - down - half)), min(1.0, float(up - down + half))


def paired(
    first: Sequence[float], second: Sequence[float], *, groups: Groups = None, level: float = 0.95
) -> PairedDifference:
    """Difference ``second - first`` of scores from 0 to 1 on the same rows.

    Shares: Bonett and Price's interval with McNemar's exact test. Graded scores, and any scores in groups:
    Gaffke's interval of the mean difference, with the p-value at which it would touch 0. Neither resamples: a
    sign-flip test says "better" too often, as it takes differences to be symmetric, which one large loss
    beside many small gains is not, and its p-value can be no less than 1 / (draws + 1).
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    gain, n = b - a, len(a)
    gained, lost = int((gain > 0).sum()), int((gain < 0).sum())
    index = group_index(groups, n)
    if index is None and np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all():
        low, high = bonett_price(gained, lost, n, level)
        p, test, method = mcnemar(gained, lost), "McNemar, exact", "Bonett-Price interval"
    else:
        half = mean_interval(list((gain + 1) / 2), groups=groups, level=level)
        low, high, method = 2 * half.low - 1, 2 * half.high - 1, half.method
        p, test = p_value(gain, index), "bound of the mean difference"
    return PairedDifference(
        difference=float(gain.mean()),
        low=low,
        high=high,
        p=p,
        test=test,
        rows=n,
        gained=gained,
        lost=lost,
        method=method,
        groups=index[1] if index else None,
    )


def p_value(gain: np.ndarray, index: tuple[np.ndarray, int] | None = None) -> float:
    """Two-sided p-value that the mean of differences (-1 to 1) is 0, by Gaffke's bounds.

    ``index``: as of :func:`group_index`.
    """
    if index is None:
        errors = [error_of((sign * gain + 1) / 2, 0.5) for sign in (1, -1)]
    else:
        group, count = index
        sums = np.bincount(group, weights=gain, minlength=count) / 2
        sizes = np.bincount(group, minlength=count).astype(float)
        errors = [error_of_groups(sign * sums + sizes / 2, sizes, 0.5) for sign in (1, -1)]
    return min(1.0, 2 * max(0.0, min(errors)))
