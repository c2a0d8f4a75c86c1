"""Whether someone who knows a row can tell from the model's likelihoods that it was among the training rows.

An attack by likelihood, with three figures: the tuned model's own, the same calibrated by the untuned model
(how much likelier tuning made
the answer), and the untuned model's, which never saw either group. The last one shows how far training and
unseen rows differ by
themselves; where it is away from 0.5, only the calibrated figure says something about the model. 0.5 is
guessing.

Sources: Yeom et al. 2018 (loss attack), Watson et al. 2022 (difficulty calibration), Carlini et al. 2022
(true positives at a low false
positive rate), DeLong et al. 1988 in the form of Sun and Xu 2014 (variance), Newcombe 2006 (interval where
the groups separate wholly).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from freehold.data.examples import Example
from freehold.trust.probing import Probes
from freehold.trust.safety import Share

#: Standard deviations of a normal distribution between which 95% of it lie, on each side.
Z95 = NormalDist().inv_cdf(0.975)
#: Rows of each kind below which nothing is said.
FEWEST_ROWS = 20
#: False positive rate that the true positives are given at, and the unseen rows that needs.
FALSE_POSITIVES, FEWEST_UNSEEN = 0.01, 100
METHOD = (
    "area under the ROC curve (AUC) of telling training rows from unseen ones by the "
    "mean log-likelihood of an answer token, as it is and less the "
    "untuned model's; 0.5 is guessing; DeLong interval on the logit scale"
)


@dataclass(frozen=True)
class Area:
    """An AUC with its 95% interval: the chance that a training row has the higher score of a pair."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Membership:
    """``plain``: by the tuned model's likelihood. ``calibrated``: by how much tuning raised it. ``untuned``:
    by the untuned model's.

    ``caught``: share of training rows told at 1% false positives by the figure to read (``best``); None below
    100 unseen rows.
    """

    learnt_rows: int
    unseen_rows: int
    plain: Area
    calibrated: Area | None
    untuned: Area | None
    caught: Share | None

    @property
    def best(self) -> Area:
        """The figure to read: calibrated where the untuned model was at hand."""
        return self.calibrated or self.plain

    @property
    def shifted(self) -> bool:
        """Whether training and unseen rows differ by themselves."""
        return self.untuned is not None and not self.untuned.low <= 0.5 <= self.untuned.high

    @property
    def sentence(self) -> str:
        """What the figures say, in a sentence or two."""
        area = self.best
        telling = area.low > 0.5
        says = (
            "Someone who knows a row can tell with some certainty that it was among the training rows"
            if telling
            else "Training rows cannot be distinguished from unseen ones by this attack"
        )
        rows = f"{self.learnt_rows} training rows and {self.unseen_rows} unseen ones"
        text = f"{says} (AUC {area.value:.2f}, {area.low:.2f} to {area.high:.2f}; 0.50 is guessing; {rows})"
        if self.shifted and self.untuned is not None:
            text += (
                f". The two groups differ by themselves: the untuned model, which saw neither, "
                f"reaches {self.untuned.value:.2f}"
            )
        return text

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        figures = {**asdict(self), "method": METHOD, "baseline": 0.5, "sentence": self.sentence}
        return {**figures, "shifted": self.shifted, "best": asdict(self.best)}


def membership(learnt: Sequence[Example], unseen: Sequence[Example], probes: Probes) -> Membership | None:
    """The attack over all rows whose likelihood is known; None for fewer than 20 of either kind."""
    members, others = probes.scored(learnt), probes.scored(unseen)
    if min(len(members), len(others)) < FEWEST_ROWS:
        return None
    tuned = [np.array([-probes.tuned[row.digest].nats for row in rows]) for rows in (members, others)]
    if not probes.untuned:
        plain = area(tuned[0], tuned[1])
        return Membership(len(members), len(others), plain, None, None, caught(tuned[0], tuned[1]))
    before = [np.array([-probes.untuned[row.digest].nats for row in rows]) for rows in (members, others)]
    raised = [after - untuned for after, untuned in zip(tuned, before, strict=True)]
    return Membership(
        len(members),
        len(others),
        area(tuned[0], tuned[1]),
        area(raised[0], raised[1]),
        area(before[0], before[1]),
        caught(raised[0], raised[1]),
    )


def area(members: np.ndarray, others: np.ndarray) -> Area:
    """AUC of scores that are higher for members, ties counted half. Shapes (m,) and (n,)."""
    above, below = _placements(members, others)
    value = float(above.mean())
    variance = float(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    if variance == 0 or value in (0.0, 1.0):
        low, high = _separated(value, len(members), len(others))
        return Area(value, low, high)
    half = Z95 * math.sqrt(variance) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return Area(value, _logistic(middle - half), _logistic(middle + half))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


def _placements(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each member the share of others below it, and for each other the share of members above it; ties
    count half.
    """
    low, high = np.sort(others), np.sort(members)
    below = np.searchsorted(low, members, "left") + np.searchsorted(low, members, "right")
    under = np.searchsorted(high, others, "left") + np.searchsorted(high, others, "right")
    return below / (2 * len(others)), 1 - under / (2 * len(members))


def _separated(value: float, members: int, others: int) -> tuple[float, float]:
    """Interval where no pair disagrees, so that the variance seen is 0 (Newcombe 2006, method 5: the limits'
    own variance).
    """
    from scipy.optimize import root_scalar

    size = (members + others) / 2 - 1

    def gap(area: float) -> float:
        first, second = (1 - area) / (2 - area), area / (1 + area)
        variance = area * (1 - area) * (1 + size * first + size * second) / (members * others)
        return abs(value - area) - Z95 * math.sqrt(variance)

    def limit(low: float, high: float) -> float:
        return float(root_scalar(gap, bracket=(low, high), method="brentq").root)

    edge = 1e-9
    low = limit(edge, value - edge) if value > edge and gap(edge) > 0 else 0.0
    return low, limit(value + edge, 1 - edge) if value < 1 - edge and gap(1 - edge) > 0 else 1.0


def caught(members: np.ndarray, others: np.ndarray) -> Share | None:
    """Share of members above all but 1% of the others; None below 100 others. The interval takes the
    threshold as given.
    """
    if len(others) < FEWEST_UNSEEN:
        return None
    allowed = int(FALSE_POSITIVES * len(others))
    threshold = np.sort(others)[len(others) - 1 - allowed]
    return Share.of(int((members > threshold).sum()), len(members))
