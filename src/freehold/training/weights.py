"""Read a decoder's weights for tuning, from GGUF (dequantized) or safetensors, in one layout (see
:mod:`freehold.models.formats.decoders`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import BadModel, Unsupported
from freehold.models.formats.decoders import (
    DecoderConfig,
    config_of,
    gguf_name,
    hugging_face_name,
    read_pieces,
    read_tensor,
    rope_heads,
    to_halves,
)
from freehold.models.formats.gguf import Tensor, read_header

if TYPE_CHECKING:
    import torch


#: Tensors of a GGUF that are read with its shape.
_ROTARY = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")


class Tensors:
    """A decoder's tensors by Hugging Face name (below ``model.``), each read when it is taken and not kept.

    So no more than one matrix exists beside those already placed.
    """

    def __init__(self, read: Callable[[str], torch.Tensor], names: Iterable[str]):
        self._read, self._names = read, dict.fromkeys(names)

    def take(self, name: str) -> torch.Tensor:
        """Read a tensor, once. Raises BadModel if the file lacks it."""
        if name not in self._names:
            raise BadModel(f"the tensor {name} is missing from the model's file", "fetch it again")
        del self._names[name]
        return self._read(name)

    def take_if_there(self, name: str) -> torch.Tensor | None:
        """Read a tensor that not every decoder has."""
        return self.take(name) if name in self._names else None

    def on(self, device: torch.device) -> Tensors:
        """The same, moved there as they are taken."""
        return Tensors(lambda name: self._read(name).to(device), self._names)

    def left(self) -> list[str]:
        """Names not taken."""
        return list(self._names)


@dataclass
class Weights:
    """Shape and tensors of a decoder; the tensors come in the type that was requested."""

    config: DecoderConfig
    tensors: Tensors


def load_weights(path: Path, dtype: torch.dtype, device: torch.device | None = None) -> Weights:
    """Weights of a GGUF file, or of a folder with ``config.json`` and safetensors, each moved to ``device``
    as it is taken.

    Raises Unsupported for an architecture or a tensor the tuner does not know.
    """
    weights = _from_safetensors(path, dtype) if path.is_dir() else _from_gguf(path, dtype)
    return weights if device is None else Weights(weights.config, weights.tensors.on(device))


def _from_gguf(path: Path, dtype: torch.dtype) -> Weights:
    import torch

    config = config_of(path)
    records: dict[str, Tensor] = {}
    for record in read_header(path).tensors:
        target = hugging_face_name(config, record.name)
        if target is not None:
            records[target] = record
        elif record.name not in _ROTARY:
            raise Unsupported(
                f"the tensor {record.name} is not known to the tuner",
                "choose a model of a plain decoder architecture",
            )

    def read(name: str) -> torch.Tensor:
        record = records[name]
        heads = rope_heads(config, record.name.split(".")[2] if record.name.startswith("blk.") else "")
        if heads:
            return torch.from_numpy(to_halves(read_tensor(path, record), heads)).to(dtype)
        whole = torch.empty(tuple(reversed(record.shape)), dtype=dtype)
        for start, rows in read_pieces(path, record):
            whole.view(-1, record.shape[0])[start : start + len(rows)] = torch.from_numpy(rows)
        return whole

    return Weights(config, Tensors(read, records))


def _from_safetensors(folder: Path, dtype: torch.dtype) -> Weights:
    from safetensors import safe_open

    from freehold.models.formats import safetensors

    config = config_of(folder)
    locations: dict[str, tuple[Path, str]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name in safetensors.read_header(file):
            short = name.removeprefix("model.")
            if gguf_name(config, short) is None:
                raise Unsupported(
                    f"the tensor {name} is not known to the tuner",
                    "choose a model of a plain decoder architecture",
                )
            locations[short] = (file, name)

    def read(short: str) -> torch.Tensor:
        file, name = locations[short]
        with safe_open(str(file), framework="pt") as opened:
            tensor = opened.get_tensor(name)
        if config.family.norms_less_one and short.endswith("norm.weight"):
            tensor = tensor.float() + 1.0  # GGUF keeps Gemma's norms with the one added; so do we
        return tensor.to(dtype)

    return Weights(config, Tensors(read, locations))
