"""freehold restore"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "restore"


def command(
    file: Annotated[Path, typer.Argument(help="An archive that 'freehold archive' wrote")],
    name: Annotated[str, typer.Option("--as", help="Name in the store; the archive's own if left out.")] = "",
    json: Json = False,
) -> None:
    """Take a model in from an archive, every byte checked; it is the same revision afterwards.

    Example: freehold restore smollm2.tar --as smollm2
    """
    from freehold import progress
    from freehold.hub.archive import restore
    from freehold.hub.store import Store

    model = restore(Store(), file, name, progress.for_stream())
    if json:
        print_json({"name": model.name, "revision": model.revision, "files": model.manifest})
    else:
        print(f"restored {model.name}@{model.revision[:12]}: freehold show {model.name}")
