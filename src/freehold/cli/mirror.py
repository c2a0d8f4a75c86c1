"""freehold mirror"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table, say
from freehold.cli.permission import Override

NAME = "mirror"
NEEDS_ARGUMENTS = False


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="hf:ORG/NAME, hf:datasets/ORG/NAME or http://HUB/ORG/NAME, each with @REVISION or without; all copies if left out"
        ),
    ] = "",
    name: Annotated[
        str, typer.Option("--as", help="What to call the copy here; by default the source's own name.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay, and fetch what changes, until Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks with --follow.", min=1)] = 300.0,
    token_env: Annotated[
        str, typer.Option(help="Environment variable that holds the token for the other hub.")
    ] = "",
    refuse_unsafe: Annotated[
        bool,
        typer.Option(
            "--refuse-unsafe",
            help="Refuse models with files that do harm when they are opened, such as pickles.",
        ),
    ] = False,
    override: Override = "",
    json: Json = False,
) -> None:
    """Copy a repository of another hub into this one, bit by bit, or bring copies up to date; without a source, list them.

    Example: freehold mirror hf:HuggingFaceTB/SmolLM2-135M-Instruct, then freehold hub serve; freehold mirror --follow keeps all copies current
    """
    from freehold.core import progress, settings
    from freehold.core.errors import NotFound, UsageError
    from freehold.hub.blob_store import BlobStore
    from freehold.hub.client import read_address
    from freehold.hub.mirror import Mirrored, mirror, mirrors
    from freehold.hub.repositories import Repositories
    from freehold.models.store import Store
    from freehold.trust import gate

    settings.go_quiet(online=True)
    token = settings.secret(token_env, "token")
    if name and not source:
        raise UsageError(
            "--as names a copy of one source, and no source was given",
            "give hf:ORG/NAME or http://HUB/ORG/NAME",
        )
    store = Store()
    contents = BlobStore(store)
    repositories = Repositories(
        store, contents, gate.commits(store, contents, strict=refuse_unsafe, reason=override, say=say)
    )
    known = mirrors(repositories.store)
    if not source and not follow:
        rows = [
            {
                "name": f"{m.kind}s/{m.name}",
                "source": str(m.source),
                "commit": m.commit,
                "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime(m.at)),
            }
            for m in known
        ]
        if json:
            print_json(rows)
        elif rows:
            print_table(
                ("name", "source", "commit", "at"),
                [(*list(row.values())[:2], row["commit"][:12], row["at"]) for row in rows],
            )
        else:
            print("no copies yet; make one: freehold mirror hf:ORG/NAME")
        return
    wanted = [(read_address(source), name)] if source else [(m.source, m.name) for m in known]
    if not wanted:
        raise UsageError(
            "there is nothing to follow: no repository here is a copy",
            "make one: freehold mirror hf:ORG/NAME",
        )

    def told(done: Mirrored) -> None:
        made = done.mirror
        if json:
            print_json({"name": made.name, "kind": made.kind, "source": str(made.source), "commit": made.commit, "changed": done.changed,
                        "files_fetched": done.files, "bytes_fetched": done.fetched, "bytes": done.held})  # fmt: skip
        else:
            what = (
                f"{done.files} files fetched, {done.fetched / 1e6:,.1f} of {done.held / 1e6:,.1f} MB"
                if done.changed
                else "up to date"
            )
            print(
                f"{made.kind}s/{made.name} stands at {made.commit[:12]} of {made.source}: {what}", flush=True
            )

    first = True
    while first or follow:
        if not first:
            time.sleep(every)
        for address, as_name in wanted:
            gate.Gate(store, override, say).source(f"{'hub' if address.endpoint else 'hf'}:{address.name}")
            try:
                done = mirror(
                    repositories,
                    address,
                    as_name,
                    token=token,
                    sink=progress.for_stream() if first else progress.silent,
                )
            except NotFound as error:
                if not follow:
                    raise
                say(f"{address}: {error.message}; looking again in {every:.0f} s")
                continue
            if first or done.changed:
                told(done)
        first = False
