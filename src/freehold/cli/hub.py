"""freehold hub: serve, token, check, gc"""

from __future__ import annotations

import sys
from json import dumps
from typing import Annotated

import typer

from freehold.cli.listening import AllowHost, Connections, ConnectionsEach, limits, site
from freehold.cli.output import Json, print_json, print_secret, print_table, say
from freehold.core.wording import counted

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
        str, typer.Option(help="Address to listen on; one that other machines can reach needs a token first.")
    ] = "127.0.0.1",
    refuse_unsafe: Annotated[
        bool,
        typer.Option(
            "--refuse-unsafe",
            help="Refuse commits that add files to a model which can run code when opened, such as pickles.",
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
        say(f"the hub is at {address}; point clients there with HF_ENDPOINT={address} (Ctrl-C stops it)")
    listening.run(
        make_app(store, loopback=loopback, strict=refuse_unsafe, site=allowed),
        listener,
        limits(connections, connections_each),
        timeout_graceful_shutdown=20,
    )


@token.command("create")
def create(
    user: Annotated[str, typer.Argument(help="USER that the token is for; created if new")],
    role: Annotated[
        str,
        typer.Option(
            help="What the token may do: read, write (in its user's and organisations' names), or admin."
        ),
    ] = "write",
    label: Annotated[str, typer.Option(help="Note to show in the list.")] = "",
    days: Annotated[float, typer.Option(help="Days until the token expires; 0: never.")] = 0.0,
    organisation: Annotated[
        list[str] | None,
        typer.Option(help="Organisation that the user joins with this role; may be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Create a token and show it once. As soon as there is a token, writing to the hub needs one.

    Example: freehold hub token create ada --role write --organisation clinic
    """
    from freehold.hub.users import Users
    from freehold.models.store import Store

    accounts = Users(Store())

    def show(secret: str) -> None:
        text = dumps({"token": secret, "user": user, "role": role}, indent=2) if json else secret
        print_secret(text, "the token")

    accounts.create_token(user, role=role, label=label, days=days, show=show)
    for name in organisation or []:
        accounts.add(name, organisation=True)
        accounts.join(name, user, role)
    if not json:
        say("keep it: the hub stores only its digest and cannot show it again")


@token.command("list")
def list_tokens(json: Json = False) -> None:
    """List the tokens, by the start of their digests.

    Example: freehold hub token list
    """
    import time

    from freehold.hub.users import Users
    from freehold.models.store import Store

    rows = [
        {
            "digest": row.digest[:12],
            "user": row.user,
            "role": row.role,
            "label": row.label,
            "expires": time.strftime("%Y-%m-%d", time.gmtime(row.expires)) if row.expires else "never",
        }
        for row in Users(Store()).tokens()
    ]
    if json:
        print_json(rows)
    else:
        print_table(["digest", "user", "role", "label", "expires"], [list(row.values()) for row in rows])


@token.command("revoke")
def revoke(
    digest: Annotated[str, typer.Argument(help="Start of the token's DIGEST, as the list shows it")],
    json: Json = False,
) -> None:
    """Revoke a token.

    Example: freehold hub token revoke 3fa9c1d20b77
    """
    from freehold.hub.users import Users
    from freehold.models.store import Store

    revoked = Users(Store()).revoke(digest)
    if json:
        print_json({"revoked": revoked.digest[:12], "user": revoked.user})
    else:
        print(f"the token {revoked.digest[:12]} of {revoked.user} is no longer valid")


@app.command("check")
def check(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="First rebuild the search index and the list of contents that 'freehold hub gc' keeps, and "
            "move damaged contents aside, so that their files can be uploaded again.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check that all branches, commits, files and the audit log are intact. Exit code 6 when they are not.

    Example: freehold hub check --repair
    """
    from freehold.hub import repository_checks
    from freehold.hub.repositories import Repositories
    from freehold.hub.users import Users
    from freehold.models.store import Store

    store = Store()
    repositories = Repositories(store)
    fixed = (
        repository_checks.repair(repositories) + repository_checks.set_damaged_aside(repositories)
        if repair
        else []
    )
    faults = repository_checks.check(repositories) + Users(store).audit_faults()
    for sentence in fixed if not json else []:
        print(f"fixed: {sentence}")
    if json:
        print_json({"faults": faults} | ({"mended": fixed} if repair else {}))
    elif faults:
        for fault in faults:
            print(fault)
    else:
        print("all branches, commits, files and the audit log are intact")
    if faults:
        sys.exit(6)


@app.command("gc")
def gc(json: Json = False) -> None:
    """Delete contents that no repository, model or upload needs.

    Example: freehold hub gc
    """
    from freehold.hub.repositories import Repositories
    from freehold.models.store import Store

    count, freed = Repositories(Store()).collect()
    if json:
        print_json({"files": count, "bytes": freed})
    else:
        print(f"removed {counted(count, 'file')}, {freed / 1e6:.1f} MB")
