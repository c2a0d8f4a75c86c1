"""freehold signer: create, list, rotate, revoke, trust, distrust"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from freehold.trust.keys import Key

app = typer.Typer(
    no_args_is_help=True,
    help="Manage the keys that sign models and certificates.\n\nExample: freehold signer create clinic",
)


def _key_json(key: object) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(key).items()}


@app.command("create")
def create(name: Annotated[str, typer.Argument(help="Name of the key.")], json: Json = False) -> None:
    """Create a key pair; only you can read the private key, which stays here.

    Example: freehold signer create clinic
    """
    from freehold.trust.keys import Keyring

    key = Keyring().create(name)
    print_json(_key_json(key)) if json else print(
        f"{key.name}  {key.id[:16]}\ngive this file to those who verify: {key.path}"
    )


@app.command("list")
def listed(json: Json = False) -> None:
    """List your own keys and those you trust.

    Example: freehold signer list
    """
    from freehold.trust.keys import Keyring

    keys = Keyring().all()
    if json:
        print_json([_key_json(key) for key in keys])
        return
    print_table(
        ("name", "id", "whose", "state"),
        [(key.name, key.id[:16], "own" if key.own else "trusted", _state(key)) for key in keys],
    )


def _state(key: Key) -> str:
    """In words, whether what a key signs counts."""
    if key.revoked:
        return f"revoked: {key.revoked}"
    if key.replaced:
        return f"replaced on {time.strftime('%Y-%m-%d', time.gmtime(key.replaced))}"
    return ""


@app.command("rotate")
def rotate(
    name: Annotated[str, typer.Argument(help="Name of one of your keys.")], json: Json = False
) -> None:
    """Replace a key with a new one that the old key signs.

    Whoever trusts the old key can then trust the new one.

    Example: freehold signer rotate clinic
    """
    from freehold.trust.keys import Keyring

    ring = Keyring()
    old = ring.find(name)
    key = ring.rotate(name)
    succession = ring.folder / "succession" / f"{old.id}.json"
    print_json({**_key_json(key), "succession": str(succession)}) if json else print(
        f"{key.name}  {key.id[:16]}\ngive this file to those who trust the old key: {succession}"
    )


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Name of one of your keys.")],
    reason: Annotated[str, typer.Option(help="Reason, which others will read.")] = "",
    json: Json = False,
) -> None:
    """Declare a key invalid, with everything it has ever signed.

    That includes models, certificates and the successor it named.

    Example: freehold signer revoke clinic --reason "laptop stolen"
    """
    from freehold.trust.keys import Keyring

    ring = Keyring()
    key = ring.find(name)
    revocation = ring.revoke(name, reason)
    successors = [successor for successor in ring.successors(key) if successor.own and not successor.revoked]
    if json:
        print_json({"revocation": str(revocation)})
        return
    print(f"revoked; give this file to those who trust the key: {revocation}")
    for successor in successors:
        print(
            f"others knew {successor.name} only through it: give them its own public file: {successor.path}"
        )


@app.command("trust")
def trust(
    file: Annotated[
        Path, typer.Argument(help="Public key, or a revocation or succession of a key you trust.")
    ],
    name: Annotated[
        str, typer.Option("--as", help="Name for the key; the default is the name of the file.")
    ] = "",
    json: Json = False,
) -> None:
    """Trust a key, or read its revocation or succession.

    Example: freehold signer trust clinic.pub
    """
    from freehold.trust.keys import Keyring

    key = Keyring().trust(file, name)
    print_json(_key_json(key)) if json else print(
        f"{key.name}  {key.id[:16]}  {'revoked: ' + key.revoked if key.revoked else 'trusted'}"
    )


@app.command("distrust")
def distrust(
    name: Annotated[str, typer.Argument(help="Name or id of a key you trust.")], json: Json = False
) -> None:
    """Stop trusting a key.

    Example: freehold signer distrust clinic
    """
    from freehold.trust.keys import Keyring

    key = Keyring().distrust(name)
    print_json(_key_json(key)) if json else print(f"{key.name} is no longer trusted")
