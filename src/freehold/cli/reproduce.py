"""freehold reproduce"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

NAME = "reproduce"


def command(
    name: Annotated[str, typer.Argument(help="Name of a model that was tuned on this machine.")],
    data: Annotated[
        Path | None, typer.Option(help="The rows it was tuned on; not needed for models of a trial.")
    ] = None,
    valid: Annotated[
        Path | None,
        typer.Option(help="The validation rows it was tuned with, if they were in a file of their own."),
    ] = None,
    json: Json = False,
) -> None:
    """Repeat the recorded steps of a model and compare the digests. Exit code 6 if one differs.

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
            ("step", "recorded", "found", ""),
            [(step.step, step.recorded[:16], step.computed[:16], words[step.same]) for step in result.steps],
        )
        for difference in result.differences:
            print(f"different here: {difference}")
    if result.wrong:
        raise BadModel(
            f"{', '.join(result.wrong)} came out differently",
            "; ".join(result.differences) or "everything recorded is the same here: report this",
        )
