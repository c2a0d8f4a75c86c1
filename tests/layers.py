"""Models of the first layers of real ones: what takes a minute for thirty layers takes seconds for six, where
it is not about what is said."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file, save_file

from freehold.models.formats import gguf


def first_layers(weights: Path, target: Path, count: int) -> Path:
    """A GGUF of the first ``count`` layers."""
    header = gguf.read_header(weights)
    tensors = tuple(
        one
        for one in header.tensors
        if not one.name.startswith("blk.") or int(one.name.split(".")[1]) < count
    )
    with weights.open("rb") as file:

        def data_of(tensor: gguf.Tensor) -> list[bytes]:
            file.seek(tensor.offset)
            return [file.read(tensor.size)]

        gguf.write_like(
            weights,
            replace(header, tensors=tensors),
            target,
            {one.name: one.kind for one in tensors},
            header.fields["general.file_type"],
            data_of,
        )
    with target.open("r+b") as made:
        at = made.read(header.metadata_end).index(b"llama.block_count") + len("llama.block_count") + 4
        for place, value, form in ((8, len(tensors), "<Q"), (at, count, "<I")):
            made.seek(place)
            made.write(struct.pack(form, value))
    return target


def first_layers_of_folder(folder: Path, target: Path, count: int) -> Path:
    """A safetensors folder of the first ``count`` layers."""
    shutil.copytree(folder, target)
    tensors = load_file(folder / "model.safetensors")
    kept = {
        name: one
        for name, one in tensors.items()
        if ".layers." not in name or int(name.split(".layers.")[1].split(".")[0]) < count
    }
    save_file(kept, target / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(
        json.dumps(
            {key: value for key, value in config.items() if key != "layer_types"}
            | {"num_hidden_layers": count}
        )
    )
    return target
