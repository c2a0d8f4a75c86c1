"""Open a stored model with the engine that suits it, and say what it will need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from freehold.data import templates
from freehold.inference import engines
from freehold.inference.interface import Engine, OpenOptions, PromptEncoder, Tokenizer
from freehold.models.info import ModelInfo

#: An empty process with the libraries loaded, and llama.cpp's fixed buffers; measured, see docs/log.md.
BASE_BYTES = 170_000_000


@dataclass(frozen=True)
class Need:
    """Predicted peak memory of a loaded model, bytes, by part."""

    weights: int
    cache: int
    buffers: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.buffers


def predict_memory(card: ModelInfo, context_length: int, parallel: int, batch: int = 512) -> Need:
    """Weights, key-value cache at ``context_length`` (16 bit) and working buffers."""
    if card.format != "gguf":
        return Need(card.parameters * 4, 4 * 2 * card.layers * card.kv_width * context_length, 500_000_000)
    cache = 2 * 2 * card.layers * card.kv_width * context_length
    logits = 4 * card.vocabulary * (parallel + 1)
    return Need(
        card.size_bytes,
        cache,
        BASE_BYTES + 2 * logits + 4 * batch * (card.vocabulary // 64 + 24 * card.hidden),
    )


def context_that_fits(card: ModelInfo, size_bytes: int, memory_bytes: int) -> int:
    """Tokens of context that fit ``memory_bytes`` beside weights of ``size_bytes``, up to the model's own; 0
    if none do.
    """
    low, high = 0, card.context_length or 4096
    while low < high:
        middle = (low + high + 1) // 2
        if predict_memory(replace(card, size_bytes=size_bytes), middle, 1).total <= memory_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def open_vocabulary(weights: Path) -> Tokenizer:
    """The vocabulary of a GGUF file or a safetensors folder."""
    return engines.tokenizer_of(weights)


def open_engine(
    weights: Path,
    *,
    context_length: int,
    parallel: int = 1,
    adapter: Path | None = None,
    threads: int = 0,
    engine: str = "",
) -> Engine:
    """The weights opened with the engine of this name; '': llama.cpp for a GGUF file, transformers for a
    safetensors folder.

    ``adapter``: a GGUF adapter for the one, the folder of a PEFT adapter for the other. Raises UsageError for
    an unknown engine, MissingPart where it cannot be loaded, Unsupported where it does not read the format.
    """
    return engines.open_weights(weights, OpenOptions(context_length, parallel, adapter, threads), engine)


def prompting(card: ModelInfo, vocabulary: Tokenizer, *, plain: bool = False, room: int = 0) -> PromptEncoder:
    """The model's template bound to its vocabulary. ``room``: tokens that a prompt may have; 0: no limit."""
    template = templates.choose(
        card.chat_template, bos_token=vocabulary.bos_token, eos_token=vocabulary.eos_token, plain=plain
    )
    return PromptEncoder(template, vocabulary, room)
