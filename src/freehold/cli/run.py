"""freehold run"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from freehold.cli.output import Json, print_answer, print_json, say

NAME = "run"


def command(
    name: Annotated[str, typer.Argument(help="NAME of a model in the store")],
    prompt: Annotated[str, typer.Argument(help="The prompt")],
    system: Annotated[
        str | None, typer.Option(help="System message. Default: the one of the model's answer form, if any.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer in tokens. Default: as in the answer form, or 256.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Sampling temperature; 0 takes the likeliest token.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed for sampling with a temperature above 0.")] = 0,
    form: Annotated[
        bool,
        typer.Option(
            "--form/--no-form",
            help="Use the model's answer form: the labels, worked examples and system message of its trial.",
        ),
    ] = True,
    engine: Annotated[
        str,
        typer.Option(
            help="Engine that runs the model; freehold plugins lists them. "
            "Default: llama.cpp for GGUF, transformers for safetensors."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Answer one prompt.

    Example: freehold run smollm2 "Name three uses of a brick."
    """
    from freehold.core import settings
    from freehold.inference.session import NO_FORM, open_session
    from freehold.models.store import Store
    from freehold.runtime.gguf_form import runnable

    settings.go_quiet()
    store = Store()
    model = runnable(store, store.find(name), say)
    session = open_session(store, f"{model.name}@{model.revision}", form=form, engine=engine)
    if system is not None:
        session.form = replace(session.form, system=system)
    if session.form != NO_FORM:
        say(f"using the answer form: {session.form.sentence()} (--no-form: without it)")
    most = max_tokens or (0 if session.form.labels else session.form.max_tokens or 256)
    completion = session.answer((("user", prompt),), max_tokens=most, temperature=temperature, seed=seed)
    session.close()
    if json:
        print_json(
            {
                "model": session.model.name,
                "digest": session.model.digest,
                "answer": completion.text,
                "finish": completion.finish,
                "prompt_tokens": completion.prompt_tokens,
                "answer_tokens": len(completion.tokens),
                "seconds": completion.total_s,
            }
        )
    else:
        print_answer(completion.text)
        if completion.finish == "length":
            say(f"(cut off after {len(completion.tokens)} tokens; raise --max-tokens)")
