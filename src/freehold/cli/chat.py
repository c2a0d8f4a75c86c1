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
        str | None, typer.Option(help="System message. Default: the one of the model's answer form, if any.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer in tokens.")] = 512,
    temperature: Annotated[
        float | None,
        typer.Option(help="Sampling temperature; 0 is greedy. Default: 0 with an answer form, else 0.7."),
    ] = None,
    form: Annotated[
        bool,
        typer.Option(
            "--form/--no-form",
            help="Use the model's answer form: the labels, worked examples and system message of its trial.",
        ),
    ] = True,
    json: Json = False,
) -> None:
    """Chat with a model. An empty line or Ctrl-D ends the chat.

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
    chosen_temperature = temperature if temperature is not None else 0.7 if measured == NO_FORM else 0.0
    # the questions of such a form have no earlier turns
    separate = measured.binds or bool(measured.shots)
    say(_form_sentence(measured, separate=separate)) if measured != NO_FORM else None
    opening = (("system", measured.system),) if measured.system else ()
    messages: tuple[tuple[str, str], ...] = opening
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            break
        if not line.strip():
            break
        messages = (*(opening if separate else messages), ("user", line))
        if separate:
            request = session.request(messages, temperature=chosen_temperature)
        else:
            stops = session.prompting.template.stops
            request = GenerationRequest(
                tuple(session.prompting.prompt(messages)), max_tokens, Sampling(chosen_temperature), stops
            )
        if isinstance(engine, LlamaEngine) and not json:
            text = _print_as_it_comes(engine, request)
        else:
            ((_, completion),) = engine.generate([request])
            text = completion.text
            print_json({"answer": text, "finish": completion.finish}) if json else print_answer(text)
        messages += (("assistant", text),)
    session.close()
    if sys.stdin.isatty():
        say("goodbye")


def _form_sentence(form: AnswerForm, *, separate: bool) -> str:
    """The answer form in a sentence."""
    lines = "; each line is a separate question" if separate else ""
    return f"using the answer form: {form.sentence()}{lines} (--no-form: without it)"


def _print_as_it_comes(engine: LlamaEngine, request: GenerationRequest) -> str:
    """The answer; it is printed while it is generated."""
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
