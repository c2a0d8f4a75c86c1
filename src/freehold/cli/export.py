"""freehold export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "export"


def command(
    name: Annotated[str, typer.Argument(help="Name of a model in the store.")],
    to: Annotated[str, typer.Option(help="Format to write: gguf, ollama, peft or merged.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("export"),
    json: Json = False,
) -> None:
    """Write a model in a standard format, and check that it answers like the stored one.

    Example: freehold export banking77/smollm2-q4_k_m --to ollama --out export
    """
    from freehold.core import progress, settings
    from freehold.models.store import Store
    from freehold.workflows.export import ExportOptions, export

    settings.go_quiet()
    exported = export(Store(), name, ExportOptions(to, out), progress.for_stream())
    if json:
        print_json({"files": [str(path) for path in exported.files], "proof": exported.proof})
    else:
        print("\n".join(f"wrote {path}" for path in exported.files))
        print(f"proven: {exported.proof}")
