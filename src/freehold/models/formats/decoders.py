"""How known decoders lie in their files: names, shapes and row orders in GGUF and in safetensors.

One layout is used inside Freehold, that of the Hugging Face implementation: rotary halves side by
side, one name per matrix. llama.cpp stores the query and key rows of its ``llama`` architecture
interleaved and Gemma's norms with the one already added; both are undone or kept in one place, here.

Source of the layouts: the GGUF specification and the architectures' published configurations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.errors import Unsupported
from freehold.models.formats.gguf import Tensor, read_header

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3")
SAFETENSORS_TYPES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_text": "gemma3",
}

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
    sandwich_norms: bool
    qk_norm: bool
    embedding_scale: float
    rope_factors: tuple[
        float, ...
    ] = ()  # what each rotary frequency is divided by, head_dim / 2 of them; () where none is

    def local(self, layer: int) -> bool:
        """Whether the layer attends only to its sliding window."""
        return bool(self.sliding_window) and (layer + 1) % self.sliding_pattern != 0


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


def gguf_config(fields: dict[str, object], vocabulary: int) -> DecoderConfig:
    """Decoder shape from GGUF metadata. Raises Unsupported."""
    architecture = str(fields["general.architecture"])
    if architecture not in ARCHITECTURES:
        raise Unsupported(
            f"tuning does not know the architecture {architecture!r}; it knows {', '.join(ARCHITECTURES)}",
            "choose a model of one of these with --model",
        )

    def value(key: str, default: float = 0.0) -> float:
        found = fields.get(f"{architecture}.{key}", default)
        return float(found) if isinstance(found, int | float) else default

    heads = int(value("attention.head_count"))
    hidden = int(value("embedding_length"))
    head_dim = int(value("attention.key_length", value("rope.dimension_count", hidden // heads)))
    gemma = architecture == "gemma3"
    theta = value("rope.freq_base", 1_000_000.0 if gemma else 10_000.0)
    scaling = str(fields.get(f"{architecture}.rope.scaling.type", "none"))
    if scaling not in ("none", "linear"):
        raise Unsupported(f"tuning does not know the rotary scaling {scaling!r}", "choose a model without it")
    linear = value("rope.scaling.factor", 1.0) if scaling == "linear" else 1.0
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
        rope_theta_local=10_000.0 if gemma else theta,
        sliding_window=int(value("attention.sliding_window")) if gemma else 0,
        sliding_pattern=6,
        query_scale=head_dim**-0.5,
        gelu=gemma,
        sandwich_norms=gemma,
        qk_norm=architecture in ("qwen3", "gemma3"),
        embedding_scale=hidden**0.5 if gemma else 1.0,
        rope_factors=() if linear == 1.0 else (linear,) * (head_dim // 2),
    )


def rope_heads(config: DecoderConfig, stem: str) -> int:
    """Heads whose rows llama.cpp interleaves in this matrix; 0 where it does not."""
    if config.architecture != "llama":
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
        module = MODULES.get(stem) or _NORMS.get(stem)
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

    gemma = architecture == "gemma3"
    heads, hidden = int(value("num_attention_heads")), int(value("hidden_size"))
    head_dim = int(value("head_dim", hidden // heads))
    theta, theta_local, factors = _rope(raw, value, head_dim, gemma)
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
        rope_theta_local=theta_local,
        sliding_window=int(value("sliding_window")) if gemma else 0,
        sliding_pattern=int(value("sliding_window_pattern", 6)),
        query_scale=value("query_pre_attn_scalar", head_dim) ** -0.5,
        gelu=gemma,
        sandwich_norms=gemma,
        qk_norm=architecture in ("qwen3", "gemma3"),
        embedding_scale=hidden**0.5 if gemma else 1.0,
        rope_factors=factors,
    )


def _rope(
    raw: dict[str, Any], value: Callable[..., float], head_dim: int, gemma: bool
) -> tuple[float, float, tuple[float, ...]]:
    """(base everywhere, base in sliding windows, frequency divisors), from either generation of
    ``config.json``. Raises Unsupported.
    """
    rope = raw.get("rope_parameters") or {}
    local = rope.get("sliding_attention", {}) if "full_attention" in rope else {}
    rope = rope.get("full_attention", rope) or raw.get("rope_scaling") or {}
    theta = float(rope.get("rope_theta") or value("rope_theta", 10_000.0))
    theta_local = (
        float(local.get("rope_theta") or value("rope_local_base_freq", 10_000.0)) if gemma else theta
    )
    kind = str(rope.get("rope_type", rope.get("type", "default")))
    if kind == "default":
        return theta, theta_local, ()
    if kind == "linear":
        return theta, theta_local, (float(rope["factor"]),) * (head_dim // 2)
    if kind == "llama3":
        return theta, theta_local, _llama3_factors(rope, theta, head_dim)
    raise Unsupported(f"the rotary scaling {kind!r} is not known", "choose a model without it")


def _llama3_factors(rope: dict[str, Any], theta: float, head_dim: int) -> tuple[float, ...]:
    """Divisors that leave short wavelengths alone, divide long ones by ``factor`` and blend between (Llama
    3.1's published configuration).
    """
    context = float(rope["original_max_position_embeddings"])
    factor, low, high = float(rope["factor"]), float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    found: list[float] = []
    for pair in range(head_dim // 2):
        turns = context / (
            2 * math.pi * theta ** (2 * pair / head_dim)
        )  # full turns of this pair within the first context
        blend = min(max((turns - low) / (high - low), 0.0), 1.0)
        found.append(1.0 / ((1.0 - blend) / factor + blend))
    return tuple(found)


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
    stems = {path: stem for stem, path in {**MODULES, **_NORMS}.items()} | {before_mlp: "ffn_norm"}
    return f"blk.{layer}.{stems[module]}.{kind}" if module in stems else None


def config_of(weights: Path) -> DecoderConfig:
    """Decoder shape of a GGUF file or a safetensors folder. Raises Unsupported."""
    if weights.is_dir():
        return safetensors_config(json.loads((weights / "config.json").read_text()))
    header = read_header(weights)
    vocabulary = next((tensor.shape[1] for tensor in header.tensors if tensor.name == "token_embd.weight"), 0)
    config = gguf_config(header.fields, vocabulary)
    factors = next((tensor for tensor in header.tensors if tensor.name == "rope_freqs.weight"), None)
    return (
        config
        if factors is None
        else replace(config, rope_factors=tuple(float(x) for x in read_tensor(weights, factors)))
    )
