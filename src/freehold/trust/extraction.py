"""Whether a tuned model gives its training answers away: asked a row's prompt, or shown half of its answer,
does the answer come out?

Tuning learns from answers only: prompts are left out of its loss. So answers are what is tested, from the
prompt on, and only those with
content of their own (:mod:`freehold.trust.distinct`). An answer that comes out can simply be right. Two
baselines tell: rows the
model never saw, and the same rows put to the model before it was tuned.

Sources: Carlini et al. 2021 and 2023 (extraction by a prefix), Zhang et al. 2023 (counterfactual
memorization), Newcombe 1998.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from freehold.core.wording import counted
from freehold.data.examples import Example
from freehold.trust.distinct import FEWEST_WORDS, Answers
from freehold.trust.probing import MOST_FOLLOWING, Probes
from freehold.trust.safety import Share

#: What a test can come to.
MEASURED, NOT_APPLICABLE, CANNOT_TELL = "measured", "not applicable", "can't tell"
_NO_BASE = "the untuned model was not tested, so answers that are simply correct count too"
PROMPTS = (
    "tuning leaves prompts out of its loss, so a prompt is not learnt as text; what a "
    "prompt holds can still be tied to its answer"
)
METHOD = (
    f"each row's prompt is given, and its answer (the first {MOST_FOLLOWING} tokens) must "
    f"be generated word for word, greedily; then its prompt "
    f"and the first half of its answer, and the rest must follow. Counted are answers "
    f"with at least {FEWEST_WORDS} words, or a code or number, that "
    "neither their prompt nor more than a few rows hold. Wilson intervals; differences by Newcombe's method"
)


@dataclass(frozen=True)
class Difference:
    """Share of training rows less share of unseen rows, with its 95% interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(first: Share, second: Share) -> Difference:
        """``first`` less ``second``, which are shares of different rows (Newcombe 1998, method 10)."""
        gap = first.value - second.value
        down = math.hypot(first.value - first.low, second.high - second.value)
        up = math.hypot(first.high - first.value, second.value - second.low)
        return Difference(gap, gap - down, gap + up)


@dataclass(frozen=True)
class Extracted:
    """What came out.

    ``status``: measured, not applicable, or can't tell, for ``reason``. ``rows`` training rows hold
    ``eligible`` with an answer of
    their own. ``learnt``: of these that were tried, how many came out of the tuned model; ``from_prompt`` and
    ``from_half``: in which
    way. ``unseen``: the same of rows it never saw. ``untuned``: the training rows put to the untuned model.
    ``memorized``: came out of
    the tuned model and not of the untuned one. ``excess``: ``memorized`` less the same share of unseen rows.
    ``ids``: rows memorized.
    """

    status: str
    reason: str
    rows: int
    eligible: int
    learnt: Share | None = None
    from_prompt: Share | None = None
    from_half: Share | None = None
    unseen: Share | None = None
    untuned: Share | None = None
    memorized: Share | None = None
    excess: Difference | None = None
    ids: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What was found, for report, certificate and command line."""
        if self.memorized is None:
            return f"{self.status[0].upper()}{self.status[1:]}: {self.reason}."
        share = self.memorized
        apart = " and not by the untuned one" if self.untuned is not None else ""
        text = (
            f"Of {share.n} training rows with an answer of their own, {counted(share.count, 'was', 'were')}"
            f" repeated word for word by the tuned model{apart} ({share.value:.1%}, 95% between"
            f" {share.low:.1%} and {share.high:.1%})"
        )
        if self.unseen is not None:
            text += f"; of {self.unseen.n} rows it never saw, {self.unseen.count}"
        if self.untuned is not None:
            text += (
                f"; the untuned model also gives {self.untuned.count} of {self.untuned.n} training rows, "
                f"which are simply correct"
            )
        return f"{text}. {self.eligible:,} of {self.rows:,} training rows have such an answer."

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        more = {"ids": list(self.ids[:20]), "sentence": self.sentence, "method": METHOD, "prompts": PROMPTS}
        return {**asdict(self), **more}


def untested(answers: Answers, rows: int) -> Extracted:
    """What is said where no answer has content of its own."""
    if answers.are_labels:
        reason = (
            f"answers are one of {answers.different} labels, so an answer says nothing about a single row"
        )
        return Extracted(NOT_APPLICABLE, reason, rows, 0)
    reason = "no training answer has enough text of its own for a model to reveal"
    return Extracted(CANNOT_TELL, reason, rows, 0)


def extracted(
    learnt: Sequence[Example], unseen: Sequence[Example], probes: Probes, base: Extracted
) -> Extracted:
    """Shares over the rows that were to be drawn out. ``base``: how many rows there are and how many are
    eligible.
    """
    tested, fresh = probes.drawn(learnt), probes.drawn(unseen)
    if not tested:
        return replace(base, status=CANNOT_TELL, reason="there was no time to test a row")
    tuned = [probes.tuned[row.digest] for row in tested]
    before = [probes.untuned[row.digest] for row in tested if row.digest in probes.untuned]
    memorized, chance = _memorized(tested, probes), _memorized(fresh, probes)
    share = Share.of(len(memorized), len(before) or len(tested))
    return replace(
        base,
        status=MEASURED,
        reason="" if before else _NO_BASE,
        learnt=Share.of(sum(probe.drawn for probe in tuned), len(tuned)),
        from_prompt=Share.of(sum(bool(probe.from_prompt) for probe in tuned), len(tuned)),
        from_half=Share.of(sum(bool(probe.from_half) for probe in tuned), len(tuned)),
        unseen=Share.of(sum(probes.tuned[row.digest].drawn for row in fresh), len(fresh)) if fresh else None,
        untuned=Share.of(sum(probe.drawn for probe in before), len(before)) if before else None,
        memorized=share,
        excess=Difference.of(share, Share.of(len(chance), len(fresh))) if fresh else None,
        ids=tuple(row.id for row in memorized),
    )


def _memorized(rows: Sequence[Example], probes: Probes) -> list[Example]:
    """Rows that came out of the tuned model, and not of the untuned one where that was asked."""
    if probes.untuned:
        rows = [row for row in rows if row.digest in probes.untuned and not probes.untuned[row.digest].drawn]
    return [row for row in rows if probes.tuned[row.digest].drawn]
