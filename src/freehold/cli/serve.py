"""freehold serve"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say

NAME = "serve"


def command(
    name: Annotated[str, typer.Argument(help="NAME of a model in the store")],
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8601,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs --key-env.")] = "127.0.0.1",
    key_env: Annotated[str, typer.Option(help="Environment variable that holds the key clients must send.")] = "",
    parallel: Annotated[int, typer.Option(help="Answers at once.")] = 8,
    context: Annotated[int, typer.Option(help="Tokens of all running answers together.")] = 8192,
    json: Json = False,
) -> None:
    """Serve a model to OpenAI clients: chat completions, streaming too.

    Example: freehold serve smollm2 --port 8601, then point a client's base URL at http://127.0.0.1:8601/v1
    """
    import os

    from freehold import settings
    from freehold.errors import UsageError
    from freehold.hub.store import Store
    from freehold.listening import is_loopback
    from freehold.serve.app import serve

    settings.go_quiet()
    key = os.environ.get(key_env, "") if key_env else ""
    if key_env and not key:
        raise UsageError(f"the environment variable {key_env} holds no key", f"export {key_env}=...")
    if not is_loopback(host) and not key:
        raise UsageError(f"listening on {host} lets others in, and no key was set", "pass --key-env NAME, or listen on 127.0.0.1")

    def ready(address: str) -> None:
        if json:
            print_json({"model": name, "base_url": f"{address}/v1"})
        else:
            say(f"serving {name} at {address}/v1 (Ctrl-C ends it)")

    serve(Store(), name, host=host, port=port, key=key, parallel=parallel, context_length=context, ready=ready)
