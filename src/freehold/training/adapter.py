"""An adapter's two forms (PEFT folder, GGUF for llama.cpp) and its merge into the base.

Sources: PEFT's adapter_config.json and tensor names; llama.cpp's adapter GGUF (general.type
``adapter``, tensors NAME.lora_a of shape (rank, in) and NAME.lora_b of shape (out, rank)).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from freehold.core import atomic_files
from freehold.core.errors import Unsupported
from freehold.models.formats import gguf
from freehold.models.formats.decoders import (
    DecoderConfig,
    config_of,
    hugging_face_name,
    plain_bytes,
    read_pieces,
    read_tensor,
    rope_heads,
    to_halves,
    to_interleaved,
)
from freehold.training.loop import Factors
from freehold.training.lora import Factor
from freehold.training.recipe import Recipe

_F16 = 1


def save_peft(folder: Path, factors: Factors, recipe: Recipe, base_model: str) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` as PEFT reads them."""
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name, factor in factors.items():
        tensors[f"{_peft_module(name)}.lora_A.weight"] = factor.a.contiguous()
        tensors[f"{_peft_module(name)}.lora_B.weight"] = factor.b.contiguous()
        if factor.magnitude is not None:
            tensors[f"{_peft_module(name)}.lora_magnitude_vector"] = factor.magnitude.contiguous()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": recipe.rank,
        "lora_alpha": recipe.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({name.rsplit(".", 1)[1] for name in factors}),
        "use_rslora": recipe.rslora,
        "use_dora": recipe.dora,
    }
    if recipe.frozen_layers:
        numbers = (re.search(r"\.(\d+)\.", name) for name in factors)
        config["layers_to_transform"] = sorted({int(number[1]) for number in numbers if number})
    with atomic_files.replacing(folder / "adapter_model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    atomic_files.write_atomically(folder / "adapter_config.json", json.dumps(config, indent=2) + "\n")


def _peft_module(name: str) -> str:
    """A module's name in PEFT's file. One that begins with a dot is whole, others are below ``model.``."""
    return f"base_model.model{name}" if name.startswith(".") else f"base_model.model.model.{name}"


def load_peft(folder: Path) -> tuple[Factors, float]:
    """Factors by module, and the scale (alpha / rank), of a PEFT LoRA adapter.

    Raises Unsupported for any other.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    stem, first = "base_model.model.", ".lora_A.weight"
    pairs = {key.removesuffix(first) for key in tensors if key.endswith(first)}
    known = {
        f"{name}.{part}"
        for name in pairs
        for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")
    }
    if others := sorted(tensors.keys() - known):
        raise Unsupported(
            f"the adapter in {folder.name} contains {others[0]}, which is not a LoRA matrix",
            "merge it with PEFT, and pull the merged model",
        )
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        raise Unsupported(
            f"the adapter in {folder.name} has different ranks or scales for some layers (rank_pattern, "
            "alpha_pattern)",
            "merge it with PEFT, and pull the merged model",
        )
    factors = {
        _own_name(name.removeprefix(stem)): Factor(
            tensors[f"{name}.lora_A.weight"].float(),
            tensors[f"{name}.lora_B.weight"].float(),
            _float(tensors.get(f"{name}.lora_magnitude_vector")),
        )
        for name in pairs
    }
    return factors, config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])


def _own_name(module: str) -> str:
    return module.removeprefix("model.") if module.startswith(("model.", "layers.")) else f".{module}"


def _float(values: torch.Tensor | None) -> torch.Tensor | None:
    return None if values is None else values.float()


def load_gguf_adapter(file: Path, base: Path) -> tuple[Factors, float]:
    """Factors by module, and the scale, of an adapter in llama.cpp's form for the GGUF ``base``.

    Raises Unsupported.
    """
    header, config = gguf.read_header(file), config_of(base)
    tensors = {tensor.name: torch.from_numpy(read_tensor(file, tensor)) for tensor in header.tensors}
    factors: Factors = {}
    for name in sorted(tensor.removesuffix(".lora_a") for tensor in tensors if tensor.endswith(".lora_a")):
        module = hugging_face_name(config, name)
        if module is None or f"{name}.lora_b" not in tensors:
            raise Unsupported(
                f"the adapter {file.name} changes {name}, which a {config.architecture} model does not have",
                "check that this is its base",
            )
        a, b = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        heads = rope_heads(config, name.split(".")[2]) if name.startswith("blk.") else 0
        factors[module.removesuffix(".weight")] = Factor(
            a, torch.from_numpy(to_halves(b.numpy(), heads)) if heads else b
        )
    alpha = header.fields.get("adapter.lora.alpha")
    rank = next(iter(factors.values())).a.shape[0] if factors else 1
    return factors, float(alpha) / rank if isinstance(alpha, int | float) and alpha else 1.0


def _all_used(factors: Factors, used: set[str], base: Path) -> None:
    """Raises Unsupported where an adapter changes a matrix that the base does not have."""
    if left := sorted(factors.keys() - used):
        raise Unsupported(
            f"the adapter changes {left[0]}, which the base {base.name[:40]} does not have",
            "use the base that it was made for",
        )


def _gguf_name(config: DecoderConfig, module: str) -> str:
    _, layer, path = module.split(".", 2)
    stems = {path: stem for stem, path in config.modules.items()}
    return f"blk.{layer}.{stems[path]}.weight"


def save_gguf_adapter(target: Path, factors: Factors, recipe: Recipe, base: Path) -> None:
    """Write the adapter as llama.cpp loads it beside the base.

    Raises Unsupported for DoRA, which it does not know.
    """
    if recipe.dora:
        raise Unsupported("llama.cpp's adapters have no magnitudes (DoRA)", "use the merged model")

    config = config_of(base)
    named: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for module, factor in sorted(factors.items()):
        name = _gguf_name(config, module)
        stored = _as_stored(config, name, factor)
        named[name] = (stored.a.numpy(), stored.b.numpy())
    with atomic_files.replacing(target) as temporary:
        gguf.write_adapter(temporary, config.architecture, recipe.scale * recipe.rank, named)


def merge_gguf(target: Path, base: Path, factors: Factors, scale: float) -> None:
    """Write base + adapter as a 16-bit GGUF whose metadata is the base's own, byte for byte but for the file
    type.

    A few rows at a time, so that merging needs no more memory than a piece of a matrix.
    """
    header, config = gguf.read_header(base), config_of(base)
    modules = {
        tensor.name: (hugging_face_name(config, tensor.name) or "").removesuffix(".weight")
        for tensor in header.tensors
    }
    _all_used(factors, set(modules.values()), base)
    kinds = {tensor.name: "F32" if len(tensor.shape) == 1 else "F16" for tensor in header.tensors}

    def data_of(tensor: gguf.Tensor) -> Iterator[bytes]:
        factor = factors.get(modules[tensor.name])
        if factor is not None:
            factor = _as_stored(config, tensor.name, factor)
        for start, rows in read_pieces(base, tensor):
            if factor is not None:
                rows = factor.merged(torch.from_numpy(rows), scale, start).numpy()
            yield plain_bytes(rows, kinds[tensor.name])

    with atomic_files.replacing(target) as temporary:
        gguf.write_like(base, header, temporary, kinds, _F16, data_of)


def _as_stored(config: DecoderConfig, name: str, factor: Factor) -> Factor:
    """The factor of a matrix whose rows are in the file's order."""
    heads = rope_heads(config, name.split(".")[2]) if name.startswith("blk.") else 0
    if not heads:
        return factor
    magnitude = (
        None
        if factor.magnitude is None
        else torch.from_numpy(to_interleaved(factor.magnitude.numpy(), heads))
    )
    return Factor(factor.a, torch.from_numpy(to_interleaved(factor.b.numpy(), heads)), magnitude)


def merge_safetensors(target: Path, base: Path, factors: Factors, scale: float) -> None:
    """Write base + adapter as a safetensors folder; every other file is copied as it is."""
    import shutil

    from safetensors.torch import load_file, save_file

    from freehold.models.formats.safetensors import read_header

    stored = {name for file in base.glob("*.safetensors") for name in read_header(file)}
    _all_used(factors, {_own_name(name.removesuffix(".weight")) for name in stored}, base)
    target.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, target / file.name)
            continue
        tensors = load_file(file)
        for name in list(tensors):
            factor = factors.get(_own_name(name.removesuffix(".weight")))
            if factor is not None:
                tensors[name] = factor.merged(tensors[name], scale).to(tensors[name].dtype)
        with atomic_files.replacing(target / file.name) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
