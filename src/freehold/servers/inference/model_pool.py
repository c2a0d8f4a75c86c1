"""The models of a server: opened on first use, and closed again, least recently used first, where memory
is short.

An adapter is served beside its base, under its own name, on the base's weights, and so is a model of the
same weights with another answer form. Embedding models are opened and closed by the same rules.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from freehold.core import engine_build
from freehold.core.errors import Unsupported
from freehold.data.rendering import rendered
from freehold.inference.batch_engine import BatchingEngine, Meter
from freehold.inference.embeddings import Embedder, SentenceEmbedder, is_embedder
from freehold.inference.engine_options import EngineOptions
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
from freehold.servers.inference.options import PoolOptions
from freehold.servers.inference.scheduler import Scheduler

log = logging.getLogger("freehold.models")


@dataclass(frozen=True)
class NamePrompting:
    """How prompts for one name are made."""

    encoder: PromptEncoder
    #: the labels of its answer form as tokens, where it has any
    choices: Choices | None


@dataclass
class LoadedModel:
    """A model in memory: one that answers, or one that embeds."""

    engine: BatchingEngine | Embedder
    #: for each name that is served with these weights
    prompting: dict[str, NamePrompting]
    #: the memory it was predicted to need
    bytes: int
    #: what of it lies on graphics cards, bytes
    card_bytes: int = 0
    #: requests that use it now
    users: int = 0
    #: when it was used last, in monotonic seconds
    last_used: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class LeasedModel:
    """The model that answers one request, held in memory until it is released."""

    name: str
    engine: BatchingEngine
    encoder: PromptEncoder
    form: AnswerForm
    #: the labels of the answer form as tokens, where it has any
    choices: Choices | None
    #: the adapter's name; '' for none
    adapter: str
    loaded: LoadedModel


class ModelPool:
    """The models of a server by name. Raises NotFound, Unsupported."""

    def __init__(
        self,
        store: Store,
        names: Sequence[str],
        adapters: Sequence[str],
        scheduler: Scheduler,
        options: PoolOptions,
        meter: Meter | None = None,
    ):
        if options.reproducible and adapters:
            raise Unsupported(
                "with --reproducible adapters cannot be served: their answers would depend on other requests",
                "leave out --reproducible, or serve the tuned models as models of their own",
            )
        if options.gpu_layers and (options.reproducible or adapters):
            raise Unsupported(
                "--gpu-layers does not work with --reproducible or adapters, which need the processor",
                "leave out --gpu-layers, or serve the tuned models as models of their own",
            )
        self.store, self.scheduler, self.options, self.meter = store, scheduler, options, meter
        #: the models as they are stored, before they are converted to GGUF
        self.sources = {name: store.find(name) for name in names}
        self.models = {name: _servable(store, model) for name, model in self.sources.items()}
        self.adapters = {name: store.find(name) for name in adapters}
        #: adapter -> the name of its base
        self.bases = {name: self._base_of(adapter) for name, adapter in self.adapters.items()}
        #: names with equal weights, which are in memory once -> the first of them
        self.shared = {name: self._first_of(model) for name, model in self.models.items()}
        self.forms = {name: self._form_of(name) for name in self.names}
        self._loaded: dict[str, LoadedModel] = {}
        self._opening = asyncio.Lock()
        self._loading: dict[str, asyncio.Task[None]] = {}
        #: requests that wait for a model, so that it is not closed again before they have it
        self._awaited: Counter[str] = Counter()

    def _first_of(self, model: Model) -> str:
        return next(name for name, other in self.models.items() if other.digest == model.digest)

    def _form_of(self, name: str) -> AnswerForm:
        """The answer form of a name; with ``--no-form`` only its choice of template. Raises BadModel."""
        form = of_model(self.store, self.adapters.get(name) or self.sources[name]) or NO_FORM
        return form if self.options.forms else AnswerForm(plain=form.plain)

    def _root(self, name: str) -> str:
        """The name under which the weights behind a name are opened."""
        base = self.bases.get(name, name)
        return self.shared.get(base, base)

    def _base_of(self, adapter: Model) -> str:
        """The name under which an adapter's base is served. Raises Unsupported."""
        if "adapter.lora" not in adapter.manifest:
            raise Unsupported(
                f"{adapter.name} has no adapter", "serve it as a model of its own, or name a tuned model"
            )
        base = adapter.info.lineage.base
        for name, model in self.models.items():
            if base is not None and base.digest in (model.digest, self.sources[name].digest):
                return name
        named = base.model if base is not None else "a model"
        raise Unsupported(
            f"the adapter {adapter.name} was tuned on {named}, which is not served",
            "name that model too",
        )

    def embeds(self, name: str) -> bool:
        """Whether a served model embeds texts and does not answer."""
        return name in self.models and self.models[name].info.format != "gguf"

    @property
    def names(self) -> list[str]:
        """The names of all models and adapters."""
        return [*self.models, *self.adapters]

    def model(self, name: str) -> Model:
        """The stored model behind a name."""
        return self.models.get(name) or self.adapters[name]

    @property
    def loaded(self) -> list[str]:
        """Names of the models in memory."""
        return [name for name in self.models if self._root(name) in self._loaded]

    def card_bytes(self, name: str) -> int:
        """What of a model in memory lies on graphics cards, bytes."""
        return self._loaded[self._root(name)].card_bytes

    # -- models in use --------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[LeasedModel]:
        """A model that answers, held in memory for a block. Raises ApiError."""
        leased = await self.acquire(name)
        try:
            yield leased
        finally:
            self.release(leased)

    async def acquire(self, name: str) -> LeasedModel:
        """A model that answers, held in memory until :meth:`release`. Raises ApiError."""
        root = self._root(name)
        if self.embeds(root):
            raise ApiError(400, f"{name} is an embedding model and does not answer; use /v1/embeddings")
        loaded = await self._load(root, name)
        assert isinstance(loaded.engine, BatchingEngine)
        loaded.users += 1
        prompts = loaded.prompting[name]
        adapter = name if name in self.adapters else ""
        return LeasedModel(
            name, loaded.engine, prompts.encoder, self.forms[name], prompts.choices, adapter, loaded
        )

    def release(self, leased: LeasedModel) -> None:
        """Let a model be closed again."""
        leased.loaded.users -= 1
        leased.loaded.last_used = time.monotonic()

    @asynccontextmanager
    async def lease_embedder(self, name: str) -> AsyncIterator[Embedder]:
        """A model that embeds, held in memory for a block. Raises ApiError."""
        if name in self.names and not self.embeds(name):
            raise ApiError(
                400,
                f"{name} is not an embedding model; serve one beside it, such as all-MiniLM-L6-v2",
            )
        async with self._in_use(name) as loaded:
            assert not isinstance(loaded.engine, BatchingEngine)
            yield loaded.engine

    async def open(self, name: str) -> None:
        """Load a model into memory. Raises ApiError."""
        async with self._in_use(name):
            pass

    @asynccontextmanager
    async def _in_use(self, name: str) -> AsyncIterator[LoadedModel]:
        loaded = await self._load(self._root(name), name)
        loaded.users += 1
        try:
            yield loaded
        finally:
            loaded.users -= 1
            loaded.last_used = time.monotonic()

    # -- loading and closing --------------------------------------------------------------------

    async def _load(self, root: str, name: str) -> LoadedModel:
        """A model in memory; the caller must count itself as a user before it awaits. Raises ApiError."""
        if root not in self.models:
            served = f"{', '.join(self.names[:8])} {'is' if len(self.names) == 1 else 'are'}"
            message = f"the model {name[:200]!r} is not served here; {served}"
            raise ApiError(404, message, "model_not_found")
        self._awaited[root] += 1
        try:
            while (loaded := self._loaded.get(root)) is None or self._failed(loaded):
                if root not in self._loading:
                    task = self._loading[root] = asyncio.create_task(self._replace(root))
                    task.add_done_callback(lambda _: self._loading.pop(root, None))
                # a client that waits may leave; the model is then there for the next
                await asyncio.shield(self._loading[root])
            return loaded
        finally:
            self._awaited[root] -= 1

    async def _replace(self, root: str) -> None:
        """Open a model, one at a time, in place of one that failed; open models go on answering. Raises
        ApiError.
        """
        async with self._opening:
            if (failed := self._loaded.get(root)) is not None:
                if failed.users:
                    raise ApiError(503, "the model is being reopened after an error", "overloaded", 2.0)
                del self._loaded[root]
                assert isinstance(failed.engine, BatchingEngine)
                await self.scheduler.release(failed.engine)
            await self._make_room(root)
            self._loaded[root] = await asyncio.to_thread(self._open, root)

    def _failed(self, loaded: LoadedModel) -> bool:
        return isinstance(loaded.engine, BatchingEngine) and self.scheduler.failed(loaded.engine)

    def _predicted_bytes(self, name: str) -> int:
        context = 0 if self.embeds(name) else self.options.context_length
        return predict_memory(self.models[name].info, context, self.options.parallel).total

    async def _make_room(self, name: str) -> None:
        """Close unused models until the model fits. Raises ApiError where the others are in use."""
        limit, needed = self.options.memory_bytes, self._predicted_bytes(name)
        while limit and self._loaded and sum(m.bytes for m in self._loaded.values()) + needed > limit:
            unused = [
                other
                for other, loaded in self._loaded.items()
                if not loaded.users and not self._awaited[other]
            ]
            if not unused:
                raise ApiError(503, "the model needs memory that models in use take", "overloaded", 5.0)
            oldest = min(unused, key=lambda other: self._loaded[other].last_used)
            engine = self._loaded.pop(oldest).engine
            if isinstance(engine, BatchingEngine):
                await self.scheduler.release(engine)
            else:
                engine.close()

    def _open(self, name: str) -> LoadedModel:
        """Load a model's weights; in a thread."""
        needed = self._predicted_bytes(name)
        if self.embeds(name):
            return LoadedModel(SentenceEmbedder(self.store.weights(self.models[name])), {}, needed)
        engine = self._open_engine(name)
        if engine.offload.gpu_layers:
            log.info("%s: %s", name, engine.offload.reason)
        rendered("", {})  # starts a process for chat templates, which the first request would wait for
        return LoadedModel(engine, self._prompting(name, engine), needed, engine.offload.card_bytes)

    def _open_engine(self, name: str) -> BatchingEngine:
        model, options = self.models[name], self.options
        weights, most = self.store.weights(model), model.info.context_length * options.parallel
        length = min(options.context_length, most or options.context_length)
        cache = PromptCache(self._cache_folder(model), options.state_bytes) if options.state_bytes else None
        chosen = EngineOptions(
            length,
            options.parallel,
            options.threads,
            drafts=options.prompt_lookup,
            gpu_layers=options.gpu_layers,
        )
        if options.reproducible:
            return ReproducibleEngine(weights, chosen, prompt_cache=cache, meter=self.meter)
        return BatchingEngine(
            weights, chosen, prompt_cache=cache, meter=self.meter, adapters=self._adapter_files(name)
        )

    def _adapter_files(self, root: str) -> dict[str, Path]:
        return {
            name: self.store.file(self.adapters[name], "adapter.lora")
            for name in self.bases
            if self._root(name) == root
        }

    def _prompting(self, root: str, engine: BatchingEngine) -> dict[str, NamePrompting]:
        """How prompts are made for each name on these weights. Raises BadModel, Unsupported."""
        prompting_by_name: dict[str, NamePrompting] = {}
        for name in self.names:
            if self._root(name) == root:
                form, info = self.forms[name], self.models[root].info
                encoder = prompting(info, engine.vocabulary, plain=form.plain, room=engine.longest)
                prompting_by_name[name] = NamePrompting(encoder, choices_of(encoder, form))
        return prompting_by_name

    def _cache_folder(self, model: Model) -> Path:
        build = engine_build.choose().name.replace(" ", "-").replace(",", "")
        kind = "-apart" if self.options.reproducible else ""
        return self.store.folder / "states" / f"{model.digest[:32]}-{build}{kind}"


def _servable(store: Store, model: Model) -> Model:
    """An embedding model as it is, any other as GGUF."""
    return model if is_embedder(list(model.manifest)) else as_gguf(store, model)
