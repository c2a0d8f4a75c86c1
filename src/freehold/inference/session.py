"""A stored model opened for talking to: its engine, its template, and the form in which it was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from freehold.core.errors import Unsupported
from freehold.data.templates import Messages
from freehold.inference.interface import Choices, Completion, Engine, PromptEncoder
from freehold.inference.loading import open_engine, prompting
from freehold.inference.prompt_encoder import choices_of, request_of
from freehold.inference.request import GenerationRequest
from freehold.models.answer_form import AnswerForm, of_model
from freehold.models.formats.peft import GGUF_ADAPTER
from freehold.models.store import Model, Store

#: A model that says nothing of how it is asked.
NO_FORM = AnswerForm()


@dataclass
class Session:
    """An open model.

    ``form``: how it was asked when it was measured; :data:`NO_FORM` if that is not known.
    """

    model: Model
    engine: Engine
    prompting: PromptEncoder
    form: AnswerForm = NO_FORM
    _choices: Choices | None = field(default=None, repr=False)

    def request(
        self, question: Messages, *, max_tokens: int = 0, temperature: float = 0.0, seed: int = 0
    ) -> GenerationRequest:
        """The engine's request for a question in the model's form. Raises BadModel, Unsupported."""
        if self._choices is None:
            self._choices = choices_of(self.prompting, self.form)
        return request_of(
            self.prompting,
            self.form,
            question,
            self._choices,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )

    def answer(
        self, question: Messages, *, max_tokens: int = 0, temperature: float = 0.0, seed: int = 0
    ) -> Completion:
        """The answer to a question in the model's form. Raises BadModel, DoesNotFit, Unsupported."""
        request = self.request(question, max_tokens=max_tokens, temperature=temperature, seed=seed)
        ((_, completion),) = self.engine.generate([request])
        return completion

    def close(self) -> None:
        """Give the memory back."""
        self.engine.close()


def weights_and_adapter(store: Store, model: Model) -> tuple[Path, Path]:
    """The weights of an adapter's base, and the adapter in the form that the base's engine reads.

    Raises NotFound, Unsupported.
    """
    base = store.base_of(model)
    if base.info.format != "gguf":
        return store.weights(base), store.folder_of(model)
    if GGUF_ADAPTER not in model.manifest:
        raise Unsupported(
            f"{model.name} is a DoRA adapter, which llama.cpp cannot load",
            "use its base as safetensors: pull that, then the adapter again",
        )
    return store.weights(base), store.file(model, GGUF_ADAPTER)


def open_session(
    store: Store,
    name: str,
    *,
    context_length: int = 0,
    parallel: int = 1,
    adapter: Path | None = None,
    form: bool = True,
    engine: str = "",
) -> Session:
    """Open a model by name, an adapter on its base, to be asked in its form, or without it.

    ``context_length`` 0: up to 4,096 tokens. ``engine``: the name of a registered engine; '' for the default
    of the model's format. Raises NotFound, BadModel, DoesNotFit, and what a named engine raises.
    """
    model = store.find(name)
    how = (of_model(store, model) if form else None) or NO_FORM
    length = context_length or min(4096, model.info.context_length or 4096)
    weights = store.weights(model)
    if model.info.format == "adapter":
        weights, adapter = weights_and_adapter(store, model)
    opened = open_engine(weights, context_length=length, parallel=parallel, adapter=adapter, engine=engine)
    asking = prompting(model.info, opened.vocabulary, plain=how.plain)
    return Session(model, opened, asking, how)
