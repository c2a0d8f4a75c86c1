"""How many rows it takes: before money is spent, and after a result that decides nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import special

#: More rows than these are not advice.
MOST = 1_000_000
#: Values of the truth that a chance is the mean over.
_TRUTHS = 200


def critical_counts(n: int, threshold: float, alpha: float) -> tuple[int, int]:
    """(least count that meets the threshold, most count that misses it) among ``n`` rows, by exact bounds.

    Met: P(X >= count | threshold) <= alpha. Missed: P(X <= count | threshold) <= alpha. n + 1 and -1 where no
    count does.
    """
    if threshold <= 0:
        return 0, -1
    if threshold >= 1:
        return n + 1, n - (threshold == 1)
    met = min(n + 1, int(special.bdtrik(1 - alpha, n, threshold)) if n else 1)
    while met <= n and special.bdtrc(met - 1, n, threshold) > alpha:
        met += 1
    missed = int(special.bdtrik(alpha, n, threshold)) + 1 if n else -1
    while missed >= 0 and special.bdtr(missed, n, threshold) > alpha:
        missed -= 1
    return met, missed


@lru_cache(4096)  # variants are ranked again and again by the same figures
def rows_for_power(
    share: float,
    threshold: float,
    n: int,
    *,
    level: float = 0.95,
    power: float = 0.8,
    variance: float | None = None,
) -> int | None:
    """How many more rows decide with chance ``power`` whether the truth is above or below ``threshold``.

    None above a million.

    ``share`` was seen on ``n`` rows. The chance is over what the truth may be after that (Jeffreys' prior)
    and over the new rows (predictive power; Spiegelhalter 1986), as the share seen is itself uncertain.
    ``level``: that of the *next* look. ``variance``: of one row's score where scores are not 0 or 1 (with
    groups: n times the squared standard error); the normal approximation is used then.
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
    truth = _truths(hits, n - hits)
    # the beta-binomial by the truth's quantiles: its own function loses digits for many rows
    return float(
        (
            _at_least(math.ceil(met - hits - 1e-9), more, truth)
            + 1
            - _at_least(math.floor(missed - hits + 1e-9) + 1, more, truth)
        ).mean()
    )


def _truths(hits: float, misses: float) -> np.ndarray:
    """What the truth may be after what was seen: evenly likely values (Jeffreys' prior)."""
    return special.betaincinv(hits + 0.5, misses + 0.5, (np.arange(_TRUTHS) + 0.5) / _TRUTHS)


def _at_least(count: int, n: int, truth: np.ndarray) -> np.ndarray:
    """P(at least ``count`` of ``n`` rows are right) for each truth."""
    if count <= 0:
        return np.ones(len(truth))
    return special.bdtrc(count - 1, n, truth) if count <= n else np.zeros(len(truth))


def _chance_of_mean(mean: float, threshold: float, n: int, more: int, alpha: float, spread: float) -> float:
    total = n + more
    half = special.ndtri(1 - alpha) * math.sqrt(spread / total)

    def reach(worst: float) -> float:
        """How far a bound lies from the mean.

        The row that Gaffke's bound adds counts ``worst``, and more where scores hardly vary.
        """
        return max(half + worst / (total + 1), -worst * math.log(alpha) / total)

    above, below = mean - reach(mean) - threshold, threshold - mean - reach(1 - mean)
    future = math.sqrt(spread * more / (n * total))
    if future == 0.0:
        return float(above >= 0 or below > 0)
    return float(special.ndtr(above / future) + special.ndtr(below / future))


def detectable(n: int, threshold: float, *, level: float = 0.96, power: float = 0.8) -> float:
    """Smallest distance above ``threshold`` at which ``n`` rows find the need met with chance ``power``.

    Infinite where none is.

    Exact for shares. Graded scores from 0 to 1 vary less than shares with the same mean, so for them it is
    the most.
    """
    if threshold <= 0:
        return 0.0
    met, _ = critical_counts(n, threshold, (1 - level) / 2)
    if met > n:
        return math.inf
    return max(0.0, float(special.betaincinv(met, n - met + 1, power)) - threshold)


def rows_to_differ(gained: int, lost: int, n: int, *, level: float = 0.95, power: float = 0.8) -> int | None:
    """How many more rows give McNemar's test a chance of ``power`` to find the second variant better.

    None if none would.

    ``gained`` and ``lost`` of ``n`` rows were seen. Rows that differ are taken to come as often as they did;
    which way, as :func:`rows_for_power` takes shares.
    """
    if gained <= lost or n == 0:
        return None
    differing, truth = gained + lost, _truths(gained, lost)

    def chance(more: int) -> float:
        new = round(more * differing / n)
        met, _ = critical_counts(differing + new, 0.5, (1 - level) / 2)
        return float(_at_least(met - gained, new, truth).mean())

    return _smallest(chance, power)
