"""What a trial found, as the report's JSON: verdict, variants, comparisons, and what was not done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from freehold.core import atomic_files, machine, statistics
from freehold.evaluation import measurement
from freehold.evaluation.task_kinds import wanted_label
from freehold.trial import baselines, judging, planner, sections
from freehold.trial.against_rival import AgainstRival, compare_rival
from freehold.trial.choice import TEST
from freehold.trial.options import NO_SAFETY
from freehold.trial.report import VERSION
from freehold.trial.requirements import Requirement
from freehold.trial.verdict import TUNING_CUT, TUNING_SKIPPED, reach

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: Estimates of the time left below which nothing is said of them.
FEWEST_ESTIMATES = 5


def summarise(trial: Trial) -> dict[str, Any]:
    """The report (see report.schema.json) of a trial whose parts are done."""
    metric = trial.task.metric
    needs, note = trial.effective_needs()
    on_test = [v for v in trial.variants if v["measured_on"] == TEST]
    baselines.compare(on_test, trial.answers, trial.baselines, trial.task.groups)
    winner = trial.variant(trial.choice.variant)
    rival = rival_of(trial, winner, needs)
    verdict = reach(
        needs,
        trial.variants,
        winner["id"],
        metric.name,
        terms=trial.terms,
        baselines=trial.baselines,
        skipped=_skipped(trial),
        rival=rival,
    )
    before = next((v for v in _ranked(trial) if v["kind"] == "as is" and v in on_test), winner)
    compared = _compared(trial, winner["id"], [v["id"] for v in on_test if v is not winner])
    command = (
        f"freehold serve {winner['stored_as']} --port 8601"
        if winner["stored_as"]
        else f"freehold report {trial.id}"
    )
    splits = trial.task.splits
    looks = {
        path.parent.name: json.loads(path.read_text())
        for path in sorted(trial.steps.folder.glob("look-*/result.json"))
    }
    return {
        "report_version": VERSION,
        "id": trial.id,
        "task": {
            "name": trial.task.name, "kind": metric.kind, "metric": metric.name, "method": metric.method, "columns": trial.task.mapping,
            "rows": {"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)}, "files": trial.task.files,
            "labels": len(trial.task.labels), "label_balance": _balance(trial), "repeats_dropped": splits.repeats,
            "leaks": [list(leak) for leak in splits.leaks[:50]], "leaked_test_rows": len(splits.leaked_test_ids), "looks": looks,
            "warnings": sections.warnings(trial.task), **sections.data(trial.task),
        },
        "baselines": baselines.for_report(trial.baselines),
        "labels": sections.labels(trial.task, trial.answers[winner["id"]]),
        "verdict": {**verdict.as_dict(), "needs_note": note, "command": command},
        "rival": rival.as_dict() if rival else None,
        "power": judging.power_notes(trial),
        "choice": trial.choice.as_dict(),
        "look": {"number": trial.look.number, "before": list(trial.look.before), **asdict(trial.terms)},
        "served": trial.served.as_dict() if trial.served else None,
        "variants": trial.variants,
        "comparisons": compared,
        "changed_rows": _changed(trial, before["id"], winner["id"]) if before is not winner else [],
        "changed_between": [before["id"], winner["id"]],
        "machine": trial.machine.as_dict(),
        "memory_allowed_bytes": trial.memory,
        "budget": {"seconds": trial.options.budget_s, "spent_seconds": trial.clock.spent()},
        "plan": trial.plan.as_dict() if trial.plan else None,
        "parts": [asdict(taken) for taken in trial.clock.taken],
        "time_left": _estimates(trial),
        "left_out_rows": trial.left_out_rows,
        "notes": trial.notes,
        "options": asdict(trial.options),
        "versions": machine.versions(),
    }  # fmt: skip


def _ranked(trial: Trial) -> list[dict[str, Any]]:
    return [trial.variant(name) for name in trial.choice.ranked]


def _compared(trial: Trial, first: str, others: Sequence[str]) -> list[dict[str, Any]]:
    """Paired differences from one variant on the rows both answered; ``p_corrected`` allows for their number (Holm)."""
    answers, groups = trial.answers, trial.task.groups
    found = [
        {
            "from": first,
            "to": other,
            **measurement.paired(*measurement.shared(answers[first], answers[other]), groups),
        }
        for other in others
    ]
    corrected = statistics.holm([entry["p"] for entry in found])
    return [entry | {"p_corrected": p} for entry, p in zip(found, corrected, strict=True)]


def rival_of(trial: Trial, winner: dict[str, Any], needs: Sequence[Requirement]) -> AgainstRival | None:
    """The API beside the chosen variant; None where none was asked."""
    variant = next((v for v in trial.variants if v.get("rival")), None)
    if variant is None:
        return None
    return compare_rival(
        trial.answers[winner["id"]],
        trial.answers[variant["id"]],
        needs,
        variant,
        trial.task.metric.name,
        groups=trial.task.groups,
        conditions=variant.get("conditions", ()),
    )


def _skipped(trial: Trial) -> list[str]:
    """What was not done, for the verdict's first line: that nothing was tuned comes first."""
    tuned = any(variant["kind"] == "tuned" for variant in trial.variants)
    able = any(not candidate.untunable for candidate in trial.candidates.values())
    reasons = [
        entry.partition(": ")[2] for entry in trial.left_out if entry.startswith(f"{planner.TUNING}: ")
    ]
    reasons += trial.not_tuned
    others = [entry for entry in trial.left_out if not entry.startswith(f"{planner.TUNING}: ")]
    skipped: list[str] = []
    if trial.options.tune and able and not tuned:
        skipped.append(f"{TUNING_SKIPPED}: {reasons[0] if reasons else 'there was no time left'}")
    if cut := _cut_short(trial):
        skipped.append(cut)
    if others:
        skipped.append(f"left out: {', '.join(others)}")
    if trial.options.safety_prompts == NO_SAFETY:
        skipped.append("safety was not tested, as asked")
    return skipped


def _cut_short(trial: Trial) -> str:
    """That no model could be tuned for as long as is worth it, because of the budget; '' where one was."""
    epochs: list[float] = []
    for variant in trial.variants:
        trained = variant["trained"]
        if trained is None:
            continue
        by_time = (
            "bound by the time" in trained["reason"] or "the time for tuning ended" in trained["stopped"]
        )
        seen = trained["steps"] * trained["recipe"]["batch_rows"] / trained["rows"]
        epochs.append(seen if by_time else planner.GOOD_EPOCHS)
    if not epochs or max(epochs) >= planner.GOOD_EPOCHS:
        return ""
    return f"{TUNING_CUT}: {max(epochs):.1f} epochs instead of {planner.GOOD_EPOCHS:.0f}, to keep the budget"


def _estimates(trial: Trial) -> dict[str, Any] | None:
    """How good the estimates of the time left were, in the run that measured most."""
    kept = trial.folder / "time-left.json"
    error = trial.clock.median_error()
    if error is not None and error[1] >= FEWEST_ESTIMATES:
        value = {"median_error": error[0], "estimates": error[1], "budget_s": trial.options.budget_s}
        atomic_files.write_atomically(kept, json.dumps(value))
    return json.loads(kept.read_text()) if kept.exists() else None


def _balance(trial: Trial) -> dict[str, int]:
    counts: dict[str, int] = {}
    if trial.task.labels:
        for example in trial.task.splits.train:
            counts[wanted_label(example)] = counts.get(wanted_label(example), 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def _changed(trial: Trial, before: str, after: str) -> list[dict[str, Any]]:
    """Rows whose score tuning changed: what it mended first, then what it broke."""
    rows = {example.id: example for example in trial.task.test}
    old = {answer.id: answer for answer in trial.answers[before]}
    digests = {v["id"]: v["digest"] for v in trial.variants}
    changed: list[dict[str, Any]] = []
    for answer in trial.answers[after]:
        first = old.get(answer.id)
        if first is not None and first.score != answer.score:
            changed.append({
                "id": answer.id, "question": rows[answer.id].question, "wanted": rows[answer.id].answer, "before": first.text,
                "after": answer.text, "gain": answer.score - first.score, "before_digest": digests[before], "after_digest": digests[after],
            })  # fmt: skip
    return sorted(changed, key=lambda row: (row["gain"], row["id"]))
