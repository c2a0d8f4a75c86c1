"""freehold restore"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override

NAME = "restore"


def command(
    file: Annotated[Path, typer.Argument(help="An archive that 'freehold archive' wrote")],
    name: Annotated[str, typer.Option("--as", help="Name in the store; the archive's own if left out.")] = "",
    override: Override = "",
    json: Json = False,
) -> None:
    """Take a model in from an archive, every byte checked; it is the same revision afterwards.

    Its files are scanned and the policy in force is asked, as when a model is pulled.

    Example: freehold restore smollm2.tar --as smollm2
    """
    from freehold.core import progress, settings
    from freehold.models.store import Store
    from freehold.workflows.restore import restore

    settings.go_quiet()
    model = restore(Store(), file, name, progress.for_stream(), override=override, say=say)
    if json:
        print_json({"name": model.name, "revision": model.revision, "files": model.manifest})
    else:
        print(f"restored {model.name}@{model.revision[:12]}: freehold show {model.name}")
