"""The files of a tuned model: the adapter in PEFT's and llama.cpp's formats, and the base merged with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files
from freehold.training import adapter
from freehold.training.loop import Tuned

MERGED_FILE, MERGED_FOLDER = "merged-f16.gguf", "merged"


@dataclass(frozen=True)
class TunedFiles:
    """Where the files are, and their sha256."""

    #: PEFT's folder: adapter_config.json and adapter_model.safetensors
    adapter: Path
    #: sha256 of adapter_model.safetensors
    adapter_digest: str
    #: 16-bit GGUF, or a folder where the base is one
    merged: Path
    #: sha256 of the merged GGUF; "" for a folder
    merged_digest: str
    #: the adapter for llama.cpp; None where it has no such form (DoRA, a safetensors base)
    gguf_adapter: Path | None


def write_files(folder: Path, tuned: Tuned, weights: Path, base_model: str) -> TunedFiles:
    """Write all files of a tuned model into ``folder``.

    ``weights``: those of the base named ``base_model``.
    """
    peft = folder / "adapter"
    adapter.save_peft(peft, tuned.factors, tuned.recipe, base_model)
    adapter_digest = atomic_files.sha256_file(peft / "adapter_model.safetensors")
    if weights.is_dir():
        merged = folder / MERGED_FOLDER
        adapter.merge_safetensors(merged, weights, tuned.factors, tuned.recipe.scale)
        return TunedFiles(peft, adapter_digest, merged, "", None)
    gguf_adapter = None
    if not tuned.recipe.dora:  # llama.cpp has no adapters with magnitudes
        gguf_adapter = folder / "adapter.gguf"
        adapter.save_gguf_adapter(gguf_adapter, tuned.factors, tuned.recipe, weights)
    merged = folder / MERGED_FILE
    adapter.merge_gguf(merged, weights, tuned.factors, tuned.recipe.scale)
    return TunedFiles(peft, adapter_digest, merged, atomic_files.sha256_file(merged), gguf_adapter)
