"""freehold hub: serve, token, check, gc"""

from __future__ import annotations

import sys
from json import dumps
from typing import Annotated

import typer

from freehold.cli.listening import AllowHost, Connections, ConnectionsEach, limits, site
from freehold.cli.output import Json, print_json, print_secret, print_table, say

app = typer.Typer(
    no_args_is_help=True,
    help="Keep and share models and datasets: a hub that speaks the Hugging Face Hub's protocol.\n\n"
    "Example: freehold hub serve, then HF_ENDPOINT=http://127.0.0.1:8600 hf upload me/model ./folder",
)
token = typer.Typer(
    no_args_is_help=True,
    help="Tokens for the hub's users.\n\nExample: freehold hub token create ada --role write",
)
app.add_typer(token, name="token")


@app.command("serve")
def serve(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8600,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs a token to exist.")
    ] = "127.0.0.1",
    refuse_unsafe: Annotated[
        bool,
        typer.Option(
            "--refuse-unsafe",
            help="Refuse commits that bring files to a model which do harm when they are opened, such as pickles.",
        ),
    ] = False,
    allow_host: AllowHost = None,
    connections: Connections = 0,
    connections_each: ConnectionsEach = 256,
    json: Json = False,
) -> None:
    """Serve the hub; clients reach it with HF_ENDPOINT.

    Example: freehold hub serve --port 8600
    """
    from freehold.core import settings
    from freehold.core.errors import UsageError
    from freehold.hub.users import Users
    from freehold.models.store import Store
    from freehold.servers import listening
    from freehold.servers.hub.app import make_app
    from freehold.servers.hub.session import Known
    from freehold.trial.evidence import measured
    from freehold.trust import gate, scan
    from freehold.trust.licence import duties

    settings.go_quiet()
    store = Store()
    loopback, unclaimed = listening.is_loopback(host), Users(store).open
    if not loopback and unclaimed:
        raise UsageError(
            f"listening on {host} lets others in, and the hub has no token yet",
            "create one: freehold hub token create NAME --role admin",
        )
    allowed = site(host, allow_host or ())
    listener = listening.listen(host, port)
    address = listening.address("127.0.0.1" if host == "0.0.0.0" else host, listener)
    if json:
        print_json({"address": address, "open": unclaimed})
        sys.stdout.flush()
    else:
        say(f"the hub is at {address}; point clients there with HF_ENDPOINT={address} (Ctrl-C ends it)")
    known = Known(duties, measured, scan.dangers, scan.RULES, gate.allows_push(store))
    listening.run(
        make_app(store, loopback=loopback, known=known, strict=refuse_unsafe, site=allowed),
        listener,
        limits(connections, connections_each),
        timeout_graceful_shutdown=20,
    )


@token.command("create")
def create(
    user: Annotated[str, typer.Argument(help="USER the token stands for; made if new")],
    role: Annotated[
        str,
        typer.Option(help="What it may do: read, write (in its user's and organisations' names), or admin."),
    ] = "write",
    label: Annotated[str, typer.Option(help="A note for the list.")] = "",
    days: Annotated[float, typer.Option(help="Days until it expires; 0: never.")] = 0.0,
    organisation: Annotated[
        list[str] | None,
        typer.Option(help="Organisation that the user joins with this role; may be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a token and show it, this once. From the first one on, the hub answers to tokens only.

    Example: freehold hub token create ada --role write --organisation clinic
    """
    from freehold.hub.users import Users
    from freehold.models.store import Store

    accounts = Users(Store())
    told = (lambda made: dumps({"token": made, "user": user, "role": role}, indent=2)) if json else str
    accounts.create_token(
        user, role=role, label=label, days=days, show=lambda made: print_secret(told(made), "the token")
    )
    for name in organisation or []:
        accounts.add(name, organisation=True)
        accounts.join(name, user, role)
    if not json:
        say("keep it: the hub holds only its digest and cannot show it again")


@token.command("list")
def listed(json: Json = False) -> None:
    """List tokens by the start of their digests.

    Example: freehold hub token list
    """
    import time

    from freehold.hub.users import Users
    from freehold.models.store import Store

    rows = [
        {"digest": one.digest[:12], "user": one.user, "role": one.role, "label": one.label,
         "expires": time.strftime("%Y-%m-%d", time.gmtime(one.expires)) if one.expires else "never"}
        for one in Users(Store()).tokens()
    ]  # fmt: skip
    if json:
        print_json(rows)
    else:
        print_table(["digest", "user", "role", "label", "expires"], [list(row.values()) for row in rows])


@token.command("revoke")
def revoke(
    digest: Annotated[str, typer.Argument(help="Start of the token's DIGEST, as the list shows it")],
    json: Json = False,
) -> None:
    """Take a token back.

    Example: freehold hub token revoke 3fa9c1d20b77
    """
    from freehold.hub.users import Users
    from freehold.models.store import Store

    gone = Users(Store()).revoke(digest)
    if json:
        print_json({"revoked": gone.digest[:12], "user": gone.user})
    else:
        print(f"the token {gone.digest[:12]} of {gone.user} is no longer valid")


@app.command("check")
def check(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="First fix what can be fixed: what search knows, and what 'freehold hub gc' keeps. Damaged bytes are moved "
            "aside, so that their files can be uploaded again.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Prove that every branch, commit, file and the audit log are whole. Exit code 6 when they are not.

    Example: freehold hub check --repair
    """
    from freehold.hub import repository_checks
    from freehold.hub.repositories import Repositories
    from freehold.hub.users import Users
    from freehold.models.store import Store

    store = Store()
    repositories = Repositories(store)
    mended = (
        repository_checks.repair(repositories) + repository_checks.set_damaged_aside(repositories)
        if repair
        else []
    )
    faults = repository_checks.check(repositories) + Users(store).audit_faults()
    for sentence in mended if not json else []:
        print(f"fixed: {sentence}")
    if json:
        print_json({"faults": faults} | ({"mended": mended} if repair else {}))
    elif faults:
        for fault in faults:
            print(fault)
    else:
        print("every branch, commit and file is whole, and so is the audit log")
    if faults:
        sys.exit(6)


@app.command("gc")
def gc(json: Json = False) -> None:
    """Remove bytes that no repository, model or upload needs.

    Example: freehold hub gc
    """
    from freehold.hub.repositories import Repositories
    from freehold.models.store import Store

    count, freed = Repositories(Store()).collect()
    if json:
        print_json({"files": count, "bytes": freed})
    else:
        print(f"removed {count} files, {freed / 1e6:.1f} MB")
