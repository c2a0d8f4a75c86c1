"""freehold store: check, repair"""

from __future__ import annotations

import sys

import typer

from freehold.cli.output import Json, print_json, say

app = typer.Typer(
    no_args_is_help=True,
    help="Check the store, and repair it after damage.\n\nExample: freehold store check",
)


@app.command("check")
def check(json: Json = False) -> None:
    """Read every byte of the store, and check its catalogue and manifests.

    Exit code 15 if something is wrong.

    The hub's repositories are checked by 'freehold hub check'.

    Example: freehold store check --json
    """
    from dataclasses import asdict

    from freehold.core import progress, settings
    from freehold.core.errors import DamagedStore
    from freehold.models.integrity import check as check_store

    faults = check_store(settings.home(), progress.for_stream())
    if json:
        print_json({"faults": [asdict(fault) for fault in faults]})
    elif faults:
        for fault in faults:
            print(fault)
    else:
        print("the store is complete: its catalogue, its manifests and every byte of its models")
    if faults:
        sys.exit(DamagedStore.exit_code)


@app.command("repair")
def repair(json: Json = False) -> None:
    """Rebuild a damaged or lost catalogue from the models' manifests, and move damaged files aside.

    Nothing is deleted: damaged files are kept in the folder 'damaged' of the home. Exit code 15 if something
    is left to do.

    Example: freehold store repair
    """
    from freehold.core import progress, settings
    from freehold.core.errors import DamagedStore
    from freehold.hub.rebuild import repair as repair_store

    result = repair_store(settings.home(), progress.for_stream())
    if json:
        print_json({"done": result.done, "left": result.left})
    else:
        for sentence in result.done:
            print(sentence)
        for sentence in result.left:
            say(f"left to do: {sentence}")
        if not result.done and not result.left:
            print("the store is complete; nothing was changed")
    if result.left:
        sys.exit(DamagedStore.exit_code)
