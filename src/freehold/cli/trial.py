"""freehold trial"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override

NAME = "trial"


def command(
    train: Annotated[Path, typer.Argument(help="Rows to learn from: .jsonl, .csv, .tsv or .parquet")],
    valid: Annotated[Path | None, typer.Option(help="Validation rows; cut off TRAIN if left out.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test rows; cut off TRAIN if left out.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model to try; may be repeated. Without it: what is in the store and fits.")] = None,
    need: Annotated[list[str] | None, typer.Option(help="accuracy>=0.9, p95<=800ms, memory<=4GiB, licence=commercial; may be repeated.")] = None,
    task: Annotated[Path | None, typer.Option(help="A task.yaml whose list 'needs' is added to --need.")] = None,
    budget: Annotated[str, typer.Option(help="Time for the whole trial, e.g. 45m or 1h30m.")] = "1h",
    memory: Annotated[str, typer.Option(help="Memory the model may take, e.g. 4GiB; the machine's less 1 GiB if left out.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and report.json.")] = None,
    columns: Annotated[str, typer.Option(help="Which column is which: text=body,label=team")] = "",
    metric: Annotated[str, typer.Option(help="label, labels, number, value, json, code, text, or path.py:function; detected if left out.")] = "",
    labels: Annotated[Path | None, typer.Option(help="A file of all labels, one a line; those of the training rows if left out.")] = None,
    unknown_label: Annotated[str, typer.Option(help="The answer for rows whose label is none of the label set.")] = "",
    licence: Annotated[str, typer.Option(help="Licences to try: any, commercial or unrestricted.")] = "any",
    template: Annotated[str, typer.Option(help="own: the model's chat template; plain: ours.")] = "own",
    tune: Annotated[bool, typer.Option("--tune/--no-tune", help="Tune the candidates, or measure them as they stand only.")] = True,
    steps: Annotated[int, typer.Option(help="Tune for exactly so many steps instead of planning from the budget.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of the tuning.")] = 1e-3,
    shots: Annotated[int, typer.Option(help="Worked examples shown in the few-shot variant, at most.")] = 8,
    allow_leaks: Annotated[bool, typer.Option("--allow-leaks", help="Go on although many test rows stand in the training rows.")] = False,
    api_model: Annotated[str, typer.Option(help="The API to compare the cost with, provider:model.")] = "openai:gpt-5-mini",
    hardware_per_hour: Annotated[float | None, typer.Option(help="What this machine costs an hour, in dollars.")] = None,
    hardware_price: Annotated[float, typer.Option(help="Or its price in dollars,")] = 1000.0,
    hardware_years: Annotated[float, typer.Option(help="spread over so many years,")] = 4.0,
    kwh_price: Annotated[float, typer.Option(help="with electricity at so many dollars a kWh.")] = 0.30,
    country: Annotated[str, typer.Option(help="ISO code of the grid for the carbon figure.")] = "DEU",
    safety: Annotated[
        Path | None, typer.Option(help="Prompts to test safety with (AILuminate CSV, XSTest, own rows); 24 of our own if left out.")
    ] = None,
    override: Override = "",
    rival: Annotated[Path | None, typer.Option(help='Recorded answers of the API: lines of {"id": ..., "answer": ...}.')] = None,
    rival_endpoint: Annotated[str, typer.Option(help="Ask this OpenAI-compatible server; the test rows leave the machine.")] = "",
    rival_model: Annotated[str, typer.Option(help="The model to ask there.")] = "",
    rival_key_env: Annotated[str, typer.Option(help="The environment variable that holds its key.")] = "",
    json: Json = False,
) -> None:
    """Find out whether an open model can do this job on this machine, how well, and at what cost.

    Exit code 0: own it; 3: not yet; 4: rent it. Run the same command again after an interruption: finished steps are kept.

    Example: freehold trial tickets.jsonl --need "accuracy>=0.9" --need "p95<=800ms" --budget 45m
    """
    from freehold import progress, settings
    from freehold.cli import permission
    from freehold.data.examples import RowOptions, parse_columns
    from freehold.errors import UsageError
    from freehold.hub.store import Store
    from freehold.trial import report, sections
    from freehold.trial import task as tasks
    from freehold.trial.needs import parse_bytes, parse_seconds, read_task_file
    from freehold.trial.rival import Endpoint
    from freehold.trial.trial import Options, Trial, choose_models
    from freehold.trial.verdict import EXIT_CODES
    from freehold.trust.licence import POLICIES

    settings.go_quiet()
    if template not in ("own", "plain") or licence not in POLICIES:
        raise UsageError(f"--template {template} --licence {licence} is not understood", "see freehold trial --help")
    if rival_endpoint and not rival_model:
        raise UsageError("--rival-endpoint needs --rival-model", "name the model to ask there")
    options = Options(
        budget_s=parse_seconds(budget), memory_bytes=parse_bytes(memory) if memory else 0,
        needs=tuple([*(need or []), *(read_task_file(task) if task else [])]), licence_policy=licence, plain_template=template == "plain",
        tune=tune, shots=shots, recipe={"learning_rate": learning_rate, **({"steps": steps} if steps else {})}, country=country.upper(),
        api_model=api_model, hardware_per_hour=hardware_per_hour, hardware_price=hardware_price, hardware_years=hardware_years,
        kwh_price=kwh_price, safety_prompts=str(safety.absolute()) if safety else "", rival_file=str(rival.absolute()) if rival else "",
        rival_endpoint=Endpoint(rival_endpoint, rival_model, rival_key_env) if rival_endpoint else None,
    )  # fmt: skip
    store = Store()
    rows = RowOptions(columns=parse_columns(columns) if columns else None)
    loaded = tasks.load(
        train, valid, test, rows=rows, metric=metric or None, tune=tune, allow_leaks=allow_leaks, labels_file=labels, unknown_label=unknown_label
    )
    splits = loaded.splits
    chosen = choose_models(store, model or [])
    if tune:
        permission.of_models(store, "tune", chosen, override)
    trial = Trial(store, loaded, chosen, options, progress.for_stream())
    say(f"trial {trial.id}: {len(splits.train)} training, {len(splits.valid)} validation, {len(splits.test)} test rows; columns {loaded.mapping}")
    say(
        f"models {', '.join(m.name for m in trial.models)}; metric {loaded.metric.name} ({loaded.metric.method}); at most {progress.duration(options.budget_s)}"
    )
    say(f"why this metric: {loaded.metric.reason}")
    for warning in sections.warnings(loaded):
        say(f"note: {warning}")
    if splits.leaks:
        say(f"{len(splits.leaked_test_ids)} test rows are near-duplicates of training or validation rows; figures without them stand beside")
    if rival_endpoint:
        say(f"the {len(splits.test)} test rows will leave this machine, to {rival_endpoint}, as you asked")
    result = trial.run()
    folder = trial.folder
    if out is not None:
        from freehold.durable import write_atomically

        for name in ("report.html", "report.json"):
            write_atomically(out / name, (trial.folder / name).read_bytes())
        folder = out
    if json:
        print_json(result)
    else:
        print(report.ten_lines(result, folder))
    sys.exit(EXIT_CODES[result["verdict"]["verdict"]])
