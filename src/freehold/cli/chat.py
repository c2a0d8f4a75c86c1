"""freehold chat"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_answer, print_json, say

if TYPE_CHECKING:
    from freehold.inference.llama_engine import LlamaEngine
    from freehold.inference.request import GenerationRequest
    from freehold.models.answer_form import AnswerForm

NAME = "chat"


def command(
    name: Annotated[str, typer.Argument(help="NAME of a model in the store")],
    system: Annotated[
        str | None, typer.Option(help="System message; by default the one the model was tuned with, if any.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer in tokens.")] = 512,
    temperature: Annotated[
        float | None,
        typer.Option(help="0 is greedy; by default as the model was measured, or 0.7."),
    ] = None,
    form: Annotated[
        bool,
        typer.Option(
            "--form/--no-form",
            help="Ask as the model was measured: labels, worked examples, system message and template.",
        ),
    ] = True,
    json: Json = False,
) -> None:
    """Talk to a model; an empty line or Ctrl-D ends it.

    Example: freehold chat smollm2
    """
    from freehold.core import settings
    from freehold.inference.llama_engine import LlamaEngine
    from freehold.inference.request import GenerationRequest
    from freehold.inference.sampling import Sampling
    from freehold.inference.session import NO_FORM, open_session
    from freehold.models.store import Store
    from freehold.runtime.gguf_form import runnable

    settings.go_quiet()
    store = Store()
    model = runnable(store, store.find(name), say)
    session = open_session(store, f"{model.name}@{model.revision}", form=form)
    if system is not None:
        session.form = replace(session.form, system=system)
    engine, measured = session.engine, session.form
    heat = temperature if temperature is not None else 0.7 if measured == NO_FORM else 0.0
    each = measured.binds or bool(measured.shots)
    say(_told(measured, each=each)) if measured != NO_FORM else None
    opening = (("system", measured.system),) if measured.system else ()
    messages: tuple[tuple[str, str], ...] = opening
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            break
        if not line.strip():
            break
        messages = (*(opening if each else messages), ("user", line))  # what is bound is asked as rows are
        if each:
            request = session.request(messages, temperature=heat)
        else:
            stops = session.prompting.template.stops
            request = GenerationRequest(
                tuple(session.prompting.prompt(messages)), max_tokens, Sampling(heat), stops
            )
        if isinstance(engine, LlamaEngine) and not json:
            text = _written(engine, request)
        else:
            ((_, completion),) = engine.generate([request])
            text = completion.text
            print_json({"answer": text, "finish": completion.finish}) if json else print_answer(text)
        messages += (("assistant", text),)
    session.close()
    if sys.stdin.isatty():
        say("goodbye")


def _told(form: AnswerForm, *, each: bool) -> str:
    """How a model is asked, in a sentence."""
    lines = "; each line is a question of its own" if each else ""
    return f"asked as it was measured: {form.sentence()}{lines} (--no-form: as it stands)"


def _written(engine: LlamaEngine, request: GenerationRequest) -> str:
    """An answer, written to standard output as it comes."""
    text = ""
    engine.reset()
    engine.submit(0, request)
    while engine.busy:
        ended = engine.step()
        now = ended[0][1].text if ended else engine.partial(0)
        print_answer(now[len(text) :], end="")
        text = now if len(now) >= len(text) else text
    print()
    return text
