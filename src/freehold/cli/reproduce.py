"""freehold reproduce"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

NAME = "reproduce"


def command(
    name: Annotated[str, typer.Argument(help="NAME of a model that was tuned here")],
    data: Annotated[
        Path | None, typer.Option(help="The rows it was tuned on; a trial's models keep theirs.")
    ] = None,
    valid: Annotated[
        Path | None, typer.Option(help="Its validation rows, where a file was given then.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a model's recorded steps again and compare digests. Exit code 6 if a digest differs.

    Example: freehold reproduce tickets/smollm2 --data tickets.jsonl
    """
    from freehold.core import progress, settings
    from freehold.core.errors import BadModel
    from freehold.models.store import Store
    from freehold.workflows.reproduce import reproduce

    settings.go_quiet()
    store = Store()
    model = store.find(name)
    result = reproduce(store, model, data, valid, progress.for_stream())
    if json:
        steps = [step.as_dict() for step in result.steps]
        print_json({"model": model.name, "steps": steps, "different_here": result.differences})
    else:
        words = {True: "the same", False: "DIFFERENT", None: "was not recorded"}
        print_table(
            ("step", "recorded", "computed", ""),
            [(step.step, step.recorded[:16], step.computed[:16], words[step.same]) for step in result.steps],
        )
        for difference in result.differences:
            print(f"different here: {difference}")
    if result.wrong:
        raise BadModel(
            f"different digest for: {', '.join(result.wrong)}",
            "; ".join(result.differences) or "everything recorded about the machine is the same: report this",
        )
