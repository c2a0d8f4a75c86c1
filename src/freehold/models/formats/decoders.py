"""How known decoders lie in their files: names, shapes and row orders in GGUF and in safetensors.

One layout is used inside Freehold, that of the Hugging Face implementation: rotary halves side by
side, one name per matrix. llama.cpp stores the query and key rows of its ``llama`` architecture
interleaved and Gemma's norms with the one already added; both are undone or kept in one place, here.

Source of the layouts: the GGUF specification and the architectures' published configurations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.errors import Unsupported
from freehold.models.formats.families import ARCHITECTURES, FAMILIES, SAFETENSORS_TYPES, Family
from freehold.models.formats.gguf import Tensor, read_header
from freehold.models.formats.rotary import gguf_rope, scaling_of

#: Weights opened at once where a tensor is read in pieces.
PIECE = 1 << 22

#: GGUF tensor stem in a block -> module path below ``model.layers.N.``
MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
#: The same where query, key and value are one matrix, and gate and up another.
FUSED_MODULES = {
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}
_NORMS = {
    "attn_norm": "input_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder; every length is in elements."""

    architecture: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    norm_epsilon: float
    rope_theta: float
    rope_theta_local: float
    sliding_window: int  # 0: every layer attends to all positions
    sliding_pattern: int  # every n-th layer attends to all positions
    query_scale: float
    gelu: bool
    sandwich_norms: bool  # a norm after attention and after the MLP
    qk_norm: bool
    embedding_scale: float
    rope_factors: tuple[float, ...] = ()  # what each rotary frequency is divided by; () where none is
    rope_magnitude: float = 1.0  # what cosines and sines are multiplied with
    rope_dim: int = 0  # dimensions of a head that are turned; 0: all
    norms_before: bool = True  # a norm before attention and before the MLP
    attention_cap: float = 0.0  # attention scores s become cap * tanh(s / cap); 0: they stay
    logit_cap: float = 0.0  # the same for logits
    logit_divisor: float = 1.0
    residual_scale: float = 1.0  # what attention and MLP are multiplied with before they are added

    @property
    def family(self) -> Family:
        """What all models of the architecture have in common."""
        return FAMILIES[self.architecture]

    @property
    def modules(self) -> dict[str, str]:
        """GGUF tensor stem in a block -> module path, for the matrices that are adapted."""
        return FUSED_MODULES if self.family.fused else MODULES

    def local(self, layer: int) -> bool:
        """Whether the layer attends only to its sliding window."""
        if not self.sliding_window:
            return False
        return not self.sliding_pattern or (layer + 1) % self.sliding_pattern != 0

    def has_rope(self, layer: int) -> bool:
        """Whether the layer turns queries and keys by their positions."""
        every = self.family.no_rope_every
        return not every or (layer + 1) % every != 0


def to_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix from llama.cpp's interleaved rotary order to halves."""
    head_dim = rows.shape[0] // heads
    split = rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def to_interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Inverse of :func:`to_halves`."""
    head_dim = rows.shape[0] // heads
    split = rows.reshape(heads, 2, head_dim // 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def read_tensor(file: Path, tensor: Tensor) -> np.ndarray:
    """A GGUF tensor as float32, slowest axis first."""
    whole = np.empty((tensor.elements // tensor.shape[0], tensor.shape[0]), dtype=np.float32)
    for start, rows in read_pieces(file, tensor):
        whole[start : start + len(rows)] = rows
    return whole.reshape(tuple(reversed(tensor.shape)))


def read_pieces(file: Path, tensor: Tensor) -> Iterator[tuple[int, np.ndarray]]:
    """The same a few rows at a time, with the number of the first: (rows, fastest axis), float32.

    A vocabulary's table in 32 bit can be larger than the whole model in its file.
    """
    rows = tensor.elements // tensor.shape[0]
    step = max(1, PIECE // tensor.shape[0])
    for start in range(0, rows, step):
        yield start, _opened(file, tensor, start, min(rows, start + step))


def _opened(file: Path, tensor: Tensor, start: int, stop: int) -> np.ndarray:
    """Rows ``start`` to ``stop`` in float32, (rows, fastest axis)."""
    from gguf import GGMLQuantizationType, quants

    width = tensor.size // (tensor.elements // tensor.shape[0])  # bytes of a row: blocks never span two
    raw = np.fromfile(
        file, dtype=np.uint8, offset=tensor.offset + start * width, count=(stop - start) * width
    ).reshape(stop - start, width)
    if tensor.kind == "F32":
        return raw.view(np.float32)
    return quants.dequantize(raw, GGMLQuantizationType[tensor.kind]).astype(np.float32, copy=False)


def plain_bytes(values: np.ndarray, kind: str) -> bytes:
    """float32 values as a tensor of the unquantized type ``kind`` holds them: F32, F16 or BF16 (rounded to
    nearest).
    """
    from gguf import GGMLQuantizationType, quants

    return quants.quantize(
        np.ascontiguousarray(values, dtype=np.float32), GGMLQuantizationType[kind]
    ).tobytes()


def gguf_config(
    fields: dict[str, object], vocabulary: int, short_factors: Sequence[float] = ()
) -> DecoderConfig:
    """Decoder shape from GGUF metadata. ``short_factors``: LongRoPE's. Raises Unsupported."""
    architecture = str(fields["general.architecture"])
    if architecture not in ARCHITECTURES:
        raise Unsupported(
            f"tuning does not know the architecture {architecture!r}; it knows {', '.join(ARCHITECTURES)}",
            "choose a model of one of these with --model",
        )

    def value(key: str, default: float = 0.0) -> float:
        stated = fields.get(f"{architecture}.{key}", default)
        return float(stated) if isinstance(stated, int | float) else default

    family = FAMILIES[architecture]
    heads = int(value("attention.head_count"))
    hidden = int(value("embedding_length"))
    turned = int(value("rope.dimension_count"))
    default_dim = hidden // heads if family.fused else turned or hidden // heads
    head_dim = int(value("attention.key_length", default_dim))
    theta = value("rope.freq_base", family.rope_theta)
    rope = gguf_rope(fields, architecture, short_factors)
    scaling = scaling_of(rope, theta, turned or head_dim, int(value("context_length")))
    slides = family.slides
    return DecoderConfig(
        architecture=architecture,
        vocabulary=vocabulary,
        hidden=hidden,
        layers=int(value("block_count")),
        heads=heads,
        kv_heads=int(value("attention.head_count_kv", heads)),
        head_dim=head_dim,
        feed_forward=int(value("feed_forward_length")),
        norm_epsilon=value("attention.layer_norm_rms_epsilon", 1e-6),
        rope_theta=theta,
        rope_theta_local=10_000.0 if architecture == "gemma3" else theta,
        sliding_window=int(value("attention.sliding_window", 4096)) if slides else 0,
        sliding_pattern=family.sliding_pattern,
        query_scale=_gguf_query_scale(architecture, value, head_dim, hidden, heads),
        gelu=family.gelu,
        sandwich_norms=family.norms_after,
        qk_norm=family.qk_norm,
        embedding_scale=hidden**0.5 if family.root_scaled_embedding else value("embedding_scale", 1.0),
        rope_factors=scaling.factors,
        rope_magnitude=scaling.magnitude,
        rope_dim=turned if turned != head_dim else 0,
        norms_before=family.norms_before,
        attention_cap=value("attn_logit_softcapping", 50.0) if architecture == "gemma2" else 0.0,
        logit_cap=value("final_logit_softcapping", 30.0) if architecture == "gemma2" else 0.0,
        logit_divisor=value("logit_scale", 1.0) if architecture == "granite" else 1.0,
        residual_scale=value("residual_scale", 1.0) if architecture == "granite" else 1.0,
    )


def _gguf_query_scale(
    architecture: str, value: Callable[..., float], head_dim: int, hidden: int, heads: int
) -> float:
    """What queries are multiplied with. The 27B of Gemma 2 takes the width per head, as llama.cpp knows."""
    if architecture == "granite":
        return value("attention.scale", head_dim**-0.5)
    if architecture == "gemma2" and int(value("block_count")) == 46:
        return (hidden / heads) ** -0.5
    return head_dim**-0.5


def rope_heads(config: DecoderConfig, stem: str) -> int:
    """Heads whose rows llama.cpp interleaves in this matrix; 0 where it does not."""
    if not config.family.interleaved:
        return 0
    return {"attn_q": config.heads, "attn_k": config.kv_heads}.get(stem, 0)


def hugging_face_name(config: DecoderConfig, name: str) -> str | None:
    """Name below ``model.`` of a GGUF tensor; None for one the decoder does not use."""
    whole = {
        "token_embd.weight": "embed_tokens.weight",
        "output_norm.weight": "norm.weight",
        "output.weight": "lm_head.weight",
    }
    if name in whole:
        return whole[name]
    if not name.startswith("blk."):
        return None
    _, layer, stem, kind = name.split(".")
    if stem == "ffn_norm":
        module = "pre_feedforward_layernorm" if config.sandwich_norms else "post_attention_layernorm"
    else:
        module = config.modules.get(stem) or _NORMS.get(stem)
    return f"layers.{layer}.{module}.{kind}" if module else None


def safetensors_config(raw: dict[str, Any]) -> DecoderConfig:
    """Decoder shape from a ``config.json``. Raises Unsupported."""
    kind = str(raw.get("model_type"))
    architecture = SAFETENSORS_TYPES.get(kind)
    if architecture is None:
        raise Unsupported(
            f"tuning does not know the model type {kind!r}; it knows {', '.join(SAFETENSORS_TYPES)}",
            "choose a model of one of these with --model",
        )

    def value(key: str, default: float = 0.0) -> float:
        found = raw.get(key, default)
        return float(found) if isinstance(found, int | float) else default

    family = FAMILIES[architecture]
    heads, hidden = int(value("num_attention_heads")), int(value("hidden_size"))
    head_dim = int(value("head_dim", hidden // heads))
    rope, local_rope = _ropes(raw)
    theta = float(rope.get("rope_theta") or value("rope_theta", family.rope_theta))
    theta_local = float(local_rope.get("rope_theta") or value("rope_local_base_freq", 10_000.0))
    turned = int(head_dim * float(rope.get("partial_rotary_factor") or value("partial_rotary_factor", 1.0)))
    scaling = scaling_of(rope, theta, turned, int(value("max_position_embeddings")))
    granite = architecture == "granite"
    has_window = family.slides or family.fused
    return DecoderConfig(
        architecture=architecture,
        vocabulary=int(value("vocab_size")),
        hidden=hidden,
        layers=int(value("num_hidden_layers")),
        heads=heads,
        kv_heads=int(value("num_key_value_heads", heads)),
        head_dim=head_dim,
        feed_forward=int(value("intermediate_size")),
        norm_epsilon=value("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_theta_local=theta_local if architecture == "gemma3" else theta,
        sliding_window=int(value("sliding_window")) if has_window else 0,
        sliding_pattern=int(value("sliding_window_pattern", family.sliding_pattern)),
        query_scale=value("attention_multiplier", 1.0)
        if granite
        else value("query_pre_attn_scalar", head_dim) ** -0.5,
        gelu=family.gelu,
        sandwich_norms=family.norms_after,
        qk_norm=family.qk_norm,
        embedding_scale=hidden**0.5 if family.root_scaled_embedding else value("embedding_multiplier", 1.0),
        rope_factors=scaling.factors,
        rope_magnitude=scaling.magnitude,
        rope_dim=turned if turned != head_dim else 0,
        norms_before=family.norms_before,
        attention_cap=value("attn_logit_softcapping") if architecture == "gemma2" else 0.0,
        logit_cap=value("final_logit_softcapping") if architecture == "gemma2" else 0.0,
        logit_divisor=value("logits_scaling", 1.0) if granite else 1.0,
        residual_scale=value("residual_multiplier", 1.0) if granite else 1.0,
    )


def _ropes(raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rotary settings of all layers and of those with a window, from either generation of ``config.json``."""
    rope = raw.get("rope_parameters") or {}
    local = rope.get("sliding_attention") or {} if "full_attention" in rope else {}
    rope = rope.get("full_attention") or rope or raw.get("rope_scaling") or {}
    original = raw.get("original_max_position_embeddings")
    return ({"original_max_position_embeddings": original, **rope} if original else rope), local


def gguf_name(config: DecoderConfig, name: str) -> str | None:
    """GGUF name of a tensor named as below ``model.``; None for one the decoder does not use. Inverse of
    :func:`hugging_face_name`.
    """
    whole = {
        "embed_tokens.weight": "token_embd.weight",
        "norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in whole:
        return whole[name]
    if not name.startswith("layers."):
        return None
    _, layer, rest = name.split(".", 2)
    module, _, kind = rest.rpartition(".")
    before_mlp = "pre_feedforward_layernorm" if config.sandwich_norms else "post_attention_layernorm"
    stems = {path: stem for stem, path in {**config.modules, **_NORMS}.items()}
    if config.norms_before:
        stems[before_mlp] = "ffn_norm"
    return f"blk.{layer}.{stems[module]}.{kind}" if module in stems else None


def config_of(weights: Path) -> DecoderConfig:
    """Decoder shape of a GGUF file or a safetensors folder. Raises Unsupported."""
    if weights.is_dir():
        return safetensors_config(json.loads((weights / "config.json").read_text()))
    header = read_header(weights)
    vocabulary = next((tensor.shape[1] for tensor in header.tensors if tensor.name == "token_embd.weight"), 0)
    tensors = {tensor.name: tensor for tensor in header.tensors}
    short = tensors.get("rope_factors_short.weight")
    factors = () if short is None else read_tensor(weights, short).tolist()
    config = gguf_config(header.fields, vocabulary, factors)
    freqs = tensors.get("rope_freqs.weight")
    if freqs is None:
        return config
    return replace(config, rope_factors=tuple(float(x) for x in read_tensor(weights, freqs)))
