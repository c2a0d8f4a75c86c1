"""freehold chat"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say

NAME = "chat"


def command(
    name: Annotated[str, typer.Argument(help="NAME of a model in the store")],
    system: Annotated[
        str | None, typer.Option(help="System message; by default the one the model was tuned with, if any.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer in tokens.")] = 512,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.7,
    json: Json = False,
) -> None:
    """Talk to a model; an empty line or Ctrl-D ends it.

    Example: freehold chat smollm2
    """
    from freehold import settings
    from freehold.engines.interface import Request
    from freehold.engines.llama import LlamaEngine
    from freehold.engines.session import open_session
    from freehold.hub.store import Store
    from freehold.trial.forms import runnable

    settings.go_quiet()
    store = Store()
    model = runnable(store, store.find(name), say)
    session = open_session(store, f"{model.name}@{model.revision}")
    engine = session.engine
    said = session.system if system is None else system
    messages: tuple[tuple[str, str], ...] = (("system", said),) if said else ()
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            break
        if not line.strip():
            break
        messages += (("user", line),)
        request = Request(
            tuple(session.prompting.prompt(messages)),
            max_tokens,
            temperature,
            stops=session.prompting.template.stops,
        )
        text = ""
        if isinstance(engine, LlamaEngine) and not json:
            engine.reset()
            engine.submit(0, request)
            while engine.busy:
                ended = engine.step()
                now = ended[0][1].text if ended else engine.partial(0)
                sys.stdout.write(now[len(text) :])
                sys.stdout.flush()
                text = now if len(now) >= len(text) else text
            print()
        else:
            ((_, completion),) = engine.generate([request])
            text = completion.text
            print_json({"answer": text, "finish": completion.finish}) if json else print(text)
        messages += (("assistant", text),)
    session.close()
    if sys.stdin.isatty():
        say("goodbye")
