"""Texts in llama.cpp's cache, the cells they take, and the batch of tokens that one decode call computes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class Cells:
    """Which cells of the cache are taken, and by how many sequences; llama.cpp keeps its own account of the
    same.
    """

    def __init__(self, count: int):
        self.holders = np.zeros(count, dtype=np.int32)
        self._free = list(range(count))

    @property
    def free(self) -> int:
        """Cells that no sequence has."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """``count`` free cells."""
        cells = self._free[len(self._free) - count :]
        del self._free[len(self._free) - count :]
        self.holders[cells] = 1
        return cells

    def share(self, cells: list[int]) -> list[int]:
        """Count one more sequence for each cell."""
        self.holders[cells] += 1
        return list(cells)

    def release(self, cells: list[int]) -> None:
        """Count one sequence less for each cell."""
        self.holders[cells] -= 1
        self._free += [cell for cell in cells if not self.holders[cell]]


@dataclass
class KvSequence:
    """A text in the cache."""

    #: llama.cpp's number of it.
    id: int
    #: Name of the adapter it was computed with; '' for none.
    adapter: str
    #: Whose prompt it is: only requests of the same scope go on from it.
    scope: str
    #: Tokens that have been computed.
    tokens: list[int] = field(default_factory=list)
    #: The cell of each token.
    cells: list[int] = field(default_factory=list)
    #: The tokens as an array, once it is cached.
    array: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    #: How many of its first tokens a later prompt can take over, as far as it depends on how they were
    #: computed.
    whole: int = 0

    def serves(self, adapter: str, scope: str) -> bool:
        """Whether a request of this adapter and scope may go on from it."""
        return self.adapter == adapter and self.scope == scope


class TokenBatch:
    """llama.cpp's batch over numpy arrays, filled with a run of tokens at a time."""

    def __init__(self, lib: Any, size: int):
        self.tokens, self.positions, self.sequences = (np.zeros(size, dtype=np.int32) for _ in range(3))
        self._counts, self.outputs = np.ones(size, dtype=np.int32), np.zeros(size, dtype=np.int8)
        base, width = self.sequences.ctypes.data, self.sequences.itemsize
        pointer = ctypes.POINTER(ctypes.c_int32)
        self._ids = (pointer * size)(*(ctypes.cast(base + row * width, pointer) for row in range(size)))
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=_pointer(self.tokens, ctypes.c_int32),
            embd=None,
            pos=_pointer(self.positions, ctypes.c_int32),
            n_seq_id=_pointer(self._counts, ctypes.c_int32),
            seq_id=self._ids,
            logits=_pointer(self.outputs, ctypes.c_int8),
        )

    def add(self, row: int, tokens: Sequence[int], position: int, sequence: int, outputs: int) -> None:
        """Put consecutive tokens of a sequence at ``row``; logits are computed for the last ``outputs`` of
        them.
        """
        end = row + len(tokens)
        self.tokens[row:end] = tokens
        self.positions[row:end] = np.arange(position, position + len(tokens))
        self.sequences[row:end] = sequence
        self.outputs[row:end] = 0
        self.outputs[end - outputs : end] = 1


def _pointer(array: np.ndarray, kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
