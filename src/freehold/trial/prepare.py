"""A trial made of rows and options, for the command line and for Python alike: what both check and say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from freehold.core import atomic_files, progress, settings
from freehold.core.progress import Sink
from freehold.core.wording import counted
from freehold.data.guess import Ask
from freehold.data.row_settings import row_options
from freehold.models.store import Store
from freehold.runtime.cluster import Cluster
from freehold.trial import sections
from freehold.trial import task as tasks
from freehold.trial.judging import power_notes
from freehold.trial.planner import Plan
from freehold.trial.requirements import check_needs
from freehold.trial.run import Trial, choose_models, too_little
from freehold.trial.settings import TrialSettings
from freehold.trust.gate import Say, quiet

#: Asks a yes-or-no question.
Confirm = Callable[[str], bool]


def prepare(
    data: str,
    chosen: TrialSettings,
    store: Store | None = None,
    *,
    sink: Sink,
    ask: Ask | None = None,
    say: Say = quiet,
    cluster: Cluster | None = None,
) -> Trial:
    """The trial of the rows in ``data``. Options and needs are checked before any row is read.

    ``cluster``: does the steps.
    ``ask``: called where the columns are in doubt. Raises FreeholdError (UsageError, BadData,
    NotFound, PolicyDenied and others) before anything is measured.
    """
    settings.go_quiet(online=any(source.startswith("hf:") for source in (data, chosen.valid, chosen.test)))
    options = chosen.options()
    check_needs(options.needs, chosen.metric or None)
    store = store or Store()
    task = tasks.load(
        data,
        chosen.valid or None,
        chosen.test or None,
        rows=row_options(chosen, ask, group=chosen.group),
        metric=chosen.metric or None,
        tune=chosen.tune,
        allow_leaks=chosen.allow_leaks,
        labels=tasks.LabelOptions(chosen.labels, chosen.unknown_label),
        trust_code=chosen.trust_code,
        sink=sink,
    )
    models = choose_models(store, list(chosen.models))
    return Trial(store, task, models, options, sink, override=chosen.override, say=say, cluster=cluster)


def start_lines(trial: Trial) -> Iterator[str]:
    """What was read and what will be done with it, as sentences."""
    task, options = trial.task, trial.options
    splits = task.splits
    yield (
        f"trial {trial.id}: {len(splits.train)} training, {len(splits.valid)} validation, "
        f"{len(splits.test)} test rows; columns {task.mapping}"
    )
    yield (
        f"models {', '.join(m.name for m in trial.models)}; metric {task.metric.name} "
        f"({task.metric.method}); at most {progress.duration(options.budget_s)}"
    )
    for note in task.notes:
        yield f"note: {note}"
    if task.left_out:
        rows = counted(len(task.left_out), "row was", "rows were")
        yield f"{rows} left out, for example {task.left_out[0]}; the report lists them"
    yield f"why this metric: {task.metric.reason}"
    for warning in sections.warnings(task):
        yield f"note: {warning}"
    if trial.cluster is not None:
        yield trial.cluster.sentence()
    if options.rival_endpoint:
        yield (
            f"the {len(splits.test)} test rows, the {len(splits.valid)} validation rows and up to "
            f"{options.shots} worked examples will leave this machine, to {options.rival_endpoint.url}, "
            "as you asked"
        )


def agree(trial: Trial, plan: Plan, *, yes: bool, say: Say, confirm: Confirm | None = None) -> float:
    """Say the plan; the budget to go by, in seconds: the given one, or the smallest that decides.

    The smallest is taken where ``yes`` or ``confirm`` says so. Raises DoesNotFit.
    """
    for note in trial.notes:
        say(f"note: {note}")
    for line in plan.lines():
        say(line)
    for note in power_notes(trial):
        say(f"note: {note}")
    if plan.decides:
        return plan.budget_s
    if not plan.least_s:
        raise too_little(plan)
    if yes:
        say(f"continuing with {progress.duration(plan.least_s)}, the smallest budget that gives a result")
        return plan.least_s
    if confirm is None:
        raise too_little(plan)
    say(f"{progress.duration(plan.budget_s)} is too short for a result here")
    if not confirm(f"Continue with {progress.duration(plan.least_s)}?"):
        raise too_little(plan)
    return plan.least_s


def hand_out(trial: Trial, folder: Path | None) -> Path:
    """The folder of the report, copied to ``folder`` if there is one."""
    if folder is None:
        return trial.folder
    for name in ("report.html", "report.json"):
        atomic_files.write_atomically(folder / name, (trial.folder / name).read_bytes())
    return folder
