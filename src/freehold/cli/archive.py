"""freehold archive"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "archive"


def command(
    name: Annotated[str, typer.Argument(help="Name of a model in the store, or NAME@REVISION.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; the default is NAME.tar.")
    ] = None,
    with_runtime: Annotated[
        bool,
        typer.Option(
            "--with-runtime",
            help="Also include what runs the model: a program and the engine's wheels, which pip fetches or "
            "builds.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write a model with its card, lineage and digests into one tar file.

    The file needs nothing else. 'freehold restore' reads it into a store.

    Example: freehold archive banking77/smollm2-q4_k_m -o smollm2.tar
    """
    import tempfile

    from freehold.core import progress
    from freehold.data.templates import PLAIN, PLAIN_STOP
    from freehold.models.archive import archive
    from freehold.models.archive_runtime import gather
    from freehold.models.store import Store

    store = Store()
    model = store.find(name)
    sink = progress.for_stream()
    with tempfile.TemporaryDirectory(dir=store.incoming) as folder:
        runtime_folder = Path(folder) / "runtime"
        runtime = (
            gather(model, runtime_folder, sink, plain_template=PLAIN, plain_stop=PLAIN_STOP)
            if with_runtime
            else None
        )
        written = archive(
            store, model, out or Path(model.name.replace("/", "-") + ".tar"), sink, runtime=runtime
        )
    size = written.stat().st_size
    if json:
        print_json({"file": str(written), "bytes": size, "name": model.name, "revision": model.revision})
    else:
        print(f"wrote {written}, {size / 1e6:,.1f} MB: {model.name}@{model.revision[:12]}")
