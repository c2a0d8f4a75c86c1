"""freehold restore"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override

NAME = "restore"


def command(
    file: Annotated[Path, typer.Argument(help="Archive that 'freehold archive' wrote.")],
    name: Annotated[
        str,
        typer.Option("--as", help="Name of the model in the store; the default is its name in the archive."),
    ] = "",
    override: Override = "",
    json: Json = False,
) -> None:
    """Add a model from an archive to the store, and check every byte.

    It keeps its revision. Its files are scanned and the policy applies, as for a model that is pulled.

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
