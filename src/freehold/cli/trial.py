"""freehold trial"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override
from freehold.cli.rows import BadRow, Columns, Encoding, Group, MergeLabels, TrustCode

if TYPE_CHECKING:
    from freehold.trial.planner import Plan
    from freehold.trial.run import Trial

NAME = "trial"


def command(
    train: Annotated[
        str,
        typer.Argument(
            help="Training rows: a file (JSONL, JSON, CSV, Excel, Parquet...), a folder of splits, "
            "hub:ORG/NAME, "
            "hf:ORG/NAME or sqlite:FILE?QUERY."
        ),
    ],
    valid: Annotated[
        str, typer.Option(help="Validation rows; the default is to split them off from TRAIN.")
    ] = "",
    test: Annotated[str, typer.Option(help="Test rows; the default is to split them off from TRAIN.")] = "",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to try; may be repeated; the default is every model in the store that fits."
        ),
    ] = None,
    need: Annotated[
        list[str] | None,
        typer.Option(
            help="Requirement, e.g. accuracy>=0.9, p95<=800ms, memory<=4GiB or licence=commercial; may be "
            "repeated."
        ),
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="A task.yaml whose list 'needs' is added to those of --need.")
    ] = None,
    budget: Annotated[str, typer.Option(help="Time for the whole trial, e.g. 45m or 1h30m.")] = "1h",
    memory: Annotated[
        str,
        typer.Option(
            help="Memory the model may use, e.g. 4GiB; the default is this machine's memory minus 1 GiB."
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Folder to write report.html and report.json to.")] = None,
    columns: Columns = "",
    encoding: Encoding = "",
    on_bad_row: BadRow = "",
    merge_labels: MergeLabels = False,
    group: Group = "",
    metric: Annotated[
        str,
        typer.Option(
            help="Metric: label, labels, number, value, json, code, exact, text or path.py:function; the "
            "default is to detect it."
        ),
    ] = "",
    labels: Annotated[
        Path | None,
        typer.Option(
            help="File with all labels, one per line; the default is the labels of the training rows."
        ),
    ] = None,
    unknown_label: Annotated[
        str, typer.Option(help="Answer for rows whose label is not in the label set.")
    ] = "",
    licence: Annotated[
        str, typer.Option(help="Use that the licence must allow: any, commercial or unrestricted.")
    ] = "any",
    template: Annotated[
        str, typer.Option(help="Chat template: own for the model's, plain for a simple built-in one.")
    ] = "own",
    tune: Annotated[
        bool,
        typer.Option("--tune/--no-tune", help="Tune the models, or only measure them."),
    ] = True,
    steps: Annotated[int, typer.Option(help="Exact number of training steps, whatever the budget.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Learning rate for tuning.")] = 1e-3,
    shots: Annotated[
        int, typer.Option(help="Largest number of worked examples in the few-shot variant.")
    ] = 8,
    allow_leaks: Annotated[
        bool,
        typer.Option("--allow-leaks", help="Continue even if test rows also appear in the training data."),
    ] = False,
    trust_code: TrustCode = False,
    api_model: Annotated[
        str, typer.Option(help="API to compare the cost with, as provider:model.")
    ] = "openai:gpt-5-mini",
    api_batch: Annotated[
        bool, typer.Option("--api-batch", help="Use the API's batch price in the comparison.")
    ] = False,
    api_cached_share: Annotated[
        float,
        typer.Option(help="Share of each prompt that the API has cached, from 0 to 1.", min=0.0, max=1.0),
    ] = 0.0,
    api_reasoning_tokens: Annotated[
        float,
        typer.Option(
            help="Number of hidden reasoning tokens for each answer of the API, if none are measured.",
            min=0.0,
        ),
    ] = 0.0,
    hardware_per_hour: Annotated[
        str,
        typer.Option(
            help="Cost of this machine per hour, in dollars; a range such as 0.2-0.4 is allowed; the "
            "default is computed "
            "from its price."
        ),
    ] = "",
    hardware_price: Annotated[
        str,
        typer.Option(
            help="Price of this machine, in dollars; the default is 700-1000-1500 (low, likely, high)."
        ),
    ] = "",
    hardware_years: Annotated[
        str, typer.Option(help="Years over which the price of this machine is spread; the default is 3-4-6.")
    ] = "",
    kwh_price: Annotated[
        str, typer.Option(help="Price of electricity, in dollars per kWh; the default is 0.15-0.30-0.45.")
    ] = "",
    person_hours_per_month: Annotated[
        str,
        typer.Option(help="Hours per month that a person spends on running this machine; the default is 0."),
    ] = "",
    person_hour_price: Annotated[
        str, typer.Option(help="Price of an hour of that person's work, in dollars; the default is 40-60-90.")
    ] = "",
    country: Annotated[
        str,
        typer.Option(
            help="Country whose electricity the carbon estimate uses, e.g. DEU; the default is the world "
            "average."
        ),
    ] = "",
    safety: Annotated[
        str,
        typer.Option(
            help="File of prompts for the safety test, or none to skip it; the default is 24 built-in "
            "prompts."
        ),
    ] = "",
    too_long: Annotated[
        str, typer.Option(help="What to leave out if a row is too long for a model: row or model.")
    ] = "row",
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Do not ask any questions, and raise the budget if it is too small for a verdict."
        ),
    ] = False,
    override: Override = "",
    rival: Annotated[
        Path | None,
        typer.Option(help='File of answers recorded from the API, one per line: {"id": ..., "answer": ...}.'),
    ] = None,
    rival_endpoint: Annotated[
        str,
        typer.Option(
            help="URL of an OpenAI-compatible server to compare with; test and validation rows are sent to "
            "it."
        ),
    ] = "",
    rival_model: Annotated[str, typer.Option(help="Name of the model to use on that server.")] = "",
    rival_key_env: Annotated[
        str, typer.Option(help="Name of the environment variable that holds the key for that server.")
    ] = "",
    json: Json = False,
) -> None:
    """Find out whether an open model can do this job on this machine, how well, and at what cost.

    Exit codes: 0 own it; 3 not yet; 4 rent it, or not with these models. After an interruption, run the same
    command again: finished steps are kept.

    Example: freehold trial tickets.jsonl --need "accuracy>=0.9" --need "p95<=800ms" --budget 45m
    """
    from freehold.cli.rows import options_of
    from freehold.core import progress, settings
    from freehold.core.errors import UsageError
    from freehold.core.units import parse_bytes, parse_seconds
    from freehold.costs.energy import grid
    from freehold.costs.money import CostOptions
    from freehold.models.store import Store
    from freehold.trial import costs, report
    from freehold.trial import task as tasks
    from freehold.trial.options import NO_SAFETY, TOO_LONG, Options
    from freehold.trial.requirements import check_needs, read_task_file
    from freehold.trial.rival import Endpoint
    from freehold.trial.run import Trial, choose_models
    from freehold.trust.licence import POLICIES

    settings.go_quiet(online=any(source.startswith("hf:") for source in (train, valid, test)))
    if template not in ("own", "plain") or licence not in POLICIES:
        raise UsageError(
            f"--template {template} --licence {licence} is not understood", "see freehold trial --help"
        )
    settings.plain_address(rival_endpoint)
    if rival_endpoint and not rival_model:
        raise UsageError("--rival-endpoint needs --rival-model", "name the model to ask there")
    if too_long not in TOO_LONG:
        raise UsageError(f"--too-long {too_long}: unknown value", f"pass one of {', '.join(TOO_LONG)}")
    cost_options = costs.from_texts(
        {
            "hardware_per_hour": hardware_per_hour,
            "hardware_price": hardware_price,
            "hardware_years": hardware_years,
            "kwh_price": kwh_price,
            "person_hours_per_month": person_hours_per_month,
            "person_hour_price": person_hour_price,
        },
        CostOptions(api_model, api_batch, api_cached_share, api_reasoning_tokens),
    )
    options = Options(
        budget_s=parse_seconds(budget, "--budget", positive=True),
        memory_bytes=parse_bytes(memory, "--memory", positive=True) if memory else 0,
        needs=tuple([*(need or []), *(read_task_file(task) if task else [])]),
        licence_policy=licence,
        plain_template=template == "plain",
        tune=tune,
        shots=shots,
        recipe={"learning_rate": learning_rate, **({"steps": steps} if steps else {})},
        country=grid(country).country,
        costs=cost_options,
        too_long=too_long,
        safety_prompts=str(Path(safety).absolute()) if safety not in ("", NO_SAFETY) else safety,
        rival_file=str(rival.absolute()) if rival else "",
        rival_endpoint=Endpoint(rival_endpoint, rival_model, rival_key_env) if rival_endpoint else None,
    )
    check_needs(options.needs, metric or None)
    store = Store()
    loaded = tasks.load(
        train,
        valid or None,
        test or None,
        rows=options_of(columns, encoding, on_bad_row, merge_labels, group),
        metric=metric or None,
        tune=tune,
        allow_leaks=allow_leaks,
        labels=tasks.LabelOptions(labels, unknown_label),
        trust_code=trust_code,
        sink=progress.for_stream(),
    )
    chosen = choose_models(store, model or [])
    trial = Trial(store, loaded, chosen, options, progress.for_stream(), override=override, say=say)
    _say_start(trial)
    result = trial.run(lambda plan: _agree(trial, plan, yes))
    folder = trial.folder
    if out is not None:
        from freehold.core.atomic_files import write_atomically

        for name in ("report.html", "report.json"):
            write_atomically(out / name, (trial.folder / name).read_bytes())
        folder = out
    if json:
        print_json(result.as_json())
    else:
        print(report.ten_lines(result, folder))
    sys.exit(result.verdict.exit_code)


def _say_start(trial: Trial) -> None:
    """What was read and what will be done with it."""
    from freehold.core import progress
    from freehold.trial import sections

    loaded, options = trial.task, trial.options
    splits = loaded.splits
    say(
        f"trial {trial.id}: {len(splits.train)} training, {len(splits.valid)} validation, "
        f"{len(splits.test)} test rows; columns {loaded.mapping}"
    )
    say(
        f"models {', '.join(m.name for m in trial.models)}; metric {loaded.metric.name} "
        f"({loaded.metric.method}); at most {progress.duration(options.budget_s)}"
    )
    for note in loaded.notes:
        say(f"note: {note}")
    if loaded.left_out:
        say(
            f"{len(loaded.left_out)} rows were left out, for example {loaded.left_out[0]}; the report lists "
            "them"
        )
    say(f"why this metric: {loaded.metric.reason}")
    for warning in sections.warnings(loaded):
        say(f"note: {warning}")
    if options.rival_endpoint:
        say(
            f"the {len(splits.test)} test rows, the {len(splits.valid)} validation rows and up to "
            f"{options.shots} "
            f"worked examples will leave this machine, to {options.rival_endpoint.url}, as you asked"
        )


def _agree(trial: Trial, plan: Plan, yes: bool) -> float:
    """Show the plan; the budget to go by: the one given, or the least that decides where the person says so.
    Raises DoesNotFit.
    """
    from freehold.core import progress
    from freehold.trial.judging import power_notes
    from freehold.trial.run import too_little

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
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise too_little(plan)
    say(f"{progress.duration(plan.budget_s)} is too short for a result here")
    if not typer.confirm(f"Continue with {progress.duration(plan.least_s)}?", default=True, err=True):
        raise too_little(plan)
    return plan.least_s
