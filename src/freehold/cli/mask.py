"""freehold mask"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json
from freehold.cli.rows import Columns

NAME = "mask"


def command(
    data: Annotated[
        str, typer.Argument(help="Rows to read: a file, a folder, hub:ORG/NAME or sqlite:FILE?QUERY.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write the masked rows to, as JSON lines of chat messages; without it they are "
            "only counted."
        ),
    ] = None,
    columns: Columns = "",
    json: Json = False,
) -> None:
    """Find personal data in rows, and mask it before a model is trained on them.

    Example: freehold mask tickets.jsonl --out masked.jsonl
    """
    import json as encoding

    from freehold.cli.rows import options_of, say_read
    from freehold.core import atomic_files
    from freehold.core.errors import UsageError
    from freehold.data.examples import read_dataset
    from freehold.sources.datasets import local_source
    from freehold.trust import personal

    dataset = read_dataset(local_source(data), options_of(columns))
    say_read({"train": dataset})
    examples = dataset.examples
    kinds, rows = personal.count(examples)
    if out is not None:
        if out.exists() and Path(data).exists() and out.samefile(data):
            raise UsageError("--out is the file of rows itself", "name another file")
        lines = [
            {
                "id": row.id,
                "messages": [{"role": role, "content": text} for role, text in row.messages],
                **row.reference,
            }
            for row in personal.masked(examples)
        ]
        atomic_files.write_atomically(
            out, "".join(encoding.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        )
    if json:
        print_json(
            {
                "rows": len(examples),
                "rows_with_findings": len(rows),
                "kinds": dict(kinds),
                "ids": rows,
                "method": personal.LIMITS,
                "out": str(out or ""),
            }
        )
        return
    print(
        f"{len(rows)} of {len(examples)} rows hold personal data"
        + (": " + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()) if kinds else "")
    )
    print(f"found by {personal.LIMITS}")
    if out is not None:
        print(f"wrote {out}")
