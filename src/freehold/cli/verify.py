"""freehold verify"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "verify"
NEEDS_ARGUMENTS = False


def command(name: Annotated[str, typer.Argument(help="NAME; every model if left out")] = "", json: Json = False) -> None:
    """Read every byte of a model again and compare it with its digest. Exit code 6 if anything was changed.

    Example: freehold verify smollm2
    """
    from freehold import progress
    from freehold.errors import BadModel
    from freehold.hub.store import Store

    store = Store()
    models = [store.find(name)] if name else store.models()
    faults = store.verify(models, progress.for_stream())
    if json:
        print_json({"models": [model.name for model in models], "faults": faults})
    elif not faults:
        print(f"{len(models)} models are as they were stored")
    if faults:
        raise BadModel("; ".join(faults), "pull it again, or restore the file from a backup")
