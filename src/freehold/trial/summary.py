"""What a trial found, as its report: verdict, variants, comparisons, and what was not done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from freehold.core import atomic_files, machine, statistics
from freehold.evaluation import measurement
from freehold.evaluation.task_kinds import wanted_label
from freehold.trial import baselines, json_form, judging, planner, sections
from freehold.trial.against_rival import AgainstRival, compare_rival
from freehold.trial.arguments import LookArguments
from freehold.trial.cluster_costs import cluster_section
from freehold.trial.options import NO_SAFETY
from freehold.trial.report_record import (
    VERSION,
    BaselineSection,
    Budget,
    ChangedRow,
    ChoiceSection,
    Comparison,
    Estimates,
    LookSection,
    Report,
    VerdictSection,
)
from freehold.trial.requirements import Requirement
from freehold.trial.variant import Variant
from freehold.trial.verdict import TUNING_CUT, TUNING_SKIPPED, Verdict, reach

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: Estimates of the time left below which nothing is said of them.
FEWEST_ESTIMATES = 5


def summarise(trial: Trial) -> Report:
    """The report of a trial whose parts are done."""
    for variant in [variant for variant in trial.variants if variant.on_test]:
        against = baselines.compare(trial.answers[variant.id], trial.baselines, trial.task.groups)
        trial.update(variant, against=against)
    winner = trial.variant(trial.choice.variant)
    on_test = [variant for variant in trial.variants if variant.on_test]
    ranked = [trial.variant(name) for name in trial.choice.ranked]
    before = next((v for v in ranked if v.kind == "as is" and v.on_test), winner)
    rival = _rival(trial, winner)
    choice, look, terms = trial.choice, trial.look, trial.terms
    return Report(
        report_version=VERSION,
        id=trial.id,
        task=sections.task_section(trial.task, _balance(trial), trial.steps.results(LookArguments)),
        baselines=tuple(section_of(baseline) for baseline in trial.baselines),
        labels=sections.labels(trial.task, trial.answers[winner.id]),
        verdict=_verdict(trial, winner, rival),
        rival=rival.as_dict() if rival else None,
        power=tuple(judging.power_notes(trial)),
        choice=ChoiceSection(choice.variant, choice.ranked, choice.rows, choice.among),
        look=LookSection(look.number, look.before, terms.meets, terms.misses, terms.next_look),
        served=trial.served,
        variants=tuple(trial.variants),
        comparisons=_compared(trial, winner, [variant for variant in on_test if variant is not winner]),
        changed_rows=_changed(trial, before, winner) if before is not winner else (),
        changed_between=(before.id, winner.id),
        machine=trial.machine.as_dict(),
        memory_allowed_bytes=trial.memory,
        budget=Budget(trial.options.budget_s, trial.clock.spent()),
        plan=trial.plan,
        parts=tuple(trial.clock.taken),
        time_left=_estimates(trial),
        left_out_rows=trial.left_out_rows,
        cluster=cluster_section(trial.steps.folder, trial.options.costs),
        notes=tuple(trial.notes),
        options=asdict(trial.options),
        versions=machine.versions(),
    )


def _verdict(trial: Trial, winner: Variant, rival: AgainstRival | None) -> VerdictSection:
    """The verdict, with what to run next."""
    needs, note = trial.effective_needs()
    verdict: Verdict = reach(
        needs,
        trial.variants,
        winner.id,
        trial.task.metric.name,
        terms=trial.terms,
        baselines=trial.baselines,
        skipped=_skipped(trial),
        rival=rival,
    )
    serve, show = f"freehold serve {winner.stored_as} --port 8601", f"freehold report {trial.id}"
    return verdict.section(command=serve if winner.stored_as else show, needs_note=note)


def section_of(baseline: baselines.Baseline) -> BaselineSection:
    """A baseline for the report: without each row's score."""
    return BaselineSection(**{name: value for name, value in vars(baseline).items() if name != "scores"})


def _compared(trial: Trial, winner: Variant, others: Sequence[Variant]) -> tuple[Comparison, ...]:
    """Paired differences from the chosen variant on the rows both answered; ``p_corrected`` allows for
    their number (Holm).
    """
    answers, groups = trial.answers, trial.task.groups
    differences = [
        measurement.paired(*measurement.shared(answers[winner.id], answers[other.id]), groups)
        for other in others
    ]
    corrected = statistics.holm([difference.p for difference in differences])
    return tuple(
        Comparison(**vars(difference), source=winner.id, to=other.id, p_corrected=p)
        for other, difference, p in zip(others, differences, corrected, strict=True)
    )


def _rival(trial: Trial, winner: Variant) -> AgainstRival | None:
    """The API beside the chosen variant; None where none was asked."""
    rival = next((variant for variant in trial.variants if variant.rival), None)
    if rival is None:
        return None
    needs: Sequence[Requirement] = trial.effective_needs()[0]
    return compare_rival(
        trial.answers[winner.id],
        trial.answers[rival.id],
        needs,
        rival,
        trial.task.metric.name,
        groups=trial.task.groups,
        conditions=rival.conditions or (),
    )


def _skipped(trial: Trial) -> list[str]:
    """What was not done, for the verdict's first line: that nothing was tuned comes first."""
    tuned = any(variant.kind == "tuned" for variant in trial.variants)
    able = any(not tried.paced.untunable for tried in trial.tried.values())
    beginning = f"{planner.TUNING}: "
    reasons = [entry.removeprefix(beginning) for entry in trial.left_out if entry.startswith(beginning)]
    reasons += trial.not_tuned
    others = [entry for entry in trial.left_out if not entry.startswith(beginning)]
    skipped: list[str] = []
    if trial.options.tune and able and not tuned:
        skipped.append(f"{TUNING_SKIPPED}: {reasons[0] if reasons else 'there was no time left'}")
    if cut := _cut_short(trial.variants):
        skipped.append(cut)
    if others:
        skipped.append(f"left out: {', '.join(others)}")
    if trial.options.safety_prompts == NO_SAFETY:
        skipped.append("safety was not tested, as asked")
    return skipped


def _cut_short(variants: Sequence[Variant]) -> str:
    """That no model could be tuned for as long as is worth it, because of the budget; '' where one was."""
    epochs: list[float] = []
    for trained in (variant.trained for variant in variants):
        if trained is None:
            continue
        by_time = "bound by the time" in trained.reason or "the time for tuning ended" in trained.stopped
        seen = trained.steps * trained.recipe["batch_rows"] / trained.rows
        epochs.append(seen if by_time else planner.GOOD_EPOCHS)
    if not epochs or max(epochs) >= planner.GOOD_EPOCHS:
        return ""
    return f"{TUNING_CUT}: {max(epochs):.1f} epochs instead of {planner.GOOD_EPOCHS:.0f}, to keep the budget"


def _estimates(trial: Trial) -> Estimates | None:
    """How good the estimates of the time left were, in the run that measured most."""
    file = trial.folder / "time-left.json"
    error = trial.clock.median_error()
    if error is not None and error[1] >= FEWEST_ESTIMATES:
        estimates = Estimates(*error, trial.options.budget_s)
        atomic_files.write_atomically(file, json.dumps(json_form.write(estimates)))
    return json_form.read(Estimates, json.loads(file.read_text()), str(file)) if file.exists() else None


def _balance(trial: Trial) -> dict[str, int]:
    """Label -> training rows, most first; empty where answers are not labels."""
    counts: dict[str, int] = {}
    if trial.task.labels:
        for example in trial.task.splits.train:
            counts[wanted_label(example)] = counts.get(wanted_label(example), 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def _changed(trial: Trial, before: Variant, after: Variant) -> tuple[ChangedRow, ...]:
    """Rows whose score differs between two variants: what got worse first."""
    rows = {example.id: example for example in trial.task.test}
    earlier = {answer.id: answer for answer in trial.answers[before.id]}
    changed = [
        ChangedRow(
            id=answer.id,
            question=rows[answer.id].question,
            wanted=rows[answer.id].answer,
            before=earlier[answer.id].text,
            after=answer.text,
            gain=answer.score - earlier[answer.id].score,
            before_digest=before.digest,
            after_digest=after.digest,
        )
        for answer in trial.answers[after.id]
        if answer.id in earlier and earlier[answer.id].score != answer.score
    ]
    return tuple(sorted(changed, key=lambda row: (row.gain, row.id)))
