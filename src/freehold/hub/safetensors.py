"""The header of a safetensors file: read and checked.

Source: the safetensors format (8 bytes little-endian header length, JSON, data).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from freehold.errors import BadModel

_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
_MOST_HEADER = 100_000_000


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Tensor name -> ``dtype``, ``shape``, ``data_offsets``. Raises BadModel with one sentence."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MOST_HEADER):
            raise BadModel(f"{path.name} is truncated or no safetensors file: its header claims {length:,} of {size:,} bytes", "fetch it again")
        try:
            header = json.loads(file.read(length))
            tensors = {name: record for name, record in header.items() if name != "__metadata__"}
            places = sorted((*map(int, r["data_offsets"]), name, r["dtype"], list(r["shape"])) for name, r in tensors.items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadModel(f"{path.name} is corrupted: its header is no tensor table ({error})", "fetch it again") from error
    at = 0
    for start, end, name, dtype, shape in places:
        wanted = math.prod(shape) * _BYTES.get(dtype, 0)
        if dtype not in _BYTES or start != at or end - start != wanted or any(not isinstance(axis, int) or axis < 0 for axis in shape):
            raise BadModel(
                f"{path.name} is corrupted: tensor {name!r} ({dtype}, shape {shape}) lies at {start:,} to {end:,} where {at:,} to "
                f"{at + wanted:,} was due",
                "fetch it again",
            )
        at = end
    if 8 + length + at != size:
        raise BadModel(f"{path.name} is truncated: it has {size:,} bytes and its tensors need {8 + length + at:,}", "fetch it again")
    return tensors
