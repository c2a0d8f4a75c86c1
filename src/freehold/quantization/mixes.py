"""llama.cpp's usual quantization mixes, written with ggml's own rounding.

For engines without llama.cpp's quantizer, as the prebuilt one is. The types are those that llama.cpp chooses
for models without experts, and a test compares them tensor by tensor.

Source: ``llama_tensor_get_type_impl`` and ``tensor_type_fallback`` in llama-quant.cpp of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from freehold.core import atomic_files
from freehold.core.errors import Unsupported
from freehold.inference import ggml
from freehold.models.formats import gguf
from freehold.models.formats.decoders import plain_bytes, read_pieces, read_tensor

#: Mix -> the type of most of its matrices.
MIXES = {"Q8_0": "Q8_0", "Q5_K_M": "Q5_K", "Q4_K_M": "Q4_K", "Q3_K_M": "Q3_K", "Q2_K": "Q2_K"}
#: What a matrix gets whose rows do not fill blocks of 256.
_SMALLER_BLOCKS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
#: Architectures and tensors that llama.cpp treats in ways of their own, which are not repeated here.
_OTHER_ARCHITECTURES = ("falcon", "rwkv", "mamba", "t5", "bert", "glm5", "deepseek", "minimax", "kimi")
_KEPT = ("ffn_gate_inp", "altup", "laurel", "per_layer_model_proj", "shortconv.conv", "ssm_conv1d")
#: Layers of a model of Llama 2's 70B shape, for which llama.cpp makes an exception.
_LAYERS_70B = 80


def write(
    source: Path,
    target: Path,
    mix: str,
    *,
    importance: dict[str, np.ndarray] | None = None,
    begun: Callable[[int], None] | None = None,
) -> None:
    """Write ``source`` as ``mix``; arguments as of :func:`freehold.quantization.quantize.quantize`.

    Raises Unsupported for a mix or an architecture that only llama.cpp's quantizer does.
    """
    header = gguf.read_header(source)
    kinds = kinds_of(header, mix)
    numbers = {name: number for number, name in gguf.FILE_TYPES.items()}
    order = {tensor.name: number for number, tensor in enumerate(header.tensors, 1)}

    def data_of(tensor: gguf.Tensor) -> list[bytes]:
        if begun is not None:
            begun(order[tensor.name])
        kind = kinds[tensor.name]
        if kind in ("F32", "F16", "BF16"):
            return [plain_bytes(rows, kind) for _, rows in read_pieces(source, tensor)]
        rows = read_tensor(source, tensor).reshape(-1, tensor.shape[0])
        return [ggml.quantize(rows, kind, (importance or {}).get(tensor.name)).tobytes()]

    with atomic_files.replacing(target) as temporary:
        gguf.write_like(source, header, temporary, kinds, numbers[mix], data_of)


def kinds_of(header: gguf.Header, mix: str) -> dict[str, str]:
    """Type of each tensor in a mix. Raises Unsupported."""
    architecture = str(header.fields.get("general.architecture", ""))
    experts = int(header.fields.get(f"{architecture}.expert_count", 0))
    layers = int(header.fields.get(f"{architecture}.block_count", 0))
    known = mix in MIXES and not experts and not architecture.startswith(_OTHER_ARCHITECTURES)
    if (
        not known
        or layers == _LAYERS_70B
        or any(t.kind not in ("F32", "F16", "BF16") for t in header.tensors)
    ):
        raise Unsupported(
            f"the prebuilt text engine cannot write {mix} of this {architecture} model",
            "build one that can: freehold engine build",
        )
    tied = not any(tensor.name == "output.weight" for tensor in header.tensors)
    values = [t.name for t in _by_layer(header) if "attn_v.weight" in t.name or "attn_qkv.weight" in t.name]
    downs = [t.name for t in _by_layer(header) if "ffn_down" in t.name and _quantized(t)]
    return {
        tensor.name: _kind(tensor, mix, header, tied, values, downs, layers)
        if _quantized(tensor)
        else tensor.kind
        for tensor in header.tensors
    }


def _by_layer(header: gguf.Header) -> list[gguf.Tensor]:
    """As llama.cpp walks through them."""

    def layer(tensor: gguf.Tensor) -> int:
        parts = tensor.name.split(".")
        return int(parts[1]) if parts[0] == "blk" and parts[1].isdigit() else -1

    return sorted(header.tensors, key=lambda tensor: (layer(tensor), tensor.name))


def _quantized(tensor: gguf.Tensor) -> bool:
    """Whether llama.cpp quantizes it at all."""
    name = tensor.name
    matrix = len([axis for axis in tensor.shape if axis > 1]) > 1
    return (
        matrix
        and name.endswith("weight")
        and "_norm.weight" not in name
        and not any(k in name for k in _KEPT)
    )


def _kind(
    tensor: gguf.Tensor,
    mix: str,
    header: gguf.Header,
    tied: bool,
    values: list[str],
    downs: list[str],
    layers: int,
) -> str:
    kind = MIXES[mix]
    name = tensor.name
    if name == "output.weight" or (tied and name in ("token_embd.weight", "per_layer_token_embd.weight")):
        kind = "Q8_0" if mix == "Q8_0" or tensor.shape[0] % 256 else "Q6_K"
    elif name in values:
        kind = _value_kind(mix, kind, values.index(name), len(values), _heads_per_group(header))
    elif name in downs:
        kind = _down_kind(mix, kind, downs.index(name), layers)
    elif "attn_output.weight" in name:
        kind = {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K"}.get(mix, kind)
    if tensor.shape[0] % 256 and kind in _SMALLER_BLOCKS:
        kind = _SMALLER_BLOCKS[kind]
    return kind if tensor.shape[0] % 32 == 0 else "F16"


def _heads_per_group(header: gguf.Header) -> int:
    architecture = header.fields.get("general.architecture")
    heads = header.fields.get(f"{architecture}.attention.head_count", 1)
    groups = header.fields.get(f"{architecture}.attention.head_count_kv", heads)
    if not isinstance(heads, int) or not isinstance(groups, int):  # it differs from layer to layer
        return 1
    return heads // groups if groups else 1


def _more_bits(index: int, count: int) -> bool:
    """Whether llama.cpp gives this one of ``count`` matrices a wider type: first and last eighth, and each
    third between.
    """
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def _value_kind(mix: str, kind: str, index: int, count: int, heads_per_group: int) -> str:
    if mix == "Q2_K":
        return "Q4_K" if heads_per_group >= 4 else "Q3_K"
    if mix == "Q3_K_M":
        return "Q5_K" if index < 2 else "Q4_K"
    return "Q6_K" if mix in ("Q4_K_M", "Q5_K_M") and _more_bits(index, count) else kind


def _down_kind(mix: str, kind: str, index: int, layers: int) -> str:
    if mix == "Q2_K":
        return "Q3_K"
    if mix == "Q3_K_M":
        return "Q5_K" if index < layers // 16 else "Q4_K"
    return "Q6_K" if mix in ("Q4_K_M", "Q5_K_M") and _more_bits(index, layers) else kind
