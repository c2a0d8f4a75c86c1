"""A GGUF that was cut into several files, as one: llama.cpp finds the others by their names, and the store
keeps files under their digests.

Source: llama.cpp's gguf-split (keys split.no, split.count, split.tensors.count; names
STEM-00001-of-00003.gguf).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from freehold.core import atomic_files
from freehold.core.errors import BadModel
from freehold.core.progress import Sink, task
from freehold.models import file_checks, file_selection
from freehold.models.formats import gguf

_BLOCK = 1 << 24


def joined(files: Mapping[str, Path], folder: Path, sink: Sink) -> dict[str, Path]:
    """The same files with the parts of a GGUF as one, written into ``folder``.

    Raises BadModel, DoesNotFit.
    """
    parts = sorted(name for name in files if name.endswith(".gguf") and file_selection.SHARD.fullmatch(name))
    if not parts:
        return dict(files)
    file_selection.check_shards(parts)
    for name in parts:
        file_checks.check_bytes(name, files[name])
    match = file_selection.SHARD.fullmatch(parts[0])
    name = f"{match['stem'] if match else parts[0]}.gguf"
    total = sum(files[part].stat().st_size for part in parts)
    atomic_files.need_disk(folder, total, f"joining {name}")
    with (
        task(sink, f"joining {name}", total, "bytes") as progress,
        atomic_files.replacing(folder / name) as temporary,
    ):
        _join([files[part] for part in parts], temporary, progress.more)
    return {other: path for other, path in files.items() if other not in parts} | {name: folder / name}


def _join(parts: list[Path], target: Path, more: Callable[[float], None]) -> None:
    headers = [gguf.read_header(part) for part in parts]
    for number, (part, header) in enumerate(zip(parts, headers, strict=True)):
        if len(parts) > 1 and header.fields.get("split.no", number) != number:
            raise BadModel(
                f"{part.name} is named part {number}, but says inside that it is part "
                f"{header.fields['split.no']}",
                "fetch the files again",
            )
    tensors = [
        (part, tensor) for part, header in zip(parts, headers, strict=True) for tensor in header.tensors
    ]
    names = [tensor.name for _, tensor in tensors]
    stated = headers[0].fields.get("split.tensors.count", len(names))
    if len(set(names)) != len(names) or stated != len(names):
        raise BadModel(
            f"the parts have {len(set(names))} tensors, but the model has {stated}",
            "fetch the files again",
        )
    alignment = headers[0].alignment
    with target.open("wb") as out:
        out.write(
            _head(parts[0], headers[0], len(tensors)) + _table([tensor for _, tensor in tensors], alignment)
        )
        out.write(b"\0" * (-out.tell() % alignment))
        for part, tensor in tensors:
            _copy(part, tensor, out, more)
            out.write(b"\0" * (-out.tell() % alignment))


def _head(first: Path, header: gguf.Header, tensors: int) -> bytes:
    """The first part's keys without those of the cut."""
    kept = {key: span for key, span in header.spans.items() if not key.startswith("split.")}
    with first.open("rb") as file:
        data = file.read(header.metadata_end)
    return (
        gguf.MAGIC
        + struct.pack("<IQQ", header.version, tensors, len(kept))
        + b"".join(data[start:end] for start, end in kept.values())
    )


def _table(tensors: list[gguf.Tensor], alignment: int) -> bytes:
    numbers = {name: number for number, (name, _, _) in gguf.TYPES.items()}
    table, at = bytearray(), 0
    for tensor in tensors:
        name = tensor.name.encode()
        table += (
            struct.pack("<Q", len(name))
            + name
            + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        )
        table += struct.pack("<IQ", numbers[tensor.kind], at)
        at += -(-tensor.size // alignment) * alignment
    return bytes(table)


def _copy(part: Path, tensor: gguf.Tensor, out: BinaryIO, more: Callable[[float], None]) -> None:
    with part.open("rb") as file:
        file.seek(tensor.offset)
        left = tensor.size
        while left:
            block = file.read(min(left, _BLOCK))
            out.write(block)
            more(len(block))
            left -= len(block)
