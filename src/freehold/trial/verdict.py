"""Own it, rent it, not yet, or not with these models.

*Own it* is said of one variant, chosen on other rows, that meets every need on the test rows. *Not with
these models* is said where every variant misses a need; *rent it* where, besides, an API that was asked the
same rows does better. All else is *not yet*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from freehold.core import statistics
from freehold.trial.against_rival import SIGNIFICANT, AgainstRival, machine_only, reason_to_rent
from freehold.trial.baselines import Baseline
from freehold.trial.report_record import VerdictSection
from freehold.trial.requirements import Decision, Requirement, Terms, decide
from freehold.trial.variant import Against, Variant

Word = Literal["own it", "rent it", "not yet", "not with these models"]
OWN: Word = "own it"
RENT: Word = "rent it"
NOT_YET: Word = "not yet"
NONE: Word = "not with these models"
#: The exit status of ``freehold trial``.
EXIT_CODES: dict[Word, Literal[0, 3, 4]] = {OWN: 0, NOT_YET: 3, RENT: 4, NONE: 4}
#: The usual errors: 2.5% on each side, those of a 95% interval.
TERMS = Terms()
#: How an entry of ``skipped`` begins where nothing was tuned for lack of time: then no model is said to be
#: too weak.
TUNING_SKIPPED = "tuning was skipped"
#: The same where tuning ended for lack of time before it had seen its rows often enough: a missed quality
#: may then still be reached.
TUNING_CUT = "tuning was cut short"


@dataclass(frozen=True)
class Verdict:
    """``word``, the sentence for a manager, the variant it rests on, and the decisions behind it.

    ``classic``: a sentence where a simple baseline does the job as well, else "". ``skipped``: what was
    left out, as in the sentence.
    """

    word: Word
    sentence: str
    variant: str
    decisions: tuple[Decision, ...]
    more_rows: int | None
    classic: str = ""
    skipped: tuple[str, ...] = ()

    def section(self, *, command: str, needs_note: str = "") -> VerdictSection:
        """For the report. ``command``: what to run next. ``needs_note``: says that needs are defaults."""
        return VerdictSection(
            verdict=self.word,
            sentence=self.sentence,
            variant=self.variant,
            decisions=self.decisions,
            exit_code=EXIT_CODES[self.word],
            command=command,
            more_rows=self.more_rows,
            classic=self.classic,
            skipped=self.skipped,
            needs_note=needs_note,
        )


@dataclass(frozen=True)
class Judged:
    """A variant with its decisions: ``failed``, ``unmeasured``, and those that the interval leaves
    ``unsure``.
    """

    variant: Variant
    decisions: tuple[Decision, ...]
    constant: Decision | None = None
    failed: tuple[Decision, ...] = field(init=False)
    unmeasured: tuple[Decision, ...] = field(init=False)
    unsure: tuple[Decision, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "failed", tuple(d for d in self.decisions if d.met is False))
        object.__setattr__(
            self, "unmeasured", tuple(d for d in self.decisions if d.met is None and not d.measured)
        )
        object.__setattr__(self, "unsure", tuple(d for d in self.decisions if d.met is None and d.measured))

    @property
    def meets_all(self) -> bool:
        """Every need is met, and the answers are better than one answer for all rows."""
        return not self.failed and not self.unmeasured and not self.unsure and self.constant is None


def judge(needs: Sequence[Requirement], variant: Variant, terms: Terms = TERMS) -> Judged:
    """A variant with what is decided of it."""
    decisions = tuple(decide(need, variant, terms) for need in needs)
    return Judged(variant, decisions, beats_constant(variant, terms))


def beats_constant(variant: Variant, terms: Terms = TERMS) -> Decision | None:
    """None where a variant is significantly better than one answer for all rows, or where no such baseline
    exists.

    Else a decision that says why not. A variant without ``against`` was not compared.
    """
    name = "better than the same answer for every row"
    if variant.against is None:
        return Decision(name, None, "it was not compared with giving the same answer for every row")
    for entry in variant.against:
        if not entry.constant or (entry.p < 2 * terms.meets and entry.difference > 0):
            continue
        shown = (
            f"{entry.difference:+.3f} against the {entry.title}, {statistics.p_text(entry.p)}, n={entry.rows}"
        )
        more = None
        if "McNemar" in entry.test:
            level = 1 - 2 * terms.next_look
            more = statistics.rows_to_differ(entry.gained, entry.lost, entry.rows, level=level)
        return Decision(name, None, shown, more)
    return None


def classic_sentence(variant: Variant, baselines: Sequence[Baseline], metric: str) -> str:
    """A sentence where a baseline is better than the variant or not significantly worse; else ""."""
    by_id = {baseline.id: baseline for baseline in baselines}
    best: tuple[float, Against] | None = None
    for entry in variant.against or ():
        worse = entry.p < SIGNIFICANT and entry.difference > 0
        if entry.constant or worse or entry.baseline not in by_id:
            continue
        value = by_id[entry.baseline].figures[metric].value
        if best is None or value > best[0]:
            best = value, entry
    if best is None:
        return ""
    value, entry = best
    how = "does the job better" if entry.p < SIGNIFICANT else "does the job as well"
    ready = _seconds(by_id[entry.baseline].seconds)
    return f"A simple method {how}: {entry.title}, {metric} {value:.3f}, {ready} on the same rows"


def _end(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.3f}"


def _seconds(seconds: float) -> str:
    return f"ready in {seconds:.0f} s" if seconds >= 1 else "ready in under a second"


def reach(
    needs: Sequence[Requirement],
    variants: Sequence[Variant],
    chosen: str,
    metric: str,
    *,
    terms: Terms = TERMS,
    baselines: Sequence[Baseline] = (),
    skipped: Sequence[str] = (),
    rival: AgainstRival | None = None,
) -> Verdict:
    """The verdict on the variant with the id ``chosen``, beside all other own variants.

    Variants carry ``against`` (:func:`freehold.trial.baselines.compare`); without it nothing is owned.
    ``skipped``: what was left out for lack of time, as phrases; one that begins with :data:`TUNING_SKIPPED`
    keeps the models from being called too weak.
    """
    judged = {v.id: judge(needs, v, terms) for v in variants if not v.rival}
    best = judged.pop(chosen)
    word, sentence = _decide(needs, best, list(judged.values()), metric, skipped, rival)
    classic = classic_sentence(best.variant, baselines, metric)
    if skipped:
        sentence = f"{sentence.rstrip('.')}; {'; '.join(part.rstrip('.') for part in skipped)}."
    if rival is not None and rival.better == "rival" and word != RENT:
        sentence = f"{sentence.rstrip('.')}. {rival.sentence()}."
    if classic:
        sentence = f"{sentence} {classic}."
    decisions = (*best.decisions, *((best.constant,) if best.constant else ()))
    more = [d.more_rows for d in decisions if d.more_rows] if word == NOT_YET else []
    return Verdict(word, sentence, chosen, decisions, max(more, default=None), classic, tuple(skipped))


def _decide(
    needs: Sequence[Requirement],
    best: Judged,
    others: Sequence[Judged],
    metric: str,
    skipped: Sequence[str],
    rival: AgainstRival | None,
) -> tuple[Word, str]:
    """(word, sentence) for the variant that was chosen."""
    figure = best.variant.figures[metric]
    interval = f"95% between {_end(figure.low)} and {_end(figure.high)}, n={figure.n}"
    quality = f"{best.variant.title} reaches {metric} {figure.value:.3f} ({interval})"
    if best.meets_all:
        return OWN, f"{quality} on your own data and meets every need."
    if best.failed:
        return _failed(needs, best, others, quality, skipped, rival)
    if best.unmeasured:
        return NOT_YET, f"{quality}; {_names(best.unmeasured)} {_was(best.unmeasured)} not measured."
    if best.unsure:
        return NOT_YET, (
            f"{quality}; the results are not clear enough to decide "
            f"{_names(best.unsure)}{_advice(best.unsure)}."
        )
    assert best.constant is not None
    return NOT_YET, (
        f"{quality}, but is not significantly {best.constant.need} "
        f"({best.constant.evidence}){_advice([best.constant])}."
    )


def _failed(
    needs: Sequence[Requirement],
    best: Judged,
    others: Sequence[Judged],
    quality: str,
    skipped: Sequence[str],
    rival: AgainstRival | None,
) -> tuple[Word, str]:
    names = _names(best.failed)
    machine = machine_only(best.variant.title, best.decisions, needs)
    quality_missed = any(decision.name in best.variant.figures for decision in best.failed)
    if quality_missed and any(part.startswith(TUNING_SKIPPED) for part in skipped):
        return NOT_YET, f"Without tuning, no model meets {names}: {quality}, the nearest"
    if quality_missed and any(part.startswith(TUNING_CUT) for part in skipped):
        return NOT_YET, f"No model meets {names} so far: {quality}, the nearest"
    if open_ := [entry for entry in others if not entry.failed]:
        return NOT_YET, f"{quality} but misses {names}; {_may_meet(open_[0])}"
    if machine:
        return NONE, machine
    reason = reason_to_rent(best.failed, rival, needs)
    if reason:
        return RENT, f"No model tried meets {names}: {quality}, the nearest. {reason}."
    beside = f" {rival.sentence()}." if rival is not None and rival.better != "rival" else ""
    return NONE, f"No model tried meets {names}: {quality}, the nearest.{beside}"


def _may_meet(entry: Judged) -> str:
    """Why a variant that was not chosen keeps the verdict open."""
    title = entry.variant.title
    if entry.unmeasured:
        what = f"{_names(entry.unmeasured)} {_was(entry.unmeasured)} not measured"
        return f"{title} may meet every need, but {what} for it."
    if not entry.variant.on_test:
        return (
            f"{title} may meet every need, but was not measured on the test rows; run again with a larger "
            "--budget."
        )
    if entry.meets_all:
        return (
            f"{title} meets every need on the same rows, but was not chosen beforehand. "
            "New test rows would decide."
        )
    return f"for {title} the results are not clear enough to decide."


def _names(decisions: Sequence[Decision]) -> str:
    return " and ".join(decision.need for decision in decisions)


def _was(decisions: Sequence[Decision]) -> str:
    return "was" if len(decisions) == 1 else "were"


def _advice(decisions: Sequence[Decision]) -> str:
    more = [decision.more_rows for decision in decisions if decision.more_rows]
    return (
        f"; about {max(more):,} more test rows would decide in 4 of 5 cases if the figures stay as they are"
        if more
        else ""
    )
