"""freehold rm"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "rm"


def command(
    name: Annotated[str, typer.Argument(help="Name of the model, or NAME@REVISION for one revision.")],
    json: Json = False,
) -> None:
    """Remove a model from the store; 'freehold gc' then frees the disk space.

    Example: freehold rm smollm2
    """
    from freehold.models.store import Store

    gone = Store().remove(name)
    if json:
        print_json([{"name": model.name, "revision": model.revision} for model in gone])
    else:
        print("\n".join(f"forgot {model.name}@{model.revision[:12]}" for model in gone))
