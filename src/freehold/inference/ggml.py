"""ggml's own row functions: block sizes, quantize, dequantize."""

from __future__ import annotations

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from freehold.core.errors import Unsupported
from freehold.core.machine import cores
from freehold.inference.llama import library
from freehold.models.formats.gguf import TYPES

_NUMBERS = {name: number for number, (name, _, _) in TYPES.items()}
_FLOATS = ctypes.POINTER(ctypes.c_float)


@dataclass(frozen=True)
class RowType:
    """A ggml type: ``block`` weights lie in ``block_bytes`` bytes."""

    name: str
    number: int
    block: int
    block_bytes: int
    to_float: Any

    @property
    def bits(self) -> float:
        """Bits per weight, scales included."""
        return 8 * self.block_bytes / self.block

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row. ``columns`` must be a multiple of ``block``."""
        return columns // self.block * self.block_bytes


@functools.cache
def row_type(name: str) -> RowType:
    """What ggml says of a type. Raises Unsupported for one it does not have."""
    if name not in _NUMBERS:
        raise Unsupported(f"ggml's type {name!r} is not known", f"use one of {', '.join(_NUMBERS)}")
    traits = library().ggml_get_type_traits(_NUMBERS[name]).contents
    to_float = (
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, _FLOATS, ctypes.c_int64)(traits.to_float)
        if traits.to_float
        else None
    )
    return RowType(name, _NUMBERS[name], int(traits.block), int(traits.bytes), to_float)


def _pieces(rows: int) -> list[tuple[int, int]]:
    """(first row, rows) for each thread."""
    threads = cores()
    size = max(1, -(-rows // (threads * 4)))
    return [(start, min(size, rows - start)) for start in range(0, rows, size)]


def _everywhere(work: Any, rows: int) -> None:
    list(_pool().map(lambda piece: work(*piece), _pieces(rows)))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Threads for the whole process: rounding asks for them many thousand times."""
    return ThreadPoolExecutor(cores())


def quantize(weights: np.ndarray, name: str, importance: np.ndarray | None = None) -> np.ndarray:
    """Rows of float32 ``weights`` (rows, columns) in ggml blocks: uint8 (rows, bytes per row).

    ``importance`` (columns,): how much an error in each column costs. Raises Unsupported where the
    columns do not fill blocks.
    """
    kind = row_type(name)
    rows, columns = weights.shape
    if columns % kind.block:
        raise Unsupported(
            f"rows of {columns} weights do not fill {name} blocks of {kind.block}", "choose another type"
        )
    weights = np.ascontiguousarray(weights, dtype=np.float32)
    out = np.empty((rows, kind.row_bytes(columns)), dtype=np.uint8)
    weight = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    pointer = None if weight is None else weight.ctypes.data_as(ctypes.c_void_p)
    lib = library()

    def work(start: int, count: int) -> None:
        lib.ggml_quantize_chunk(
            kind.number,
            weights[start:].ctypes.data_as(_FLOATS),
            out[start:].ctypes.data_as(ctypes.c_void_p),
            0,
            count,
            columns,
            pointer,
        )

    _everywhere(work, rows)
    return out


def dequantize(blocks: np.ndarray, name: str, columns: int) -> np.ndarray:
    """Inverse of :func:`quantize`: float32 (rows, columns)."""
    kind = row_type(name)
    out = np.empty((blocks.shape[0], columns), dtype=np.float32)
    blocks = np.ascontiguousarray(blocks)

    def work(start: int, count: int) -> None:
        kind.to_float(
            blocks[start:].ctypes.data_as(ctypes.c_void_p),
            out[start:].ctypes.data_as(_FLOATS),
            count * columns,
        )

    _everywhere(work, blocks.shape[0])
    return out
