"""freehold mirror"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json, print_table, say
from freehold.cli.permission import Override
from freehold.core.wording import counted

if TYPE_CHECKING:
    from freehold.hub.client import Address
    from freehold.hub.mirror import Mirror, Mirrored
    from freehold.hub.repositories import Repositories
    from freehold.trust.gate import Gate

NAME = "mirror"
NEEDS_ARGUMENTS = False


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="Repository to copy: hf:ORG/NAME, hf:datasets/ORG/NAME or http://HUB/ORG/NAME, with or "
            "without @REVISION. Without a source, all copies are listed."
        ),
    ] = "",
    name: Annotated[
        str, typer.Option("--as", help="Name of the copy; by default the name of the source.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep running and fetch changes until Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two checks with --follow.", min=1)] = 300.0,
    token_env: Annotated[
        str, typer.Option(help="Environment variable that holds the token for the other hub.")
    ] = "",
    refuse_unsafe: Annotated[
        bool,
        typer.Option(
            "--refuse-unsafe",
            help="Refuse models with files that can run code when they are opened, such as pickles.",
        ),
    ] = False,
    override: Override = "",
    json: Json = False,
) -> None:
    """Copy a repository of another hub into this one, or update the copies; without a source, list them.

    Example: freehold mirror hf:HuggingFaceTB/SmolLM2-135M-Instruct, then freehold hub serve

    Example: freehold mirror --follow, which keeps all copies up to date
    """
    from freehold.core import settings
    from freehold.core.errors import UsageError
    from freehold.hub.blob_store import BlobStore
    from freehold.hub.client import read_address
    from freehold.hub.mirror import mirrors
    from freehold.hub.repositories import Repositories
    from freehold.models.store import Store
    from freehold.trust import gate

    settings.go_quiet(online=True)
    token = settings.secret(token_env, "token")
    if name and not source:
        raise UsageError(
            "--as names the copy of one source, and there is no source",
            "add a source: hf:ORG/NAME or http://HUB/ORG/NAME",
        )
    store = Store()
    copies = mirrors(store)
    if not source and not follow:
        _list(copies, json)
        return
    blobs = BlobStore(store)
    repositories = Repositories(
        store, blobs, gate.commits(store, blobs, strict=refuse_unsafe, reason=override, say=say)
    )
    sources = [(read_address(source), name)] if source else [(copy.source, copy.name) for copy in copies]
    if not sources:
        raise UsageError(
            "there is nothing to follow: no repository here is a copy",
            "make one: freehold mirror hf:ORG/NAME",
        )
    updates = _Updates(repositories, gate.Gate(store, override, say), token, follow, every, json)
    updates.run(sources)


def _list(copies: Sequence[Mirror], json: bool) -> None:
    rows = [
        {
            "name": f"{copy.kind}s/{copy.name}",
            "source": str(copy.source),
            "commit": copy.commit,
            "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime(copy.at)),
        }
        for copy in copies
    ]
    if json:
        print_json(rows)
    elif rows:
        print_table(
            ("name", "source", "commit", "at"),
            [(row["name"], row["source"], row["commit"][:12], row["at"]) for row in rows],
        )
    else:
        print("no copies yet; make one: freehold mirror hf:ORG/NAME")


@dataclass(frozen=True)
class _Updates:
    """Brings copies up to date, once or again and again."""

    repositories: Repositories
    gate: Gate
    token: str
    follow: bool
    every_s: float
    json: bool

    def run(self, sources: Sequence[tuple[Address, str]]) -> None:
        """Update each (source, name of the copy). Raises FreeholdError."""
        self._round(sources, is_first=True)
        while self.follow:
            time.sleep(self.every_s)
            self._round(sources, is_first=False)

    def _round(self, sources: Sequence[tuple[Address, str]], *, is_first: bool) -> None:
        from freehold.core import progress
        from freehold.core.errors import NotFound
        from freehold.hub.mirror import mirror

        sink = progress.for_stream() if is_first else progress.silent
        for source, name in sources:
            self.gate.source(f"{'hub' if source.endpoint else 'hf'}:{source.name}")
            try:
                result = mirror(self.repositories, source, name, token=self.token, sink=sink)
            except NotFound as error:
                if not self.follow:
                    raise
                say(f"{source}: {error.message}; trying again in {self.every_s:.0f} s")
                continue
            if is_first or result.changed:
                self._print(result)

    def _print(self, result: Mirrored) -> None:
        copy = result.mirror
        if self.json:
            print_json(
                {
                    "name": copy.name,
                    "kind": copy.kind,
                    "source": str(copy.source),
                    "commit": copy.commit,
                    "changed": result.changed,
                    "files_fetched": result.files,
                    "bytes_fetched": result.fetched,
                    "bytes": result.held,
                }
            )
            return
        files = f"{counted(result.files, 'file')} fetched"
        megabytes = f"{result.fetched / 1e6:,.1f} of {result.held / 1e6:,.1f} MB"
        what = f"{files}, {megabytes}" if result.changed else "up to date"
        print(f"{copy.kind}s/{copy.name} is at {copy.commit[:12]} of {copy.source}: {what}", flush=True)
