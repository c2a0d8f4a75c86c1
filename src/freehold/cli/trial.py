"""freehold trial"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from freehold.cli.options import with_options
from freehold.cli.output import Json, print_json, say
from freehold.trial.settings import TrialSettings

NAME = "trial"


@with_options(TrialSettings)
def command(
    train: Annotated[
        str,
        typer.Argument(
            help="Training rows: a file (JSONL, JSON, CSV, Excel, Parquet...), a folder of splits, "
            "hub:ORG/NAME, "
            "hf:ORG/NAME or sqlite:FILE?QUERY."
        ),
    ],
    settings: TrialSettings,
    cluster: Annotated[
        str,
        typer.Option(
            help="Ray cluster that does the steps: HOST:PORT, ray://HOST:PORT, or auto for one on this "
            "machine; rows and models are sent to its nodes."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Find out whether an open model can do this job on this machine, how well, and at what cost.

    Exit codes: 0 own it; 3 not yet; 4 rent it, or not with these models. After an interruption, run the same
    command again: finished steps are kept.

    Example: freehold trial tickets.jsonl --need "accuracy>=0.9" --need "p95<=800ms" --budget 45m
    """
    from freehold.cli.rows import asker
    from freehold.core import progress
    from freehold.runtime.cluster import joined
    from freehold.trial import prepare, report

    confirm = _confirm if asker() else None
    with joined(cluster) as nodes:
        trial = prepare.prepare(
            train, settings, sink=progress.for_stream(), ask=asker(), say=say, cluster=nodes
        )
        for line in prepare.start_lines(trial):
            say(line)
        result = trial.run(
            lambda plan: prepare.agree(trial, plan, yes=settings.yes, say=say, confirm=confirm)
        )
    folder = prepare.hand_out(trial, settings.out)
    if json:
        print_json(result.as_json())
    else:
        print(report.ten_lines(result, folder))
    sys.exit(result.verdict.exit_code)


def _confirm(question: str) -> bool:
    return typer.confirm(question, default=True, err=True)
