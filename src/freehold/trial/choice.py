"""Which variant is judged: variants are ranked on rows that do not judge, so that the best of many is no better than it looks.

The best of several figures is too high if it is read off the rows it was chosen on. So variants are ranked on the validation rows, by the
lower end of their intervals: a variant that was measured on fewer rows cannot win by being noisier. The chosen one alone is judged on the
test rows. Where there are no validation rows, the choice is made on the test rows, and the bounds that judge allow for the number of variants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.trial.requirements import WAITS, Requirement, decide, exact

#: Fewer validation rows than this choose nothing: the choice is made on the test rows then.
FEWEST_CHOICE_ROWS = 10
#: So many validation rows are enough to choose by: the standard error of a share is then below 0.023.
MOST_CHOICE_ROWS = 500
VALIDATION, TEST = "validation", "test"


@dataclass(frozen=True)
class Choice:
    """``ranked``: ids of own variants, the chosen one first. ``rows``: the rows it was made on, :data:`VALIDATION` or :data:`TEST`."""

    ranked: tuple[str, ...]
    rows: str

    @property
    def variant(self) -> str:
        """The id of the chosen variant."""
        return self.ranked[0]

    @property
    def among(self) -> int:
        """How many variants the bounds that judge must allow for: 1 where the choice was made on other rows."""
        return len(self.ranked) if self.rows == TEST else 1

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"variant": self.variant, "ranked": list(self.ranked), "rows": self.rows, "among": self.among}


def choose(
    needs: Sequence[Requirement], variants: Sequence[dict[str, Any]], metric: str, rows: str
) -> Choice:
    """Rank own variants (not the rival) by their figures on ``rows``; of equals the one measured first comes first.

    That is the smaller model, as it stands, and of the sizes of a tuned one the usual one: a smaller file that a few rows cannot tell
    from it is no gain worth the risk.
    """
    own = [variant for variant in variants if not variant.get("rival")]
    ranked = sorted(own, key=lambda variant: rank(needs, variant, metric), reverse=True)
    return Choice(tuple(variant["id"] for variant in ranked), rows)


def rank(needs: Sequence[Requirement], variant: dict[str, Any], metric: str) -> tuple[float, ...]:
    """Higher is better: fewest needs on machine and licence missed or not measured, then quality.

    Quality is the smallest distance of the needed figures' near ends from their limits; without such needs the metric's lower end.
    """
    figures = variant["selection"]["figures"] if variant.get("selection") else variant["figures"]
    others = [need for need in needs if exact(need)]
    missed = sum(_missed(need, variant) for need in others)
    unmeasured = sum(not decide(need, variant).measured for need in others)
    margins = [
        _margin(need, figures[need.name]) for need in needs if not exact(need) and need.name in figures
    ]
    low = _known(figures[metric]["low"], -math.inf)
    return (-missed - unmeasured, -unmeasured, min(margins, default=low), low)


def _missed(need: Requirement, variant: dict[str, Any]) -> bool:
    """Whether a need on the machine or the licence is missed: waits by what was seen, as their bound is for the variant that is judged."""
    if need.name in WAITS:
        seen = (variant.get("running") or {}).get(f"{need.name}_ms")
        return seen is not None and seen["value"] > float(need.limit)
    return decide(need, variant).met is False


def _margin(need: Requirement, figure: dict[str, Any]) -> float:
    limit = float(need.limit)
    least, most = _known(figure["low"], -math.inf), _known(figure["high"], math.inf)
    distance = least - limit if need.relation == ">=" else limit - most
    return distance / max(abs(limit), 1e-9)


def _known(end: float | None, otherwise: float) -> float:
    """An end of an interval; the far side where so few rows give none."""
    return otherwise if end is None else end
