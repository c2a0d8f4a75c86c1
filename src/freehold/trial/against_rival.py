"""The chosen variant beside the API one would rent: what the verdict may say of renting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from freehold.core.json_types import JsonObject
from freehold.core.statistics import p_text
from freehold.evaluation.measurement import Answer, paired, shared
from freehold.trial.requirements import WAITS, Decision, Requirement, decide, exact
from freehold.trial.variant import Variant

#: A difference on the same rows is significant below this p-value.
SIGNIFICANT = 0.05
#: Needs on what the machine gives, whatever the model answers.
MACHINE = frozenset({*WAITS, "memory"})


@dataclass(frozen=True)
class AgainstRival:
    """A rival beside the chosen variant on ``rows`` rows that both answered.

    ``difference``: rival less chosen in the metric's mean score, with its 95% interval and p-value.
    ``better``: who is significantly better. ``decisions``: the quality needs, decided for the rival.
    ``chosen_rows``, ``rival_rows``: what each answered.
    """

    title: str
    metric: str
    rows: int
    chosen_rows: int
    rival_rows: int
    chosen: float
    rival: float
    difference: float
    low: float
    high: float
    p: float
    test: str
    better: Literal["rival", "chosen", ""]
    decisions: tuple[Decision, ...] = ()
    conditions: tuple[str, ...] = ()

    @property
    def meets_quality(self) -> bool:
        """Whether the rival meets every need on quality; False where there is none."""
        return bool(self.decisions) and all(decision.met is True for decision in self.decisions)

    def as_dict(self) -> JsonObject:
        """For reports."""
        return {**asdict(self), "meets_quality": self.meets_quality}

    def sentence(self) -> str:
        """The comparison in a sentence."""
        shown = (
            f"{self.metric} {self.rival:.3f} against {self.chosen:.3f} on the same {self.rows:,} rows, "
            "difference "
            f"{self.difference:+.3f}, 95% between {self.low:+.3f} and {self.high:+.3f}, {p_text(self.p)}"
        )
        how = {
            "rival": "is significantly better",
            "chosen": "is significantly worse",
            "": "does not differ significantly",
        }[self.better]
        return f"{self.title} {how}: {shown}"


def compare_rival(
    chosen: Sequence[Answer],
    rival: Sequence[Answer],
    needs: Sequence[Requirement],
    rival_variant: Variant,
    metric: str,
    *,
    groups: Mapping[str, str] | None = None,
    conditions: Sequence[str] = (),
    decided_by: Callable[[Requirement, Variant], Decision] = decide,
    alpha: float = SIGNIFICANT,
) -> AgainstRival | None:
    """Compare a rival with the chosen variant; None where they answered no row in common.

    ``rival_variant``: the rival's figures on its rows (``figures``, as in the report). ``groups``: row id ->
    group, where rows belong together. ``decided_by``: how a need is checked against figures.
    """
    first, second = shared(chosen, rival)
    if not first:
        return None
    pair = paired(first, second, groups)
    difference, p = pair.difference, pair.p
    return AgainstRival(
        title=rival_variant.title,
        metric=metric,
        rows=len(first),
        chosen_rows=len(chosen),
        rival_rows=len(rival),
        chosen=sum(answer.score for answer in first) / len(first),
        rival=sum(answer.score for answer in second) / len(second),
        difference=difference,
        low=pair.low,
        high=pair.high,
        p=p,
        test=pair.test,
        better="" if p >= alpha or not difference else "rival" if difference > 0 else "chosen",
        decisions=tuple(decided_by(need, rival_variant) for need in needs if not exact(need)),
        conditions=tuple(conditions),
    )


def reason_to_rent(
    failed: Sequence[Decision], against: AgainstRival | None, needs: Sequence[Requirement]
) -> str:
    """Why renting is shown to be better where the chosen variant fails needs; "" where nothing shows it.

    Only quality counts: a need that the machine alone fails is no evidence that another model answers better.
    """
    if against is None:
        return ""
    quality = {need.text for need in needs if not exact(need)}
    missed = [decision.need for decision in failed if decision.need in quality]
    met = {decision.need for decision in against.decisions if decision.met is True}
    if missed and met.issuperset(missed):
        return f"{against.title} meets {_listed(missed)} on the same rows ({against.sentence()})"
    if missed and against.better == "rival":
        return against.sentence()
    return ""


def machine_only(
    title: str, decisions: Sequence[Decision], needs: Sequence[Requirement], cores: int = 0
) -> str:
    """That the model is good enough and the machine is not, where only its needs fail; "" otherwise.

    ``title``: of the variant; ``cores`` of this machine, 0 to leave them out.
    """
    names = {need.text: need.name for need in needs}
    failed = [decision for decision in decisions if decision.met is False]
    rest = [decision for decision in decisions if decision.met is not False]
    on_answers = {need.text for need in needs if not exact(need)}
    quality = [d for d in decisions if d.need in on_answers]
    if not failed or any(names.get(d.need) not in MACHINE for d in failed) or not quality:
        return ""
    if any(decision.met is not True for decision in rest):
        return ""
    slow = [d for d in failed if names[d.need] != "memory"]
    small = [d for d in failed if names[d.need] == "memory"]
    here = f"this machine ({cores} cores)" if cores else "this machine"
    what = [f"too slow for {_shown(slow)}"] if slow else []
    what += [f"too small for {_shown(small)}"] if small else []
    remedy = " or ".join(
        part
        for part, holds in (
            ("a faster machine", slow),
            ("more memory", small),
            ("a smaller model or type", True),
        )
        if holds
    )
    return (
        f"{title} answers well enough ({_shown(quality)}), but {here} is {' and '.join(what)}. "
        f"The limit is the machine, not the model: try {remedy}."
    )


def _shown(decisions: Sequence[Decision]) -> str:
    return " and ".join(f"{decision.need}: {decision.evidence}" for decision in decisions)


def _listed(needs: Sequence[str]) -> str:
    return " and ".join(needs)
