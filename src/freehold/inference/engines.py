"""The engines that installed packages register under ``freehold.engines``, and the choice among them.

Freehold's own are registered in the same way: llama.cpp for GGUF files and transformers for safetensors
folders. An engine of another package runs only where it is named. A server batches requests by llama.cpp's
own memory, so it has engines of its own, which are not registered here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import plugins
from freehold.core.errors import Unsupported
from freehold.core.plugins import Plugin
from freehold.inference.engine_options import EngineOptions
from freehold.inference.interface import Completion, Engine, EngineKind, OpenOptions, Tokenizer

if TYPE_CHECKING:
    from freehold.inference.batch_engine import BatchingEngine
    from freehold.inference.request import GenerationRequest

GROUP = "freehold.engines"
#: Format of weights -> the engine that runs them unless another one is named.
DEFAULTS = {"gguf": "llama.cpp", "safetensors": "transformers"}


def format_of(weights: Path) -> str:
    """``safetensors`` for a folder, ``gguf`` for a file."""
    return "safetensors" if weights.is_dir() else "gguf"


def open_weights(weights: Path, options: OpenOptions, name: str = "") -> Engine:
    """The weights opened with the named engine, or with the default of their format.

    Raises UsageError for an unknown name and for what is not an engine, MissingPart where it cannot be
    loaded, Unsupported where it does not read the format, and what the engine raises.
    """
    plugin, engine = _find(weights, name)
    with plugin.named_in_errors():
        return engine.open(weights, options)


def tokenizer_of(weights: Path) -> Tokenizer:
    """The tokenizer of the weights, by the default engine of their format. Raises BadModel."""
    return _find(weights, "")[1].tokenizer(weights)


def _find(weights: Path, name: str) -> tuple[Plugin, EngineKind]:
    weights_format = format_of(weights)
    plugin = plugins.find(GROUP, name or DEFAULTS[weights_format])
    engine: EngineKind = plugin.load()
    missing = [member for member in ("formats", "open", "tokenizer") if not hasattr(engine, member)]
    if missing:
        raise plugin.unfit(f"is not an engine: it has no {missing[0]!r}")
    if weights_format not in engine.formats:
        raise Unsupported(
            f"the engine {plugin.name!r} of the package {plugin.origin} does not read {weights_format}, only "
            f"{', '.join(sorted(engine.formats))}",
            "use another engine",
        )
    return plugin, engine


class _Llama:
    """llama.cpp, for GGUF files."""

    formats = frozenset({"gguf"})

    def open(self, weights: Path, options: OpenOptions, /) -> Engine:
        """The loaded model. Raises BadModel, DoesNotFit."""
        from freehold.inference.llama_engine import LlamaEngine

        return LlamaEngine(
            weights,
            context_length=options.context_length,
            parallel=options.parallel,
            adapter=options.adapter,
            threads=options.threads,
        )

    def tokenizer(self, weights: Path, /) -> Tokenizer:
        """The tokenizer in the file."""
        from freehold.inference.llama import LlamaTokenizer

        return LlamaTokenizer(weights)


class _Transformers:
    """transformers, for safetensors folders; it answers one request at a time."""

    formats = frozenset({"safetensors"})

    def open(self, weights: Path, options: OpenOptions, /) -> Engine:
        """The loaded model. Raises BadModel, DoesNotFit."""
        from freehold.inference.transformers_engine import TransformersEngine

        return TransformersEngine(weights, context_length=options.context_length, adapter=options.adapter)

    def tokenizer(self, weights: Path, /) -> Tokenizer:
        """The tokenizer in the folder."""
        from freehold.inference.transformers_engine import HfTokenizer

        return HfTokenizer(weights)


class _Reproducible:
    """llama.cpp with answers that depend on nothing but what is asked, as ``freehold serve --reproducible``
    gives them.
    """

    formats = frozenset({"gguf"})

    def open(self, weights: Path, options: OpenOptions, /) -> Engine:
        """The loaded model. Raises BadModel, DoesNotFit, and Unsupported for an adapter."""
        from freehold.inference.reproducible import ReproducibleEngine

        if options.adapter is not None:
            raise Unsupported(
                "the engine 'reproducible' cannot add an adapter to its base",
                "merge the adapter into its base, or use another engine",
            )
        length, parallel, threads = options.context_length, options.parallel, options.threads
        return _Answering(ReproducibleEngine(weights, EngineOptions(length, parallel, threads)))

    def tokenizer(self, weights: Path, /) -> Tokenizer:
        """The tokenizer in the file."""
        return _Llama().tokenizer(weights)


class _Answering:
    """A server's engine that answers a list of requests."""

    def __init__(self, engine: BatchingEngine):
        self._engine, self.context_length = engine, engine.context_length

    @property
    def vocabulary(self) -> Tokenizer:
        """The engine's."""
        return self._engine.vocabulary

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion]]:
        """Answers as they end. Raises DoesNotFit, and what an answer's fault is."""
        for index, request in enumerate(requests):
            self._engine.submit(index, request)
        while self._engine.busy:
            yield from self._engine.step()

    def score(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Not here. Raises Unsupported."""
        raise Unsupported("the engine 'reproducible' does not score answers", "use llama.cpp")

    def close(self) -> None:
        """Release the memory."""
        self._engine.close()


LLAMA: EngineKind = _Llama()
REPRODUCIBLE: EngineKind = _Reproducible()
TRANSFORMERS: EngineKind = _Transformers()
