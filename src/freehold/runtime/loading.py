"""``freehold.load``: a stored model opened in Python; prompts take the form that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from freehold.core.errors import Unsupported, UsageError
from freehold.core.progress import Sink, silent
from freehold.inference.embeddings import Embedder, SentenceEmbedder, is_embedder
from freehold.inference.session import Session, open_session
from freehold.models.answer_form import AnswerForm
from freehold.models.store import Store
from freehold.runtime.gguf_form import runnable

if TYPE_CHECKING:
    import numpy as np

#: A message: ``{"role": "user", "content": "Hello"}``, or the pair of both texts.
Message = Mapping[str, str] | tuple[str, str]
#: Roles that a message can have.
ROLES = ("system", "user", "assistant")


class Loaded:
    """An open model. Use it in a ``with`` block, or close it.

    A language model has :meth:`generate` and :meth:`chat`, an embedding model :meth:`embed`.
    """

    def __init__(self, name: str, session: Session | None, embedder: Embedder | None = None):
        self._name, self._opened, self._embedder = name, session, embedder

    def __repr__(self) -> str:
        kind = "an embedding model" if self._embedder else "a language model"
        return f"<freehold.Loaded {self._name}: {kind}>"

    @property
    def name(self) -> str:
        """The model's name in the store."""
        return self._name

    @property
    def form(self) -> AnswerForm:
        """The form of its prompts: as it was measured, or the model's own template."""
        return self._session.form

    def generate(
        self,
        prompt: str | Sequence[Message],
        *,
        system: str = "",
        max_tokens: int = 0,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> str:
        """The answer to a question, e.g. a row's, in the form in which the model was measured.

        ``prompt``: a text, or the messages of one question. ``system`` replaces the form's system message.
        ``max_tokens`` 0: as measured, or 1,024. ``temperature`` 0: always the most likely token.
        Raises DoesNotFit, UsageError, and Unsupported for an embedding model.
        """
        messages = (("user", prompt),) if isinstance(prompt, str) else _pairs(prompt)
        if system:
            messages = (("system", system), *(pair for pair in messages if pair[0] != "system"))
        completion = self._session.answer(messages, max_tokens=max_tokens, temperature=temperature, seed=seed)
        return completion.text

    def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = 0,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> str:
        """The next message of a conversation, whose last message is the user's.

        Messages that are a question as the model's rows were, are asked in its form, as the server does; any
        other conversation keeps only the form's system message. Raises as :meth:`generate`.
        """
        session, pairs = self._session, _pairs(messages)
        if not session.form.asks([role for role, _ in pairs]):
            free = AnswerForm(system=session.form.system, plain=session.form.plain)
            session = replace(session, form=free, _choices=None)
        return session.answer(pairs, max_tokens=max_tokens, temperature=temperature, seed=seed).text

    def embed(self, texts: str | Sequence[str]) -> np.ndarray:
        """A vector for each text: float32, (texts, numbers in a vector). One text gives one row.

        Raises DoesNotFit for a text that is too long, BadData for one without a token, and Unsupported for a
        language model.
        """
        if self._embedder is None:
            raise Unsupported(
                f"{self._name} does not make vectors", "load an embedding model, e.g. all-MiniLM-L6-v2"
            )
        return self._embedder.embed([texts] if isinstance(texts, str) else texts).vectors

    @property
    def _session(self) -> Session:
        if self._opened is None:
            raise Unsupported(f"{self._name} makes vectors and does not answer", "use its method embed")
        return self._opened

    def close(self) -> None:
        """Release its memory."""
        for opened in (self._opened, self._embedder):
            if opened is not None:
                opened.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pairs(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    """(role, content) of each message. Raises UsageError for what is not one."""
    hint = 'write for example [{"role": "user", "content": "Hello"}]'
    pairs: list[tuple[str, str]] = []
    for number, message in enumerate(messages, 1):
        if isinstance(message, Mapping):
            role, content = message.get("role"), message.get("content")
        elif len(message) == 2:
            role, content = message
        else:
            role = content = None
        if role not in ROLES or not isinstance(content, str):
            raise UsageError(f"message {number} must have a role ({', '.join(ROLES)}) and a text", hint)
        pairs.append((role, content))
    if not pairs or pairs[-1][0] != "user":
        raise UsageError("the last message must be the user's", hint)
    return tuple(pairs)


def load(
    name: str, *, form: bool = True, context_length: int = 0, store: Store | None = None, sink: Sink = silent
) -> Loaded:
    """Open a stored model. ``form``: ask it as it was measured. ``context_length`` 0: up to 4,096 tokens.

    What is not GGUF is turned into it and kept, where that can be done; else transformers runs it.
    Raises NotFound, BadModel, DoesNotFit.
    """
    store = store or Store()
    model = store.find(name)
    if is_embedder(list(model.manifest)):
        return Loaded(model.name, None, SentenceEmbedder(store.weights(model)))
    model = runnable(store, model, lambda _: None, sink)
    session = open_session(store, f"{model.name}@{model.revision}", context_length=context_length, form=form)
    return Loaded(model.name, session)
