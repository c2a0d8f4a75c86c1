"""How many layers of a GGUF model go to graphics cards, by a plan of their memory.

llama.cpp keeps a layer's weights and its part of the cache together, on a card or on the processor, and
fills cards with the last layers first. What reads the input tokens always stays with the processor. A layer
that does not fit makes loading fail, or the card's driver swap; so the plan counts bytes before anything is
loaded.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import UsageError
from freehold.models.formats import gguf

if TYPE_CHECKING:
    from freehold.inference.llama_api import LlamaLibrary

#: Memory of each card left to its driver and screen, and to what llama.cpp's backends take without saying.
CARD_RESERVE_BYTES = 512 << 20
#: Number of a layer in a tensor's name.
_LAYER = re.compile(r"^blk\.(\d+)\.")
#: ggml's kinds of devices: a card with memory of its own, and one that shares the machine's.
_GPU, _INTEGRATED_GPU = 1, 2


@dataclass(frozen=True)
class Card:
    """A device that llama.cpp can put layers on; memory in bytes."""

    #: llama.cpp's name, such as ``CUDA0``, ``Vulkan0`` or ``Metal``
    name: str
    #: what the driver calls it
    title: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class LayerSizes:
    """Bytes of a model by where llama.cpp puts them."""

    #: weights of each layer, the first first
    layers: tuple[int, ...]
    #: the output matrix and its norm, which count as one more layer
    output: int
    #: key-value cache of one layer
    cache: int
    #: working memory of a decode call
    buffers: int


@dataclass(frozen=True)
class Offload:
    """What goes to the cards. ``reason``: a sentence for people."""

    #: llama.cpp's ``n_gpu_layers``: layers from the last one, the output matrix first; 0: the processor
    #: computes everything
    gpu_layers: int
    #: bytes that the cards are to hold
    card_bytes: int
    reason: str


def cards(library: LlamaLibrary) -> tuple[Card, ...]:
    """Every card that this build of llama.cpp can use, in its own order; () where it was built for processors
    only, or none is here. ``library``: of :func:`freehold.inference.llama.library`.

    Source: ggml-backend.h, ggml's registry of devices.
    """
    known: list[Card] = []
    for index in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(index)
        if library.ggml_backend_dev_type(device) not in (_GPU, _INTEGRATED_GPU):
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = library.ggml_backend_dev_name(device).decode("utf-8", "replace")
        title = library.ggml_backend_dev_description(device).decode("utf-8", "replace")
        known.append(Card(name, title, free.value, total.value))
    return tuple(known)


def layer_sizes(
    weights: Path, *, context_length: int, batch: int, outputs: int, cache_bytes: int = 2
) -> LayerSizes:
    """Bytes of a GGUF file by layer. ``outputs``: rows of logits in one call; ``cache_bytes``: of a number in
    the cache.

    Raises BadModel.
    """
    header = gguf.read_header(weights)
    layers = [0] * header.number("block_count")
    output = embedding = 0
    for tensor in header.tensors:
        match = _LAYER.match(tensor.name)
        if match and int(match[1]) < len(layers):
            layers[int(match[1])] += tensor.size
        elif tensor.name.startswith("output"):
            output += tensor.size
        elif tensor.name == "token_embd.weight":
            embedding = tensor.size
    if not any(tensor.name == "output.weight" for tensor in header.tensors):
        output += embedding  # the model's input matrix is its output matrix too: a card gets a copy
    hidden, heads = header.number("embedding_length"), max(header.number("attention.head_count"), 1)
    width = header.number("attention.head_count_kv", heads)
    key = header.number("attention.key_length", hidden // heads)
    value = header.number("attention.value_length", hidden // heads)
    cache = cache_bytes * context_length * width * (key + value)
    vocabulary = header.array_lengths.get("tokenizer.ggml.tokens", 0)
    wide = max(header.number("feed_forward_length"), hidden)
    buffers = 4 * (outputs * vocabulary + batch * (4 * hidden + 3 * wide))
    return LayerSizes(tuple(layers), output, cache, buffers)


def plan(
    read_sizes: Callable[[], LayerSizes], known: Sequence[Card], gpu_layers: int | None = None
) -> Offload:
    """As many layers as the cards' free memory holds, the output matrix first; or ``gpu_layers`` of them.

    ``read_sizes``: called where something may go to a card. Raises UsageError where layers are asked for and
    no card is here.
    """
    if gpu_layers == 0:
        return Offload(0, 0, "every layer on the processor, as asked")
    if gpu_layers and not known:
        raise UsageError(
            f"--gpu-layers {gpu_layers}: llama.cpp finds no card",
            "leave the option out, or build the text engine for your card (docs/devices.md)",
        )
    if not known:
        return Offload(0, 0, "every layer on the processor: llama.cpp finds no card")
    sizes = read_sizes()
    most = len(sizes.layers) + 1
    if gpu_layers is not None:
        count = min(gpu_layers, most)
        return Offload(count, _bytes_on_cards(sizes, count), _reason(sizes, count, known, "as asked"))
    room = sum(max(card.free_bytes - CARD_RESERVE_BYTES, 0) for card in known)
    count = most
    while count and _bytes_on_cards(sizes, count) > room:
        count -= 1
    why = "all that fit" if count < most else "as all fit"
    return Offload(count, _bytes_on_cards(sizes, count), _reason(sizes, count, known, why))


def _bytes_on_cards(sizes: LayerSizes, count: int) -> int:
    """Bytes that ``count`` layers take on cards, the output matrix being the first."""
    if not count:
        return 0
    whole = count - 1
    layers = sum(sizes.layers[len(sizes.layers) - whole :])
    return sizes.output + layers + whole * sizes.cache + sizes.buffers


def _reason(sizes: LayerSizes, count: int, known: Sequence[Card], why: str) -> str:
    where = ", ".join(
        f"{card.name} ({card.title}, {_gib(card.free_bytes)} of {_gib(card.total_bytes)} GiB free)"
        for card in known
    )
    return f"{count} of {len(sizes.layers) + 1} layers on {where}, {why}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"
