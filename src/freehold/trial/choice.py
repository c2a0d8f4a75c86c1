"""Which variant is judged: variants are ranked on rows that do not judge, so that the best of many is no
better than it looks.

The best of several figures is too high if it is read off the rows it was chosen on. So variants are ranked
on the validation rows, by the lower end of their intervals: a variant that was measured on fewer rows
cannot win by being noisier. The chosen one alone is judged on the test rows. Where there are no validation
rows, the choice is made on the test rows, and the bounds that judge allow for the number of variants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from freehold.evaluation.measurement import Measurement
from freehold.trial.requirements import WAITS, Requirement, decide, exact
from freehold.trial.variant import TEST, VALIDATION, Rows, Variant

__all__ = ["FEWEST_CHOICE_ROWS", "MOST_CHOICE_ROWS", "TEST", "VALIDATION", "Choice", "choose", "rank"]

#: Fewer validation rows than this choose nothing: the choice is made on the test rows then.
FEWEST_CHOICE_ROWS = 10
#: So many validation rows are enough to choose by: the standard error of a share is then below 0.023.
MOST_CHOICE_ROWS = 500


@dataclass(frozen=True)
class Choice:
    """The variants in order."""

    #: ids of the variants, the chosen one first
    ranked: tuple[str, ...]
    #: the rows it was made on
    rows: Rows

    @property
    def variant(self) -> str:
        """The id of the chosen variant."""
        return self.ranked[0]

    @property
    def among(self) -> int:
        """How many variants the bounds that judge must allow for: 1 where the choice was made on other
        rows.
        """
        return len(self.ranked) if self.rows == TEST else 1


def choose(needs: Sequence[Requirement], variants: Sequence[Variant], metric: str, rows: Rows) -> Choice:
    """Rank the variants, an API not among them, by their figures on ``rows``; of equals the one measured
    first comes first.

    That is the smaller model, as it stands, and of the sizes of a tuned one the usual one: a smaller file
    that a few rows cannot tell from it is no gain worth the risk.
    """
    candidates = [variant for variant in variants if not variant.rival]
    ranked = sorted(candidates, key=lambda variant: rank(needs, variant, metric), reverse=True)
    return Choice(tuple(variant.id for variant in ranked), rows)


def rank(needs: Sequence[Requirement], variant: Variant, metric: str) -> tuple[float, ...]:
    """Higher is better: fewest needs on machine and licence missed or not measured, then quality.

    Quality is the smallest distance of the needed figures' near ends from their limits; without such needs
    the metric's lower end.
    """
    figures = variant.selection.figures if variant.selection else variant.figures
    others = [need for need in needs if exact(need)]
    missed = sum(_missed(need, variant) for need in others)
    unmeasured = sum(not decide(need, variant).measured for need in others)
    margins = [
        _margin(need, figures[need.name]) for need in needs if not exact(need) and need.name in figures
    ]
    low = _known(figures[metric].low, -math.inf)
    return (-missed - unmeasured, -unmeasured, min(margins, default=low), low)


def _missed(need: Requirement, variant: Variant) -> bool:
    """Whether a need on the machine or the licence is missed: waits by what was seen, as their bound is for
    the variant that is judged.
    """
    if need.name in WAITS:
        wait = variant.wait(need.name)
        return wait is not None and wait.value > float(need.limit)
    return decide(need, variant).met is False


def _margin(need: Requirement, figure: Measurement) -> float:
    limit = float(need.limit)
    low, high = _known(figure.low, -math.inf), _known(figure.high, math.inf)
    distance = low - limit if need.relation == ">=" else limit - high
    return distance / max(abs(limit), 1e-9)


def _known(end: float | None, otherwise: float) -> float:
    """An end of an interval; the far side where so few rows give none."""
    return otherwise if end is None else end
