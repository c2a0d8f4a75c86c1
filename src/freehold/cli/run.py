"""freehold run"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say

NAME = "run"


def command(
    name: Annotated[str, typer.Argument(help="NAME of a model in the store")],
    prompt: Annotated[str, typer.Argument(help="What to ask")],
    system: Annotated[
        str | None, typer.Option(help="System message; by default the one the model was tuned with, if any.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed for a temperature above 0.")] = 0,
    json: Json = False,
) -> None:
    """Answer one prompt.

    Example: freehold run smollm2 "Name three uses of a brick."
    """
    from freehold import settings
    from freehold.engines.interface import Request
    from freehold.engines.session import open_session
    from freehold.hub.store import Store
    from freehold.trial.forms import runnable

    settings.go_quiet()
    store = Store()
    model = runnable(store, store.find(name), say)
    session = open_session(store, f"{model.name}@{model.revision}")
    said = session.system if system is None else system
    if said and system is None:
        say(f"system message (the one it was tuned with): {said}")
    messages = ((("system", said),) if said else ()) + (("user", prompt),)
    request = Request(
        tuple(session.prompting.prompt(messages)),
        max_tokens,
        temperature,
        seed=seed,
        stops=session.prompting.template.stops,
    )
    ((_, completion),) = session.engine.generate([request])
    session.close()
    if json:
        print_json({"model": session.model.name, "digest": session.model.digest, "answer": completion.text, "finish": completion.finish,
                    "prompt_tokens": completion.prompt_tokens, "answer_tokens": len(completion.tokens), "seconds": completion.total_s})  # fmt: skip
    else:
        print(completion.text)
        if completion.finish == "length":
            say(f"(cut at {max_tokens} tokens; raise --max-tokens)")
