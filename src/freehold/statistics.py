"""Intervals and paired tests. 95% throughout.

Variants answer the same rows, so differences are tested on pairs: two unpaired intervals that
overlap say nothing about a difference measured on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054
RESAMPLES = 2000


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927). (0, 1) for no rows."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # rounding must not put the share itself outside
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def bootstrap(rows: int, statistic: Callable[[np.ndarray], float], *, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of ``statistic`` over resampled row indexes (Efron 1979)."""
    random = np.random.default_rng(seed)
    values = [statistic(random.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def mean_interval(scores: Sequence[float]) -> tuple[float, float]:
    """Wilson for scores of 0 and 1 only, else bootstrap of the mean."""
    values = np.asarray(scores, dtype=float)
    if np.isin(values, (0.0, 1.0)).all():
        return wilson(float(values.sum()), len(values))
    return bootstrap(len(values), lambda rows: float(values[rows].mean()))


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Exact two-sided p-value that two variants err on the same rows equally often (McNemar 1947, binomial form)."""
    from scipy.stats import binomtest

    gained = sum(1 for a, b in zip(first, second, strict=True) if b > a)
    lost = sum(1 for a, b in zip(first, second, strict=True) if b < a)
    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def paired(
    first: Sequence[float], second: Sequence[float], *, groups: Sequence[object] | None = None
) -> dict[str, float | int | str]:
    """Difference ``second - first`` on the same rows: value, interval (paired bootstrap), p-value, rows gained and lost."""
    if groups is not None:
        raise NotImplementedError("rows in groups")
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    gain = b - a
    low, high = bootstrap(len(gain), lambda rows: float(gain[rows].mean()))
    binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    if binary:
        p, test = mcnemar(first, second), "McNemar, exact"
    else:
        random = np.random.default_rng(0)
        flips = random.choice((-1.0, 1.0), size=(RESAMPLES, len(gain)))
        extreme = int((np.abs((flips * gain).mean(axis=1)) >= abs(gain.mean()) - 1e-12).sum())
        # the rows as they are count as one of the draws, so p is never below 1 / (draws + 1) (Phipson and Smyth 2010)
        p = (extreme + 1) / (RESAMPLES + 1)
        test = "sign-flip permutation"
    return {
        "difference": float(gain.mean()), "low": low, "high": high, "p": p, "test": test, "rows": len(gain),
        "gained": int((gain > 0).sum()), "lost": int((gain < 0).sum()),
    }  # fmt: skip


def macro_f1(wanted: Sequence[str], given: Sequence[str]) -> tuple[float, tuple[float, float]]:
    """Mean F1 over the labels that occur in ``wanted``, and its bootstrap interval."""
    labels = {label: i for i, label in enumerate(sorted(set(wanted)))}
    count = len(labels)
    true = np.array([labels[label] for label in wanted])
    guess = np.array([labels.get(label, count) for label in given])

    def f1(rows: np.ndarray) -> float:
        t, g = true[rows], guess[rows]
        hit = np.bincount(t[t == g], minlength=count + 1)
        total = np.bincount(t, minlength=count + 1) + np.bincount(g, minlength=count + 1)
        present = np.bincount(t, minlength=count + 1) > 0
        present[count] = False
        return float((2 * hit[present] / total[present]).mean())

    return f1(np.arange(len(true))), bootstrap(len(true), f1)


def rows_to_decide(share: float, threshold: float, n: int, *, most: int = 1_000_000) -> int | None:
    """How many more rows would put the threshold outside the Wilson interval if the share stayed; None if it equals the threshold."""
    if abs(share - threshold) < 1e-9:
        return None
    low, high = n, most

    def decided(rows: int) -> bool:
        bottom, top = wilson(share * rows, rows)
        return threshold <= bottom or threshold > top

    if not decided(most):
        return None
    while low < high:
        middle = (low + high) // 2
        if decided(middle):
            high = middle
        else:
            low = middle + 1
    return low - n


def rows_to_differ(gained: int, lost: int, n: int, *, most: int = 1_000_000) -> int | None:
    """How many more rows would make McNemar's p fall below 0.05 if the shares of rows gained and lost stayed; None if none would."""
    from scipy.stats import binomtest

    if gained <= lost or n == 0:
        return None

    def differs(rows: int) -> bool:
        up, down = round(gained * rows / n), round(lost * rows / n)
        return bool(binomtest(up, up + down, 0.5).pvalue < 0.05)

    if not differs(most):
        return None
    low, high = n, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if differs(middle) else (middle + 1, high)
    return low - n


@dataclass(frozen=True)
class Interval:
    """A value and its interval; an end of infinity says that so few values give no bound."""

    value: float
    low: float
    high: float
    n: int
    level: float
    method: str


def waits_needed(share: float, level: float = 0.95) -> int:
    """Fewest values of which the largest is an upper bound of the quantile ``share`` (72 for p95 at 95%)."""
    return math.ceil(math.log((1 - level) / 2) / math.log(share) - 1e-9)


def quantile_interval(values: Sequence[float], share: float, *, level: float = 0.95) -> Interval:
    """The quantile ``share`` with its interval by order statistics, for any distribution (Hahn and Meeker 1991, section 5.2)."""
    from scipy.stats import binom

    ordered, n = np.sort(np.asarray(values, dtype=float)), len(values)
    alpha = (1 - level) / 2
    below = binom.cdf(np.arange(n), n, share)
    first = int((below <= alpha).sum())
    last = int((below < 1 - alpha).sum()) + 1
    low = float(ordered[first - 1]) if first else -math.inf
    high = float(ordered[last - 1]) if last <= n else math.inf
    method = "interval by order statistics"
    if last > n:
        method = f"no upper bound: that needs {waits_needed(share, level)} values"
    return Interval(float(np.quantile(ordered, share)), low, high, n, level, method)
