"""freehold trials"""

from __future__ import annotations

from freehold.cli.output import Json, print_json, print_table

NAME = "trials"
NEEDS_ARGUMENTS = False


def command(json: Json = False) -> None:
    """List the trials on this machine.

    Example: freehold trials
    """
    import json as codec

    from freehold.core import settings

    rows: list[tuple[str, ...]] = []
    for folder in sorted((settings.home() / "trials").glob("*"), key=lambda path: path.stat().st_mtime):
        file = folder / "report.json"
        if not file.exists():
            rows.append((folder.name, "", "unfinished", ""))
            continue
        report = codec.loads(file.read_text())
        verdict = report["verdict"]
        rows.append((folder.name, report["task"]["name"], verdict["verdict"], verdict["variant"]))
    if json:
        print_json([dict(zip(("id", "task", "verdict", "variant"), row, strict=True)) for row in rows])
    elif rows:
        print_table(("id", "task", "verdict", "variant"), rows)
    else:
        print("no trials yet; start one: freehold trial data.jsonl")
