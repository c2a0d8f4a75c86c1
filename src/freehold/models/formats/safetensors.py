"""The header of a safetensors file, read and checked, and its tensors.

Source: the safetensors format (8 bytes little-endian header length, JSON, data).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core.errors import BadModel, Unsupported

if TYPE_CHECKING:
    import numpy as np

_BYTES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}
_MOST_HEADER = 100_000_000
_MOST_AXES = 16


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Tensor name -> ``dtype``, ``shape``, ``data_offsets``. Raises BadModel with one sentence."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MOST_HEADER):
            raise BadModel(
                f"{path.name} is truncated or no safetensors file: its header claims {length:,} of {size:,} "
                "bytes",
                "fetch it again",
            )
        try:
            header = json.loads(file.read(length), object_pairs_hook=_once)
            tensors = {name: record for name, record in header.items() if name != "__metadata__"}
            places = sorted(
                (*_place(record), name, record["dtype"], list(record["shape"]))
                for name, record in tensors.items()
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadModel(
                f"{path.name} is corrupted: its header is no tensor table ({str(error)[:200]})",
                "fetch it again",
            ) from error
    at = 0
    for start, end, name, dtype, shape in places:
        if (
            dtype not in _BYTES
            or len(shape) > _MOST_AXES
            or any(type(axis) is not int or not 0 <= axis <= size for axis in shape)
        ):
            told = f"{str(dtype)[:20]}, shape {str(shape)[:80]}"
            raise BadModel(
                f"{path.name} is corrupted: tensor {name[:80]!r} claims to be {told}", "fetch it again"
            )
        wanted = math.prod(shape) * _BYTES[dtype]
        if start != at or end - start != wanted:
            raise BadModel(
                f"{path.name} is corrupted: tensor {name[:80]!r} ({dtype}, shape {shape}) lies at {start:,} "
                f"to {end:,} where {at:,} to "
                f"{at + wanted:,} was due",
                "fetch it again",
            )
        at = end
    if 8 + length + at != size:
        raise BadModel(
            f"{path.name} is truncated: it has {size:,} bytes and its tensors need {8 + length + at:,}",
            "fetch it again",
        )
    return tensors


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the name {next(name for name in names if names.count(name) > 1)[:80]!r} appears twice"
        )
    return found


def _place(record: dict[str, Any]) -> tuple[int, int]:
    """Where a tensor begins and ends. Raises ValueError, KeyError, TypeError."""
    start, end = record["data_offsets"]
    if type(start) is not int or type(end) is not int:
        raise TypeError("data_offsets are no two whole numbers")
    if type(record["dtype"]) is not str or type(record["shape"]) is not list:
        raise TypeError("a dtype is no text, or a shape no list")
    return start, end


def read_tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of a file as float32, in the file's order. Raises BadModel, Unsupported for a type that is
    no plain floating point.
    """
    import numpy as np

    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    header = read_header(path)
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        for name, record in sorted(header.items(), key=lambda item: item[1]["data_offsets"][0]):
            if record["dtype"] not in kinds:
                raise Unsupported(
                    f"{path.name}: tensor {name[:80]!r} has the type {record['dtype']}",
                    "get the model with weights in 16 or 32 bits",
                )
            begin, end = record["data_offsets"]
            file.seek(start + begin)
            values = np.frombuffer(file.read(end - begin), dtype=kinds[record["dtype"]]).reshape(
                record["shape"]
            )
            if record["dtype"] == "BF16":  # the upper half of a float32
                values = (values.astype(np.uint32) << 16).view(np.float32)
            yield name, np.array(values, dtype=np.float32)
