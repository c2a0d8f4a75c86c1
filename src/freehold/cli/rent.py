"""freehold rent"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say

NAME = "rent"


def command(
    arguments: Annotated[
        list[str], typer.Argument(help="The command to run on the rented machine, after --: trial or serve.")
    ],
    card: Annotated[str, typer.Option(help="Card to rent, e.g. L4 or H100:2.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the task files only; nothing is rented or sent.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the task files to.")] = Path(),
    install: Annotated[
        str,
        typer.Option(
            help="What pip installs on the rented machine; the default is this version of Freehold."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Write task files that run a trial or a server on a rented card, for SkyPilot and for dstack.

    Freehold rents nothing itself: it says what would leave this machine and what an hour costs, and writes
    the files. You start them with 'sky launch' or 'dstack apply'.

    Example: freehold rent --dry-run --card L4 -- trial tickets.jsonl --model smollm2 --need "accuracy>=0.9"
    """
    from freehold.core import settings
    from freehold.core.errors import UsageError
    from freehold.models.store import Store
    from freehold.workflows import rent

    settings.go_quiet()
    if not dry_run:
        raise UsageError(
            "freehold rent starts nothing by itself", "pass --dry-run to write the task files, then start one"
        )
    plan = rent.plan(
        Store(), arguments, rent.parse_card(card), install, spellings=spellings(next(iter(arguments), ""))
    )
    for line in (*rent.leaving(plan), rent.price_sentence(plan)):
        say(line)
    files = rent.write(plan, out)
    if json:
        price = plan.price
        print_json(
            {
                "files": [str(file) for file in files],
                "leaves_this_machine": [{"kind": s.kind, "bytes": s.size_bytes} for s in plan.sent],
                "dollars_per_hour": price.dollars_per_hour if price else None,
                "price_source": price.source if price else None,
            }
        )
        return
    print(
        f"wrote {files[0]}; put the files beside it and start it with: sky launch -c {plan.name} -i 30 "
        f"{files[0]}"
    )
    print(f"wrote {files[1]}; start it with: dstack apply -f {files[1]}")
    if plan.verb == "serve":
        print(f"reach the server by: ssh -L {rent.PORT}:localhost:{rent.PORT} {plan.name}")
    else:
        print(f"fetch the report with: scp -r {plan.name}:{rent.REMOTE_REPORT} .")


def spellings(verb: str) -> dict[str, bool]:
    """The options of a verb as they are typed, each with whether it takes a value; of no verb, none."""
    from freehold.cli.main import app

    command = typer.main.get_command(app).commands.get(verb)  # type: ignore[attr-defined]
    options = [param for param in command.params if param.param_type_name == "option"] if command else []
    return {name: not param.is_flag for param in options for name in (*param.opts, *param.secondary_opts)}
