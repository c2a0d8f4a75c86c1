"""The engines that installed packages register under ``freehold.engines``, and the choice among them.

Freehold's own are registered in the same way: llama.cpp for GGUF files and transformers for safetensors
folders. An engine of another package runs only where it is named. A server batches requests by llama.cpp's
own memory, so it has engines of its own, which are not registered here.
"""

from __future__ import annotations

from pathlib import Path

from freehold.core import plugins
from freehold.core.errors import Unsupported
from freehold.core.plugins import Plugin
from freehold.inference.interface import Engine, EngineKind, OpenOptions, Tokenizer

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


LLAMA: EngineKind = _Llama()
TRANSFORMERS: EngineKind = _Transformers()
