"""How many rows it takes: before money is spent, and after a result that decides nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.special import betaincinv

#: More rows than these are not advice.
MOST = 1_000_000


def critical_counts(n: int, threshold: float, alpha: float) -> tuple[int, int]:
    """(least count that meets the threshold, most count that misses it) among ``n`` rows by Clopper and Pearson's bounds.

    Met: P(X >= count | threshold) <= alpha. Missed: P(X <= count | threshold) <= alpha. n + 1 and -1 where no count does.
    """
    met = int(stats.binom.isf(alpha, n, threshold)) + 1
    missed = int(stats.binom.ppf(alpha, n, threshold))
    if stats.binom.cdf(missed, n, threshold) > alpha:
        missed -= 1
    return met, missed


def rows_for_power(
    share: float,
    threshold: float,
    n: int,
    *,
    level: float = 0.95,
    power: float = 0.8,
    variance: float | None = None,
) -> int | None:
    """How many more rows decide with chance ``power`` whether the truth is above or below ``threshold``; None above a million.

    ``share`` was seen on ``n`` rows. The chance is over what the truth may be after that (Jeffreys' prior) and over the new rows
    (predictive power; Spiegelhalter 1986), as the share seen is itself uncertain. ``level``: that of the *next* look. ``variance``: of
    one row's score where scores are not 0 or 1 (with groups: n times the squared standard error); the normal approximation is used then.
    """
    chance = _chance_of_share if variance is None else _chance_of_mean
    spread = share * (1 - share) if variance is None else variance

    def decided(more: int) -> float:
        return chance(share, threshold, n, more, (1 - level) / 2, spread)

    return _smallest(decided, power)


def _smallest(chance: Callable[[int], float], power: float) -> int | None:
    if chance(MOST) < power:
        return None
    low, high = 0, 1
    while chance(high) < power:
        low, high = high, min(MOST, high * 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= power else (middle + 1, high)
    return low


def _chance_of_share(share: float, threshold: float, n: int, more: int, alpha: float, spread: float) -> float:
    hits = share * n
    met, missed = critical_counts(n + more, threshold, alpha)
    # the beta-binomial by the truth's quantiles: its own function loses digits for many rows
    truth = betaincinv(hits + 0.5, n - hits + 0.5, (np.arange(400) + 0.5) / 400)
    above = stats.binom.sf(math.ceil(met - hits - 1e-9) - 1, more, truth)
    below = stats.binom.cdf(math.floor(missed - hits + 1e-9), more, truth)
    return float((above + below).mean())


def _chance_of_mean(mean: float, threshold: float, n: int, more: int, alpha: float, spread: float) -> float:
    if spread <= 0 or more == 0:
        return float(mean != threshold and spread <= 0)
    total = n + more
    half = stats.norm.isf(alpha) * math.sqrt(spread / total)
    future = math.sqrt(spread * more / (n * total))
    above = stats.norm.sf((threshold + half - mean) / future)
    below = stats.norm.cdf((threshold - half - mean) / future)
    return float(above + below)


def detectable(n: int, threshold: float, *, level: float = 0.96, power: float = 0.8) -> float:
    """Smallest distance above ``threshold`` at which ``n`` rows find the need met with chance ``power``; infinite where none is.

    Exact for shares. Graded scores from 0 to 1 vary less than shares with the same mean, so for them it is the most.
    """
    met, _ = critical_counts(n, threshold, (1 - level) / 2)
    if met > n or threshold >= 1:
        return math.inf
    return max(0.0, float(betaincinv(met, n - met + 1, power)) - threshold)


def rows_to_differ(gained: int, lost: int, n: int, *, level: float = 0.95, power: float = 0.8) -> int | None:
    """How many more rows give McNemar's test a chance of ``power`` to find the second variant better; None if none would.

    ``gained`` and ``lost`` of ``n`` rows were seen. Rows that differ are taken to come as often as they did; which way, as
    :func:`rows_for_power` takes shares.
    """
    if gained <= lost or n == 0:
        return None
    differing = gained + lost

    def chance(more: int) -> float:
        new = round(more * differing / n)
        met, _ = critical_counts(differing + new, 0.5, (1 - level) / 2)
        truth = betaincinv(gained + 0.5, lost + 0.5, (np.arange(400) + 0.5) / 400)
        return float(stats.binom.sf(met - 1 - gained, new, truth).mean())

    return _smallest(chance, power)
