"""Read a decoder's weights for tuning, from GGUF (dequantized) or safetensors, in one layout.

The layout is that of the Hugging Face implementation: rotary halves side by side, one name per
matrix. llama.cpp stores the query and key rows of its ``llama`` architecture interleaved and
Gemma's norms with the one already added; both are undone or kept in one place, here.

Source of the layouts: the GGUF specification and the architectures' published configurations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from freehold.errors import Unsupported
from freehold.hub.gguf import Tensor, read_header

if TYPE_CHECKING:
    import torch

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3")
_SAFETENSORS_TYPES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_text": "gemma3",
}

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

    def local(self, layer: int) -> bool:
        """Whether the layer attends only to its sliding window."""
        return bool(self.sliding_window) and (layer + 1) % self.sliding_pattern != 0


@dataclass
class Weights:
    """A decoder's tensors by Hugging Face name (below ``model.``), float32 or bfloat16."""

    config: DecoderConfig
    tensors: dict[str, torch.Tensor]


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


def load_weights(path: Path, dtype: torch.dtype, on_tensor: Callable[[int, int], None] | None = None) -> Weights:
    """Weights of a GGUF file, or of a folder with ``config.json`` and safetensors.

    Raises Unsupported for an architecture the tuner does not know.
    """
    return _from_safetensors(path, dtype) if path.is_dir() else _from_gguf(path, dtype, on_tensor)


def read_tensor(file: Path, tensor: Tensor) -> np.ndarray:
    """A GGUF tensor as float32, slowest axis first."""
    from gguf import GGMLQuantizationType, quants

    kind = GGMLQuantizationType[tensor.kind]
    raw = np.memmap(file, dtype=np.uint8, mode="r", offset=tensor.offset, shape=(tensor.size,))
    shape = tuple(reversed(tensor.shape))
    if tensor.kind == "F32":
        return np.array(raw.view(np.float32).reshape(shape))
    return quants.dequantize(raw.reshape(*shape[:-1], -1), kind).astype(np.float32, copy=False).reshape(shape)


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
    )


def rope_heads(config: DecoderConfig, stem: str) -> int:
    """Heads whose rows llama.cpp interleaves in this matrix; 0 where it does not."""
    if config.architecture != "llama":
        return 0
    return {"attn_q": config.heads, "attn_k": config.kv_heads}.get(stem, 0)


def _from_gguf(path: Path, dtype: torch.dtype, on_tensor: Callable[[int, int], None] | None) -> Weights:
    import torch

    header = read_header(path)
    vocabulary = next((tensor.shape[1] for tensor in header.tensors if tensor.name == "token_embd.weight"), 0)
    config = gguf_config(header.fields, vocabulary)
    tensors: dict[str, torch.Tensor] = {}
    for done, record in enumerate(header.tensors):
        target = hugging_face_name(config, record.name)
        if on_tensor:
            on_tensor(done, len(header.tensors))
        if target is None:
            continue
        array = read_tensor(path, record)
        heads = rope_heads(config, record.name.split(".")[2] if record.name.startswith("blk.") else "")
        if heads:
            array = to_halves(array, heads)
        tensors[target] = torch.from_numpy(array).to(dtype)
    tensors.setdefault("lm_head.weight", tensors["embed_tokens.weight"])
    return Weights(config, tensors)


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


def _from_safetensors(folder: Path, dtype: torch.dtype) -> Weights:
    from safetensors.torch import load_file

    raw = json.loads((folder / "config.json").read_text())
    config = safetensors_config(raw)
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            short = name.removeprefix("model.")
            if config.sandwich_norms and short.endswith("norm.weight"):
                tensor = tensor.float() + 1.0  # GGUF keeps Gemma's norms with the one added; so do we
            tensors[short] = tensor.to(dtype)
    tensors.setdefault("lm_head.weight", tensors["embed_tokens.weight"])
    return Weights(config, tensors)


def safetensors_config(raw: dict[str, object]) -> DecoderConfig:
    """Decoder shape from a ``config.json``. Raises Unsupported."""
    kind = str(raw.get("model_type"))
    architecture = _SAFETENSORS_TYPES.get(kind)
    if architecture is None:
        raise Unsupported(
            f"tuning does not know the model type {kind!r}; it knows {', '.join(_SAFETENSORS_TYPES)}",
            "choose a model of one of these with --model",
        )

    def value(key: str, default: float = 0.0) -> float:
        found = raw.get(key, default)
        return float(found) if isinstance(found, int | float) else default

    gemma = architecture == "gemma3"
    heads, hidden = int(value("num_attention_heads")), int(value("hidden_size"))
    head_dim = int(value("head_dim", hidden // heads))
    rope = raw.get("rope_parameters")
    rope = rope if isinstance(rope, dict) else {}
    theta = float(rope.get("rope_theta", value("rope_theta", 10_000.0)))
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
        rope_theta_local=value("rope_local_base_freq", 10_000.0) if gemma else theta,
        sliding_window=int(value("sliding_window")) if gemma else 0,
        sliding_pattern=int(value("sliding_window_pattern", 6)),
        query_scale=value("query_pre_attn_scalar", head_dim) ** -0.5,
        gelu=gemma,
        sandwich_norms=gemma,
        qk_norm=architecture in ("qwen3", "gemma3"),
        embedding_scale=hidden**0.5 if gemma else 1.0,
    )
