"""``freehold.load``: a stored model opened in Python; prompts take the form that was measured."""

from __future__ import annotations

from types import TracebackType

from freehold.core.progress import Sink, silent
from freehold.inference.session import Session, open_session
from freehold.models.answer_form import AnswerForm
from freehold.models.store import Store
from freehold.runtime.gguf_form import runnable


class Loaded:
    """An open model. Use it in a ``with`` block, or close it."""

    def __init__(self, session: Session):
        self._session = session

    @property
    def name(self) -> str:
        """The model's name in the store."""
        return self._session.model.name

    @property
    def form(self) -> AnswerForm:
        """The form of its prompts: as it was measured, or the model's own template."""
        return self._session.form

    def answer(
        self, question: str, *, system: str = "", max_tokens: int = 0, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """The answer to a question, e.g. a row's.

        ``system`` replaces the form's system message. ``max_tokens`` 0: as measured, or 1,024.
        Raises DoesNotFit.
        """
        messages = ((("system", system),) if system else ()) + (("user", question),)
        completion = self._session.answer(messages, max_tokens=max_tokens, temperature=temperature, seed=seed)
        return completion.text

    def close(self) -> None:
        """Release its memory."""
        self._session.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    name: str, *, form: bool = True, context_length: int = 0, store: Store | None = None, sink: Sink = silent
) -> Loaded:
    """Open a stored model. ``form``: ask it as it was measured. ``context_length`` 0: up to 4,096 tokens.

    What is not GGUF is turned into it and kept, where that can be done; else transformers runs it.
    Raises NotFound, BadModel, DoesNotFit.
    """
    store = store or Store()
    model = runnable(store, store.find(name), lambda _: None, sink)
    session = open_session(store, f"{model.name}@{model.revision}", context_length=context_length, form=form)
    return Loaded(session)
