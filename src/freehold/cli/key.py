"""freehold key: create, list, rotate, revoke"""

from __future__ import annotations

import time
from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json, print_secret, print_table, say

if TYPE_CHECKING:
    from freehold.servers.inference.api_keys import Key

app = typer.Typer(
    no_args_is_help=True,
    help="Keys for clients of 'freehold serve'.\n\nExample: freehold key create reception --model smollm2",
)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="NAME for the key, such as who will use it")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model that the key may use; may be repeated. All models if left out."),
    ] = None,
    days: Annotated[float, typer.Option(help="Days until the key expires; 0: never.", min=0)] = 0.0,
    requests: Annotated[
        int, typer.Option(help="Maximum number of requests per minute; 0: no limit.", min=0)
    ] = 0,
    tokens: Annotated[
        int,
        typer.Option(help="Maximum number of tokens per minute, of prompts and answers; 0: no limit.", min=0),
    ] = 0,
    concurrent: Annotated[
        int, typer.Option(help="Maximum number of requests at the same time; 0: no limit.", min=0)
    ] = 0,
    priority: Annotated[
        int, typer.Option(help="Waiting requests of keys with a higher number go first.")
    ] = 0,
    group: Annotated[str, typer.Option(help="Group of keys that may share computed prompts.")] = "",
    json: Json = False,
) -> None:
    """Create a key and show it once. As soon as there is a key, the server answers only requests with a key.

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
    overlap: Annotated[float, typer.Option(help="Hours for which the old key stays valid.", min=0)] = 0.0,
    json: Json = False,
) -> None:
    """Replace a key by a new one under the same name.

    Example: freehold key rotate reception --overlap 24
    """
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    Keys(Store()).rotate(name, overlap * 3600, show=lambda key: _show(key, name, json))
    _remind(json)


@app.command("list")
def listed(json: Json = False) -> None:
    """List keys with their models, limits and expiry dates.

    Example: freehold key list
    """
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    all_keys = Keys(Store()).list()
    if json:
        print_json(
            [
                {
                    "name": key.name,
                    "models": list(key.models),
                    "expires": _expiry(key),
                    **asdict(key.limits),
                }
                for key in all_keys
            ]
        )
        return
    print_table(
        ("name", "models", "expires", "requests/min", "tokens/min", "at once", "priority"),
        [_row(key) for key in all_keys],
    )


def _expiry(key: Key) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(key.expires)) if key.expires else "never"


def _row(key: Key) -> tuple[str, ...]:
    """A key in the table."""
    limits = (key.limits.requests_per_minute, key.limits.tokens_per_minute, key.limits.concurrent)
    return (
        key.name,
        ", ".join(key.models) or "all",
        _expiry(key),
        *(str(limit or "no limit") for limit in limits),
        str(key.limits.priority),
    )


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="NAME of the key")], json: Json = False) -> None:
    """Revoke a key: requests with it get 401.

    Example: freehold key revoke reception
    """
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    Keys(Store()).revoke(name)
    print_json({"revoked": name}) if json else print(f"the key {name} is revoked")


def _show(key: str, name: str, json: bool) -> None:
    print_secret(dumps({"name": name, "key": key}, indent=2) if json else key, "the key")


def _remind(json: bool) -> None:
    if not json:
        say("store it now: it cannot be shown again")
