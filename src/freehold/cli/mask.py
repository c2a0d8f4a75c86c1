"""freehold mask"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "mask"


def command(
    data: Annotated[Path, typer.Argument(help="Rows: .jsonl, .csv, .tsv or .parquet")],
    out: Annotated[
        Path | None, typer.Option(help="Write rows with the findings masked, as .jsonl of chat messages; without it they are counted only.")
    ] = None,
    columns: Annotated[str, typer.Option(help="Which column is which: text=body,label=team")] = "",
    json: Json = False,
) -> None:
    """Find personal data in rows before a model learns from them, and mask it.

    Example: freehold mask tickets.jsonl --out masked.jsonl
    """
    import json as encoding

    from freehold import durable
    from freehold.data.examples import parse_columns, read_examples
    from freehold.errors import UsageError
    from freehold.trust import personal

    examples = read_examples(data, parse_columns(columns) if columns else None).examples
    kinds, rows = personal.count(examples)
    if out is not None:
        if out.exists() and out.samefile(data):
            raise UsageError("--out names the rows themselves", "name another file")
        lines = [
            {"id": one.id, "messages": [{"role": role, "content": text} for role, text in one.messages], **one.reference}
            for one in personal.masked(examples)
        ]
        durable.write_atomically(out, "".join(encoding.dumps(line, ensure_ascii=False) + "\n" for line in lines))
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
