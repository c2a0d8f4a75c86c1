"""What tells apart the families of decoders that Freehold tunes with its own code.

Source: the architectures' published configurations and llama.cpp's converter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A family by llama.cpp's name of its architecture."""

    #: transformers' names of it, the ``model_type`` of a config.json
    model_types: tuple[str, ...]
    #: llama.cpp keeps query and key rows in interleaved rotary order
    interleaved: bool = False
    #: query, key and value are one matrix, gate and up another
    fused: bool = False
    #: a norm before attention and before the MLP
    norms_before: bool = True
    #: a norm after attention and after the MLP
    norms_after: bool = False
    #: safetensors hold each norm's weight less one
    norms_less_one: bool = False
    #: tanh-approximated GELU instead of SiLU
    gelu: bool = False
    #: norms of query and key
    qk_norm: bool = False
    #: embeddings are multiplied with the root of their width
    root_scaled_embedding: bool = False
    #: every n-th layer attends to all positions, the others to a window; 0: all see a window, if there is one
    sliding_pattern: int = 0
    #: whether the engine lets the window slide
    slides: bool = False
    #: every n-th layer has no rotary positions; 0: all have
    no_rope_every: int = 0
    #: what llama.cpp and transformers take where nothing is stated
    rope_theta: float = 10_000.0


FAMILIES = {
    "llama": Family(("llama", "mistral"), interleaved=True),
    "qwen2": Family(("qwen2",)),
    "qwen3": Family(("qwen3",), qk_norm=True),
    "gemma2": Family(
        ("gemma2",),
        norms_after=True,
        norms_less_one=True,
        gelu=True,
        root_scaled_embedding=True,
        sliding_pattern=2,
        slides=True,
    ),
    "gemma3": Family(
        ("gemma3_text",),
        norms_after=True,
        norms_less_one=True,
        gelu=True,
        qk_norm=True,
        root_scaled_embedding=True,
        sliding_pattern=6,
        slides=True,
        rope_theta=1_000_000.0,
    ),
    "phi3": Family(("phi3",), fused=True),
    "granite": Family(("granite",), interleaved=True),
    "olmo2": Family(("olmo2",), norms_before=False, norms_after=True, qk_norm=True),
    "smollm3": Family(("smollm3",), interleaved=True, no_rope_every=4),
}
#: Architectures in a GGUF that Freehold tunes with its own code.
ARCHITECTURES = tuple(FAMILIES)
#: Model type of transformers -> architecture.
SAFETENSORS_TYPES = {kind: name for name, family in FAMILIES.items() for kind in family.model_types}
