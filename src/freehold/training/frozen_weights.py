"""How the frozen matrices are held: in 16 bit, or in 8- or 4-bit blocks that are opened a layer at a time
(QLoRA).

Source: Dettmers et al. 2023, "QLoRA" (arXiv 2305.14314): blocks of 64 weights with a scale of their own,
and for 4 bit the 16 values that hold equal shares of a normal distribution (NF4).
"""

from __future__ import annotations

import functools

import torch

from freehold.core.errors import Unsupported

_BLOCK = 64


class FrozenLinear:
    """Matrices that share an input, one under the other, with room for the adapters' A rows below.

    ``matrices``: (out, in) each.
    """

    def __init__(self, matrices: list[torch.Tensor], adapter_rows: int):
        room = matrices[0].new_zeros((adapter_rows, matrices[0].shape[1]))
        self.matrix = torch.cat([*matrices, room])

    def stacked(self, a: torch.Tensor | None) -> torch.Tensor:
        """(sum of out + adapter rows, in), ``a`` in its last rows."""
        if a is not None:
            self.matrix[self.matrix.shape[0] - a.shape[0] :].copy_(a)
        return self.matrix

    def recompute(self, a: torch.Tensor) -> torch.Tensor:
        """What :meth:`stacked` gave last, for the same ``a``."""
        return self.matrix


class Scratch:
    """Room in which one group of matrices at a time is opened."""

    def __init__(self) -> None:
        self._rooms: dict[tuple[int, int, torch.dtype], torch.Tensor] = {}

    def room(self, rows: int, columns: int, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised tensor, the same one for the same shape."""
        key = (rows, columns, dtype)
        if key not in self._rooms:
            self._rooms[key] = torch.empty((rows, columns), dtype=dtype, device=like.device)
        return self._rooms[key]


@functools.cache
def normal_values() -> torch.Tensor:
    """The 16 values of NF4, ascending from -1 to 1, zero among them (float32)."""
    from scipy.stats import norm

    edge = 0.5 * ((1 - 1 / 30) + (1 - 1 / 32))  # the outermost quantile, as the paper's own code places it
    above = norm.ppf(torch.linspace(edge, 0.5, 9)[:-1].numpy())
    below = -norm.ppf(torch.linspace(edge, 0.5, 8)[:-1].numpy())
    values = torch.tensor([*below, 0.0, *above], dtype=torch.float64)
    return (values / values.max()).sort().values.float()


class QuantizedLinear:
    """The same in 8 or 4 bit:

    ``codes`` and a 16-bit scale for every 64 weights of a row. Raises Unsupported for other row lengths.
    """

    def __init__(self, matrices: list[torch.Tensor], adapter_rows: int, bits: int, scratch: Scratch):
        rows, columns = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1]
        if columns % _BLOCK:
            raise Unsupported(
                f"rows of {columns} weights do not fill blocks of {_BLOCK}", "tune with the base in 16 bit"
            )
        self.rows, self.columns, self.bits, self.adapter_rows = rows, columns, bits, adapter_rows
        self.dtype, self.scratch = matrices[0].dtype, scratch
        parts = [self._closed(matrix.float()) for matrix in matrices]
        self.codes = torch.cat([codes for codes, _ in parts])
        self.scales = torch.cat([scales for _, scales in parts])
        self._pairs = self._pair_table().to(self.codes.device) if bits == 4 else torch.empty(0)

    def _closed(self, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        split = matrix.view(matrix.shape[0], -1, _BLOCK)
        top = split.abs().amax(-1, keepdim=True).clamp_min(1e-12)
        scales = (top if self.bits == 4 else top / 127).to(self.dtype)
        unit = split / scales.float()
        if self.bits == 8:
            return unit.round().clamp(-127, 127).to(torch.int8).view(matrix.shape), scales[..., 0]
        values = normal_values().to(matrix.device)
        codes = torch.bucketize(unit, (values[1:] + values[:-1]) / 2).to(torch.uint8).view(matrix.shape)
        return codes[:, 0::2] | codes[:, 1::2] << 4, scales[..., 0]

    def _pair_table(self) -> torch.Tensor:
        """Byte -> its two values side by side as one integer, so that one look-up opens two weights."""
        values = normal_values().to(self.dtype)
        byte = torch.arange(256)
        wide = torch.int32 if self.dtype.itemsize == 2 else torch.int64
        return torch.stack([values[byte & 15], values[byte >> 4]], dim=1).view(wide).view(-1)

    def stacked(self, a: torch.Tensor | None) -> torch.Tensor:
        """(sum of out + adapter rows, in), ``a`` in its last rows; overwritten by the next such group."""
        room = self.scratch.room(self.rows + self.adapter_rows, self.columns, self.codes, self.dtype)
        opened = room[: self.rows]
        if self.bits == 4:
            torch.index_select(
                self._pairs, 0, self.codes.view(-1).int(), out=opened.view(self._pairs.dtype).view(-1)
            )
        else:
            opened.copy_(self.codes)
        opened.view(self.rows, -1, _BLOCK).mul_(self.scales[..., None])
        if a is not None:
            room[self.rows :].copy_(a)
        return room

    def recompute(self, a: torch.Tensor) -> torch.Tensor:
        """As :meth:`stacked`: another group may have been opened in between."""
        return self.stacked(a)
