"""freehold push"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override

NAME = "push"


def command(
    name: Annotated[str, typer.Argument(help="Name of a model in the store.")],
    to: Annotated[str, typer.Argument(help="Name of the repository on the hub, as ORG/NAME.")],
    hub: Annotated[
        str, typer.Option(help="Address of the hub, e.g. http://hub:8600; the default is HF_ENDPOINT.")
    ] = "",
    token_env: Annotated[
        str, typer.Option(help="Name of the environment variable that holds the token.")
    ] = "HF_TOKEN",
    with_examples: Annotated[
        bool,
        typer.Option(
            "--with-examples",
            help="Also share the training rows that the model's answer form shows as worked examples.",
        ),
    ] = False,
    override: Override = "",
    json: Json = False,
) -> None:
    """Upload a model to a hub, with its certificate, signature and notices.

    The rows it was trained on stay here.

    Example: freehold push tickets/smollm2 clinic/tickets --hub http://127.0.0.1:8600
    """
    import os

    from freehold.core import progress, settings
    from freehold.core.errors import UsageError
    from freehold.models.store import Store
    from freehold.workflows.push import PushOptions, push

    address = hub or os.environ.get("HF_ENDPOINT", "")
    if not address:
        raise UsageError("no hub was named", "name it with --hub, e.g. --hub http://127.0.0.1:8600")
    settings.plain_address(address)
    settings.go_quiet(online=True)
    store = Store()
    model = store.find(name)
    options = PushOptions(to, address, os.environ.get(token_env, ""), with_examples)
    commit = push(store, model, options, progress.for_stream(), override=override, say=say)
    print_json({"repository": to, "commit": commit, "hub": address}) if json else print(
        f"{model.name} is at {address}/{to}, commit {commit[:12]}"
    )
