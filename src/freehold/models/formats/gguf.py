"""The header of a GGUF file: read, checked, never trusted; and files written like one, or with an adapter in
it.

Source: the GGUF specification, versions 2 and 3 (ggml project, docs/gguf.md), and ggml's table of block
sizes. Only the header is read; tensor data is checked to lie inside the file.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core.errors import BadModel, Unsupported

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"GGUF"
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9

#: ggml type -> (name, elements per block, bytes per block)
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}

#: ``general.file_type`` -> the name people use. Source: llama.cpp's llama_ftype.
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    1024: "mixed",
}

_MOST_STRINGS = 1 << 26
#: A text in a header, such as a chat template.
_MOST_STRING_BYTES = 1 << 24
_MOST_TENSORS = 1 << 20
_MOST_KEYS = 1 << 16


@dataclass(frozen=True)
class Tensor:
    """A tensor's record: ``shape`` fastest axis first, as stored; ``offset`` from the file's start, bytes."""

    name: str
    shape: tuple[int, ...]
    kind: str
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """Number of weights."""
        count = 1
        for axis in self.shape:
            count *= axis
        return count


@dataclass(frozen=True)
class Header:
    """Scalar and short-array metadata by key, tensors in file order, lengths of skipped long arrays.

    ``metadata_end``: byte after the last key; ``file_type_at``: where the value of ``general.file_type``
    stands, 0 if nowhere; ``spans``: where each key with its value begins and ends, bytes.
    """

    fields: dict[str, Any]
    tensors: tuple[Tensor, ...]
    array_lengths: dict[str, int]
    version: int
    metadata_end: int
    file_type_at: int
    alignment: int
    spans: dict[str, tuple[int, int]]

    def number(self, key: str, default: int = 0) -> int:
        """An integer of the model's architecture, e.g. ``context_length``."""
        value = self.fields.get(f"{self.fields.get('general.architecture')}.{key}", default)
        return int(value) if isinstance(value, int | float) else default


class _Cursor:
    def __init__(self, data: mmap.mmap, path: Path):
        self.data, self.at, self.path, self.end = data, 0, path, len(data)

    def need(self, size: int) -> int:
        start = self.at
        if size < 0 or start + size > self.end:
            raise BadModel(
                f"{self.path.name} is truncated or corrupted: its header asks for {size:,} bytes at "
                f"{start:,} and the file has {self.end:,}",
                "fetch it again",
            )
        self.at = start + size
        return start

    def scalar(self, form: str) -> Any:
        return struct.unpack_from(form, self.data, self.need(struct.calcsize(form)))[0]

    def string(self) -> str:
        size = self.scalar("<Q")
        if size > _MOST_STRING_BYTES:
            raise BadModel(
                f"{self.path.name} is corrupted: a text in its header claims {size:,} bytes", "fetch it again"
            )
        start = self.need(size)
        return self.data[start : start + size].decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        data, at, end, unpack = self.data, self.at, self.end, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > end:
                self.at = at
                self.need(8)
            at += 8 + unpack(data, at)[0]
            if at > end:
                self.at = at - 1
                self.need(2)
        self.at = at


def read_header(path: Path, *, keep_arrays_up_to: int = 64) -> Header:
    """Read and check a GGUF header. Raises BadModel with one sentence."""
    size = path.stat().st_size
    if size < 24:
        raise BadModel(f"{path.name} is no GGUF file: it has {size} bytes", "fetch it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != MAGIC:
            raise BadModel(
                f"{path.name} is no GGUF file: it does not start with 'GGUF'",
                "give a GGUF or safetensors model",
            )
        return _read(_Cursor(data, path), keep_arrays_up_to)


def _read(cursor: _Cursor, keep: int) -> Header:
    cursor.at = 4
    version = cursor.scalar("<I")
    if version in (0x02000000, 0x03000000):
        raise Unsupported(
            f"{cursor.path.name} is a big-endian GGUF, which this processor cannot use",
            "get a little-endian file of the model, the usual form",
        )
    if version not in (2, 3):
        raise BadModel(
            f"{cursor.path.name} is GGUF version {version}; versions 2 and 3 are read",
            "convert it with a current llama.cpp",
        )
    tensor_count, key_count = cursor.scalar("<Q"), cursor.scalar("<Q")
    if tensor_count > _MOST_TENSORS or key_count > _MOST_KEYS:
        raise BadModel(
            f"{cursor.path.name} is corrupted: it claims {tensor_count:,} tensors and {key_count:,} keys",
            "fetch it again",
        )
    fields: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    spans: dict[str, tuple[int, int]] = {}
    file_type_at = 0
    for _ in range(key_count):
        start = cursor.at
        key = cursor.string()
        if key in fields or key in lengths:
            raise BadModel(
                f"{cursor.path.name} is corrupted: the key {key[:80]!r} appears twice", "fetch it again"
            )
        kind = cursor.scalar("<I")
        if key == "general.file_type":
            file_type_at = cursor.at
        if kind == _ARRAY:
            _array(cursor, key, keep, fields, lengths)
        else:
            fields[key] = _value(cursor, kind)
        spans[key] = (start, cursor.at)
    metadata_end = cursor.at
    records = [_tensor_record(cursor) for _ in range(tensor_count)]
    alignment = fields.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise BadModel(
            f"{cursor.path.name} is corrupted: its alignment is {alignment!r}, no power of two",
            "fetch it again",
        )
    start = -(-cursor.at // alignment) * alignment
    return Header(
        fields,
        _placed(cursor, records, start, alignment),
        lengths,
        version,
        metadata_end,
        file_type_at,
        alignment,
        spans,
    )


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind == _STRING:
        return cursor.string()
    if kind not in _SCALARS:
        raise BadModel(
            f"{cursor.path.name} is corrupted: metadata type {kind} does not exist", "fetch it again"
        )
    return cursor.scalar(_SCALARS[kind])


def _array(cursor: _Cursor, key: str, keep: int, fields: dict[str, Any], lengths: dict[str, int]) -> None:
    kind, count = cursor.scalar("<I"), cursor.scalar("<Q")
    if (kind != _STRING and kind not in _SCALARS) or count > _MOST_STRINGS:
        raise BadModel(
            f"{cursor.path.name} is corrupted: the array {key[:80]!r} has type {kind} and {count:,} entries",
            "fetch it again",
        )
    if count <= keep:
        fields[key] = [_value(cursor, kind) for _ in range(count)]
        return
    lengths[key] = count
    if kind == _STRING:
        cursor.skip_strings(count)
    else:
        cursor.need(count * struct.calcsize(_SCALARS[kind]))


def _tensor_record(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.string()
    axes = cursor.scalar("<I")
    if axes > 8:
        raise BadModel(
            f"{cursor.path.name} is corrupted: tensor {name[:80]!r} claims {axes} axes", "fetch it again"
        )
    shape = tuple(cursor.scalar("<Q") for _ in range(axes))
    return name, shape, cursor.scalar("<I"), cursor.scalar("<Q")


def _placed(
    cursor: _Cursor, records: list[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int
) -> tuple[Tensor, ...]:
    """Sizes and places of the tensors, each checked."""
    tensors: list[Tensor] = []
    names: set[str] = set()
    for name, shape, kind, offset in records:
        if kind not in TYPES:
            raise BadModel(
                f"{cursor.path.name}: tensor {name[:80]!r} has the unknown type {kind}",
                "update Freehold, or fetch the file again",
            )
        label, block, block_bytes = TYPES[kind]
        elements = 1
        for axis in shape:
            elements *= axis
        if not shape or shape[0] % block or elements > 1 << 44 or offset % alignment or name in names:
            raise BadModel(
                f"{cursor.path.name} is corrupted: tensor {name[:80]!r} of type {label} has shape {shape} at "
                f"offset {offset}",
                "fetch it again",
            )
        names.add(name)
        tensor = Tensor(name, shape, label, start + offset, elements // block * block_bytes)
        if tensor.offset + tensor.size > cursor.end:
            raise BadModel(
                f"{cursor.path.name} is truncated: tensor {name[:80]!r} ends at byte "
                f"{tensor.offset + tensor.size:,} and the file has {cursor.end:,}",
                "fetch it again",
            )
        tensors.append(tensor)
    placed = sorted(tensors, key=lambda tensor: tensor.offset)
    for first, second in itertools.pairwise(placed):
        if first.offset + first.size > second.offset:
            raise BadModel(
                f"{cursor.path.name} is corrupted: tensors {first.name[:80]!r} and {second.name[:80]!r} "
                "overlap",
                "fetch it again",
            )
    return tuple(tensors)


def write_like(
    base: Path,
    header: Header,
    target: Path,
    kinds: dict[str, str],
    file_type: int,
    data_of: Callable[[Tensor], Iterable[bytes]],
) -> None:
    """Write a GGUF with the base's metadata byte for byte, but other tensor types.

    ``kinds``: tensor name -> type; ``data_of`` gives a tensor's bytes in that type, in pieces.
    Keeping the metadata verbatim keeps tokenizer, chat template and end tokens as they were.
    """
    numbers = {name: number for number, (name, _, _) in TYPES.items()}
    with base.open("rb") as file:
        head = bytearray(file.read(header.metadata_end))
    if header.file_type_at:
        struct.pack_into("<I", head, header.file_type_at, file_type)
    table, at = bytearray(), 0
    for tensor in header.tensors:
        kind = numbers[kinds[tensor.name]]
        name = tensor.name.encode()
        table += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.shape))
        table += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape) + struct.pack("<IQ", kind, at)
        _, block, block_bytes = TYPES[kind]
        at += -(-(tensor.elements // block * block_bytes) // header.alignment) * header.alignment
    with target.open("wb") as out:
        out.write(head + table)
        out.write(b"\0" * (-out.tell() % header.alignment))
        for tensor in header.tensors:
            out.writelines(data_of(tensor))
            out.write(b"\0" * (-out.tell() % header.alignment))


def write_adapter(
    target: Path, architecture: str, alpha: float, factors: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write a LoRA as llama.cpp loads it beside its base. ``factors``: name of a matrix -> (first factor
    (rank, in), second factor (out, rank)).

    llama.cpp scales what an adapter adds by ``alpha`` over the rank.
    """
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(str(target), architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (first, second) in factors.items():
        writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(first))
        writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(second))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
