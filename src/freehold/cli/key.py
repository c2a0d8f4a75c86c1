"""freehold key: create, list, rotate, revoke"""

from __future__ import annotations

import time
from json import dumps
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_secret, print_table, say

app = typer.Typer(
    no_args_is_help=True,
    help="Keys for the clients of 'freehold serve'.\n\nExample: freehold key create reception --model smollm2 --days 90",
)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="NAME of who will use it")],
    model: Annotated[
        list[str] | None, typer.Option(help="A model it may ask; may be repeated; all if left out.")
    ] = None,
    days: Annotated[float, typer.Option(help="Days until it expires; 0: never.", min=0)] = 0.0,
    requests: Annotated[int, typer.Option(help="Requests a minute; 0: no limit.", min=0)] = 0,
    tokens: Annotated[
        int, typer.Option(help="Tokens a minute, prompts and answers; 0: no limit.", min=0)
    ] = 0,
    concurrent: Annotated[int, typer.Option(help="Requests at once; 0: no limit.", min=0)] = 0,
    priority: Annotated[int, typer.Option(help="Higher goes before lower where requests wait.")] = 0,
    group: Annotated[
        str, typer.Option(help="Keys of one group may reuse what was computed of each other's prompts.")
    ] = "",
    json: Json = False,
) -> None:
    """Make a key and show it, this once. From the first one on, the server answers to keys only.

    Example: freehold key create reception --model smollm2 --days 90 --requests 60
    """
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys, Limits

    Keys(Store()).create(
        name,
        models=model or [],
        days=days,
        limits=Limits(requests, tokens, concurrent, priority, group),
        show=lambda key: _show(key, name, json),
    )
    _remind(json)


@app.command("rotate")
def rotate(
    name: Annotated[str, typer.Argument(help="NAME of the key")],
    overlap: Annotated[float, typer.Option(help="Hours for which the old one stays good.", min=0)] = 0.0,
    json: Json = False,
) -> None:
    """Put a new key in an old one's place.

    Example: freehold key rotate reception --overlap 24
    """
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    Keys(Store()).rotate(name, overlap * 3600, show=lambda key: _show(key, name, json))
    _remind(json)


@app.command("list")
def listed(json: Json = False) -> None:
    """List keys by name.

    Example: freehold key list
    """
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    rows = [
        {"name": one.name, "models": list(one.models), "expires": time.strftime("%Y-%m-%d", time.gmtime(one.expires)) if one.expires else "never",
         **one.limits.__dict__}
        for one in Keys(Store()).list()
    ]  # fmt: skip
    if json:
        print_json(rows)
        return
    print_table(
        ("name", "models", "expires", "requests/min", "tokens/min", "at once", "priority"),
        [(row["name"], ", ".join(row["models"]) or "all", row["expires"], *(str(row[key] or "no limit") for key in
          ("requests_per_minute", "tokens_per_minute", "concurrent")), str(row["priority"])) for row in rows],
    )  # fmt: skip


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="NAME of the key")], json: Json = False) -> None:
    """Take a key back.

    Example: freehold key revoke reception
    """
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    Keys(Store()).revoke(name)
    print_json({"revoked": name}) if json else print(f"the key {name} is no longer good")


def _show(key: str, name: str, json: bool) -> None:
    print_secret(dumps({"name": name, "key": key}, indent=2) if json else key, "the key")


def _remind(json: bool) -> None:
    if not json:
        say("keep it: only its digest is stored, and it cannot be shown again")
