"""Shares of answers, corrected for what the evaluator gets wrong, with that error in the interval.

An evaluator that recognizes a share ``hits`` of the answers of a kind and a share ``passes`` of the
others finds the kind in ``p * hits + (1 - p) * (1 - passes)`` of all answers, where ``p`` is the true
share; solved for ``p`` that is the estimate of Rogan and Gladen (1978). Its interval melds the
Clopper-Pearson confidence distributions of the three shares (Fay, Proschan and Brittain 2015; Bayer,
Fay and Graubard 2023), which holds where normal approximations do not: near 0 and with few answers.

An evaluator errs differently on each model's answers. Its rates are therefore means over models, and
the spread between models counts in their error: the rows are taken for as few as would give a new
model's rate that error.

Answers that could not be judged at all (another language) are counted once as all of the kind and once
as none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from freehold.core.statistics import wilson

_DRAWS, _SEED = 10_000, 20
_TAIL = 0.025
#: A model with fewer answers of a kind says nothing about how rates differ between models.
_FEWEST_OF_A_MODEL = 20
#: Standard deviation of a rate between models that is assumed at least: a few models may be alike by
#: chance.
_LEAST_SPREAD = 0.03


@dataclass(frozen=True)
class Rate:
    """How often an evaluator recognizes a kind of answer: a share, and of how many answers its error is
    worth.
    """

    value: float
    n: float

    @property
    def interval(self) -> tuple[float, float]:
        """95%, for a model that was not among those it was measured on (Clopper-Pearson)."""
        low, high = _distributions(self.value * self.n, self.n, np.random.default_rng(_SEED))
        return float(np.quantile(low, _TAIL)), float(np.quantile(high, 1 - _TAIL))


@dataclass(frozen=True)
class Calibration:
    """``refusals``: of answers that refuse, how many are recognized (sensitivity); ``others``: of those
    that do not (specificity).
    """

    refusals: Rate
    others: Rate


@dataclass(frozen=True)
class Raw:
    """A share as it was counted, with its Wilson interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Corrected:
    """``value``, ``low``, ``high``: the corrected share; ``value`` is None, and ``why`` says so, where
    nothing can be told.

    ``count`` of ``n - untold`` answers were judged to be of the kind (``raw``); ``untold`` could not be
    judged.
    """

    value: float | None
    low: float
    high: float
    count: int
    n: int
    untold: int
    raw: Raw
    why: str = ""

    @staticmethod
    def of(value: Mapping[str, Any]) -> Corrected:
        """From its JSON form."""
        return Corrected(**{**value, "raw": Raw(**value["raw"])})


def rate(counts: Sequence[tuple[int, int]]) -> Rate:
    """The rate for a new model from (recognized, of) of each known one; models with fewer than 20 count
    only where all have fewer.

    Mean over models; its variance is that between models (Cochran 1954, unweighted) and of the mean.
    Raises ValueError for none.
    """
    if not sum(n for _, n in counts):
        raise ValueError("a rate needs labelled answers")
    large = [(right, n) for right, n in counts if n >= _FEWEST_OF_A_MODEL]
    known = large or [(sum(right for right, _ in counts), sum(n for _, n in counts))]
    shares = np.array([(right + 0.5) / (n + 1) for right, n in known])
    sampling = float(np.mean([p * (1 - p) / n for p, (_, n) in zip(shares, known, strict=True)]))
    spread = float(np.var(shares, ddof=1)) if len(known) > 1 else sampling
    between = max(_LEAST_SPREAD**2, spread - sampling)
    error = between * (1 + 1 / len(known)) + sampling / len(known)
    mean = float(shares.mean())
    return Rate(mean, min(mean * (1 - mean) / error, float(sum(n for _, n in known))))


def corrected(count: int, n: int, hits: Rate, passes: Rate, *, brief: int = 0, untold: int = 0) -> Corrected:
    """The true share of a kind of answers among ``n``, of which ``count`` were judged to be of it.

    ``hits``: how often answers of the kind are recognized, ``passes`` how often others are. ``brief``
    answers are certainly of neither kind (a label); ``untold`` could not be judged. Clipped to [0, 1].
    """
    judged_count = n - untold
    raw = Raw(count / judged_count if judged_count else 0.0, *wilson(count, judged_count))
    if judged_count == 0:
        return Corrected(None, 0.0, 1.0, count, n, untold, raw, "no answer could be judged")
    draws = np.random.default_rng(_SEED)
    share_low, share_high = _distributions(count, judged_count, draws)
    hits_low, hits_high = _distributions(hits.value * hits.n, hits.n, draws)
    passes_low, passes_high = _distributions(passes.value * passes.n, passes.n, draws)
    if np.quantile(hits_low + passes_low - 1, _TAIL) <= 0:
        reason = "the evaluator may do no better than chance, so a share cannot be corrected"
        return Corrected(None, 0.0, 1.0, count, n, untold, raw, reason)
    judged = 1 - brief / judged_count
    # the estimate rises with the share found and with the passes, and falls with the hits
    low = float(np.quantile(_solved(share_low, hits_high, passes_low, judged), _TAIL))
    high = float(np.quantile(_solved(share_high, hits_low, passes_high, judged), 1 - _TAIL))
    value = float(_solved(np.array(raw.value), np.array(hits.value), np.array(passes.value), judged))
    known = judged_count / n
    return Corrected(
        value, min(low, value) * known, max(high, value) * known + untold / n, count, n, untold, raw
    )


def _solved(share: np.ndarray, hits: np.ndarray, passes: np.ndarray, judged: float) -> np.ndarray:
    """Rogan and Gladen's estimate where a part ``judged`` of the answers is of either kind, clipped to
    what is possible.
    """
    skill = np.maximum(hits + passes - 1, 1e-9)
    return np.clip((share - judged * (1 - passes)) / skill, 0.0, judged)


def _distributions(successes: float, n: float, draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the lower and of the upper confidence distribution of a share, whose quantiles are Clopper
    and Pearson's bounds.
    """
    failures = max(n - successes, 0.0)
    low = draws.beta(successes, failures + 1, _DRAWS) if successes > 0 else np.zeros(_DRAWS)
    high = draws.beta(successes + 1, failures, _DRAWS) if failures > 0 else np.ones(_DRAWS)
    return low, high


def described(share: Corrected) -> str:
    """A share in words: corrected with its interval, and as it was counted."""
    counted = f"counted {share.count} of {share.n - share.untold}, {share.raw.value:.1%}"
    if share.untold:
        counted += f"; {share.untold} of {share.n} answers are not English and could be either"
    if share.value is None:
        return f"cannot tell: {share.why} ({counted})"
    return f"{share.value:.1%}, 95% between {share.low:.1%} and {share.high:.1%} ({counted})"
