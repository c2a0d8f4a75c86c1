"""Read a decoder's weights for tuning, from GGUF (dequantized) or safetensors, in one layout (see :mod:`freehold.hub.decoders`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.errors import Unsupported
from freehold.hub.decoders import DecoderConfig, config_of, gguf_name, hugging_face_name, read_tensor, rope_heads, to_halves
from freehold.hub.gguf import read_header

if TYPE_CHECKING:
    import torch


@dataclass
class Weights:
    """A decoder's tensors by Hugging Face name (below ``model.``), float32 or bfloat16."""

    config: DecoderConfig
    tensors: dict[str, torch.Tensor]


def load_weights(path: Path, dtype: torch.dtype, on_tensor: Callable[[int, int], None] | None = None) -> Weights:
    """Weights of a GGUF file, or of a folder with ``config.json`` and safetensors.

    Raises Unsupported for an architecture the tuner does not know.
    """
    return _from_safetensors(path, dtype) if path.is_dir() else _from_gguf(path, dtype, on_tensor)


def _from_gguf(path: Path, dtype: torch.dtype, on_tensor: Callable[[int, int], None] | None) -> Weights:
    import torch

    header, config = read_header(path), config_of(path)
    tensors: dict[str, torch.Tensor] = {}
    for done, record in enumerate(header.tensors):
        target = hugging_face_name(config, record.name)
        if on_tensor:
            on_tensor(done, len(header.tensors))
        if record.name == "rope_freqs.weight":
            continue
        if target is None:
            raise Unsupported(f"the tensor {record.name} is not known to the tuner", "choose a model of a plain decoder architecture")
        array = read_tensor(path, record)
        heads = rope_heads(config, record.name.split(".")[2] if record.name.startswith("blk.") else "")
        if heads:
            array = to_halves(array, heads)
        tensors[target] = torch.from_numpy(array).to(dtype)
    tensors.setdefault("lm_head.weight", tensors["embed_tokens.weight"])
    return Weights(config, tensors)


def _from_safetensors(folder: Path, dtype: torch.dtype) -> Weights:
    from safetensors.torch import load_file

    config = config_of(folder)
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            short = name.removeprefix("model.")
            if gguf_name(config, short) is None:
                raise Unsupported(f"the tensor {name} is not known to the tuner", "choose a model of a plain decoder architecture")
            if config.sandwich_norms and short.endswith("norm.weight"):
                tensor = tensor.float() + 1.0  # GGUF keeps Gemma's norms with the one added; so do we
            tensors[short] = tensor.to(dtype)
    tensors.setdefault("lm_head.weight", tensors["embed_tokens.weight"])
    return Weights(config, tensors)
