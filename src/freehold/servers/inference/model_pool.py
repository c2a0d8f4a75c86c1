"""The models a server answers with: opened when first asked for, and closed again, longest unused first, where memory is short.

An adapter is served beside its base, under its own name, on the base's weights, and so is a model of the same weights that is asked in
another form. Embedding models are opened and closed by the same rules.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from freehold.core.errors import Unsupported
from freehold.inference import engine_options
from freehold.inference.batch_engine import BatchingEngine, Meter
from freehold.inference.embeddings import Embedder, SentenceEmbedder, is_embedder
from freehold.inference.interface import Choices, PromptEncoder
from freehold.inference.loading import predict_memory, prompting
from freehold.inference.prompt_cache import PromptCache
from freehold.inference.prompt_encoder import choices_of
from freehold.inference.reproducible import ReproducibleEngine
from freehold.inference.session import NO_FORM
from freehold.models.answer_form import AnswerForm, of_model
from freehold.models.store import Model, Store
from freehold.runtime.gguf_form import as_gguf
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.scheduler import Scheduler


@dataclass(frozen=True)
class EngineOptions:
    """How models are opened: tokens of context and answers at once for each, bytes of memory for all (0: no limit), and bytes on disk for the
    states of long prompts (0: none are kept); ``reproducible``: see :class:`ReproducibleEngine`; ``threads`` for each model (0: as many as this process may use);
    ``forms``: whether models are asked in the form in which they were measured; ``sharing``: whose prompts a request may go on from: its
    key's (``key``), those of its key's group, where it has one (``group``), or everybody's (``all``)."""

    context_length: int = 8192
    parallel: int = 8
    memory_bytes: int = 0
    state_bytes: int = 2 << 30
    guessing: bool = True
    reproducible: bool = False
    threads: int = 0
    forms: bool = True
    sharing: str = "group"


@dataclass(frozen=True)
class Asked:
    """How a name is asked: its template, and its labels as tokens where its form has any."""

    prompting: PromptEncoder
    choices: Choices | None


@dataclass
class Open:
    """A model in memory: one that answers, or one that embeds. ``asked``: how each name on its weights is. ``users``: requests that hold it."""

    engine: BatchingEngine | Embedder
    asked: dict[str, Asked]
    bytes: int
    users: int = 0
    used: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Served:
    """What one request is answered with."""

    name: str
    engine: BatchingEngine
    prompting: PromptEncoder
    form: AnswerForm
    choices: Choices | None
    adapter: str
    held: Open


class ModelPool:
    """The models of a server by name. Raises NotFound, Unsupported."""

    def __init__(self, store: Store, names: Sequence[str], adapters: Sequence[str], runner: Scheduler, terms: EngineOptions,
                 meter: Meter | None = None):  # fmt: skip
        self.store, self.runner, self.terms, self.meter = store, runner, terms, meter
        if terms.reproducible and adapters:
            raise Unsupported(
                "adapters share their calls, and what one says then depends on what is asked of others",
                "leave out --reproducible, or name tuned models as models of their own",
            )
        self.models: dict[str, Model] = {}
        #: what each name was before it was turned into GGUF
        self.sources = {name: store.find(name) for name in names}
        for name, model in self.sources.items():
            self.models[name] = model if is_embedder(list(model.manifest)) else as_gguf(store, model)
        self.adapters = {name: store.find(name) for name in adapters}
        self.bases = {name: self._base_of(adapter) for name, adapter in self.adapters.items()}
        #: names of equal weights, which are in memory once -> the first of them
        self.shared = {name: self._first_of(model) for name, model in self.models.items()}
        self.forms = {name: self._form_of(name) for name in self.names}
        self._open: dict[str, Open] = {}
        self._opening = asyncio.Lock()
        self._loading: dict[str, asyncio.Task[None]] = {}
        #: requests that wait for a model: one that has just been loaded for them is not closed again before they have it
        self._awaited: Counter[str] = Counter()

    def _first_of(self, model: Model) -> str:
        return next(name for name, other in self.models.items() if other.digest == model.digest)

    def _form_of(self, name: str) -> AnswerForm:
        """How a name is asked; without forms only the template that it was tuned or measured with stays. Raises BadModel."""
        form = of_model(self.store, self.adapters.get(name) or self.sources[name]) or NO_FORM
        return form if self.terms.forms else AnswerForm(plain=form.plain)

    def _root(self, name: str) -> str:
        """The name under which the weights behind a name are opened."""
        base = self.bases.get(name, name)
        return self.shared.get(base, base)

    def _base_of(self, adapter: Model) -> str:
        """The name under which an adapter's base is served. Raises Unsupported."""
        if "adapter.lora" not in adapter.manifest:
            raise Unsupported(
                f"{adapter.name} holds no adapter", "serve it as a model of its own, or name a tuned one"
            )
        base = adapter.info.step("base") or {}
        digests = {name: (model.digest, self.sources[name].digest) for name, model in self.models.items()}
        found = next((name for name, known in digests.items() if base.get("digest") in known), "")
        if not found:
            raise Unsupported(
                f"the adapter {adapter.name} was tuned on {base.get('model', 'a model')}, which is not served",
                "name that model too",
            )
        return found

    def embeds(self, name: str) -> bool:
        """Whether a model that is served makes vectors, not answers."""
        return name in self.models and self.models[name].info.format != "gguf"

    @property
    def names(self) -> list[str]:
        """Every name that may be asked for."""
        return [*self.models, *self.adapters]

    def model(self, name: str) -> Model:
        """The stored model behind a name."""
        return self.models.get(name) or self.adapters[name]

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Served]:
        """A model that answers, held in memory for a block. Raises Refusal."""
        served = await self.hold(name)
        try:
            yield served
        finally:
            self.let_go(served)

    async def hold(self, name: str) -> Served:
        """A model that answers, held in memory until :meth:`let_go`. Raises Refusal."""
        base = self._root(name)
        if self.embeds(base):
            raise ApiError(
                400, f"{name} makes vectors of texts and answers nothing; ask it at /v1/embeddings"
            )
        opened = await self._opened(base, name)
        assert isinstance(opened.engine, BatchingEngine)
        opened.users += 1
        asked = opened.asked[name]
        adapter = name if name in self.adapters else ""
        return Served(name, opened.engine, asked.prompting, self.forms[name], asked.choices, adapter, opened)

    def let_go(self, served: Served) -> None:
        """Hold a model no longer."""
        served.held.users -= 1
        served.held.used = time.monotonic()

    @asynccontextmanager
    async def lease_embedder(self, name: str) -> AsyncIterator[Embedder]:
        """A model that embeds, held in memory for a block. Raises Refusal."""
        if name in self.names and not self.embeds(name):
            raise ApiError(
                400,
                f"{name} answers and makes no vectors; serve an embedding model beside it, such as all-MiniLM-L6-v2",
            )
        async with self._held(self._root(name), name) as found:
            assert not isinstance(found.engine, BatchingEngine)
            yield found.engine

    async def open(self, name: str) -> None:
        """Have a model in memory. Raises Refusal."""
        async with self._held(self._root(name), name):
            pass

    @asynccontextmanager
    async def _held(self, base: str, asked: str) -> AsyncIterator[Open]:
        opened = await self._opened(base, asked)
        opened.users += 1
        try:
            yield opened
        finally:
            opened.users -= 1
            opened.used = time.monotonic()

    async def _opened(self, base: str, asked: str) -> Open:
        """A model in memory; to be counted as used before anything else is awaited. Raises Refusal."""
        if base not in self.models:
            raise ApiError(
                404,
                f"the model {asked[:200]!r} is not served here; {', '.join(self.names[:8])} {'is' if len(self.names) == 1 else 'are'}",
                "model_not_found",
            )
        self._awaited[base] += 1
        try:
            while (opened := self._open.get(base)) is None or self._failed(opened):
                if base not in self._loading:
                    task = self._loading[base] = asyncio.create_task(self._bring(base))
                    task.add_done_callback(lambda _: self._loading.pop(base, None))
                # who waits may leave; the model is then there for the next
                await asyncio.shield(self._loading[base])
            return opened
        finally:
            self._awaited[base] -= 1

    async def _bring(self, base: str) -> None:
        """Load a model, one at a time; others that are open are not held up meanwhile. Raises Refusal."""
        async with self._opening:
            if (failed := self._open.get(base)) is not None:
                if failed.users:
                    raise ApiError(503, "the model is being opened again after a fault", "overloaded", 2.0)
                del self._open[base]
                assert isinstance(failed.engine, BatchingEngine)
                await self.runner.release(failed.engine)
            await self._make_room(base)
            self._open[base] = await asyncio.to_thread(self._load, base)

    def _failed(self, opened: Open) -> bool:
        return isinstance(opened.engine, BatchingEngine) and self.runner.failed(opened.engine)

    def _need(self, name: str) -> int:
        return predict_memory(
            self.models[name].info, 0 if self.embeds(name) else self.terms.context_length, self.terms.parallel
        ).total

    async def _make_room(self, name: str) -> None:
        """Close what is idle until the model fits. Raises Refusal where nothing more can be closed."""
        limit = self.terms.memory_bytes
        while (
            limit and self._open and sum(one.bytes for one in self._open.values()) + self._need(name) > limit
        ):
            idle = [other for other, one in self._open.items() if not one.users and not self._awaited[other]]
            if not idle:
                raise ApiError(503, "the model needs room that models in use take", "overloaded", 5.0)
            closed = self._open.pop(min(idle, key=lambda other: self._open[other].used)).engine
            if isinstance(closed, BatchingEngine):
                await self.runner.release(closed)
            else:
                closed.close()

    def _load(self, name: str) -> Open:
        model, terms = self.models[name], self.terms
        if self.embeds(name):
            return Open(SentenceEmbedder(self.store.weights(model)), {}, self._need(name))
        length = min(terms.context_length, model.info.context_length * terms.parallel or terms.context_length)
        states = PromptCache(self._states_of(model), terms.state_bytes) if terms.state_bytes else None
        adapters = {
            other: self.store.file(self.adapters[other], "adapter.lora")
            for other in self.bases
            if self._root(other) == name
        }
        weights = self.store.weights(model)
        options = engine_options.EngineOptions(length, terms.parallel, terms.threads, drafts=terms.guessing)
        if terms.reproducible:
            engine = ReproducibleEngine(weights, options, prompt_cache=states, meter=self.meter)
        else:
            engine = BatchingEngine(
                weights, options, prompt_cache=states, meter=self.meter, adapters=adapters
            )
        return Open(engine, self._asked(name, engine), self._need(name))

    def _asked(self, root: str, engine: BatchingEngine) -> dict[str, Asked]:
        """How each name on these weights is asked. Raises BadModel, Unsupported."""
        asked: dict[str, Asked] = {}
        for name in (name for name in self.names if self._root(name) == root):
            form = self.forms[name]
            template = prompting(
                self.models[root].info, engine.vocabulary, plain=form.plain, room=engine.longest
            )
            asked[name] = Asked(template, choices_of(template, form))
        return asked

    def _states_of(self, model: Model) -> Path:
        import llama_cpp

        kind = "-apart" if self.terms.reproducible else ""
        return self.store.folder / "states" / f"{model.digest[:32]}-{llama_cpp.__version__}{kind}"

    @property
    def loaded(self) -> list[str]:
        """Models in memory."""
        return [name for name in self.models if self._root(name) in self._open]
