"""freehold fit"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

NAME = "fit"
NEEDS_ARGUMENTS = False


def command(
    memory: Annotated[
        str,
        typer.Option(
            help="Memory of the device, e.g. 4GiB; the default is this machine's memory minus 1 GiB."
        ),
    ] = "",
    context: Annotated[int, typer.Option(help="Number of tokens of context that must fit as well.")] = 2048,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Also measure every stored model, and show how far the estimate is off."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show which models a device can run: those in the store, and known ones at 8, 4 and 2 bits.

    Example: freehold fit --memory 4GiB --context 4096
    """
    from freehold.core import engine_build, machine, settings
    from freehold.core.units import parse_bytes
    from freehold.models.store import Store
    from freehold.workflows import fit

    settings.go_quiet()
    store = Store()
    limit = parse_bytes(memory, "--memory", positive=True) if memory else machine.look().usable_bytes
    fits, how = fit.variants(store, limit, context)
    checks = fit.checked(store, fits) if check else []
    engine = engine_build.choose()
    if json:
        print_json(
            {
                "memory_bytes": limit,
                "context": context,
                "speeds": how,
                "engine": engine.name,
                "fits": [asdict(f) for f in fits],
                "checked": [check.as_dict() for check in checks],
            }
        )
        return
    print_table(
        ("model", "as", "MB", "fits", "tok/s", "licence", "why"),
        [
            (
                f.name + ("" if f.in_store else " (not pulled)"),
                f.kind,
                f"{f.size_bytes / 1e6:,.0f}",
                f.verdict,
                f"{f.tokens_per_second:.0f}" if f.tokens_per_second else "",
                f.licence or "none stated",
                f.reason,
            )
            for f in fits
        ],
    )
    print(how)
    print(f"text engine: {engine}")
    for stored in checks:
        print(
            f"checked   {stored.fit.name}: {stored.estimated:.0f} tokens/s estimated, "
            f"{stored.measured:.0f} measured ({stored.error:+.0%})"
        )
