"""LoRA on frozen matrices, fused by hand.

Several matrices that read the same input (query, key and value; gate and up) are one product with their A
factors appended as extra rows, so the input is read once. The backward pass is written out: no gradient of a
frozen matrix is ever formed, and only what the norm or gate before the group has read and the rank-sized
product are kept.

Sources: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685); Liu et
al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation" (arXiv 2402.09353).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from freehold.training.activations import Entry
from freehold.training.frozen_weights import FrozenLinear, QuantizedLinear, Scratch


class FusedLora(torch.autograd.Function):
    """``y_i = x W_i^T + scale (x A_i^T) B_i^T`` with ``x = entry(raw)`` for every i, concatenated over i."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        raw: torch.Tensor,
        entry: Entry,
        frozen: FrozenLinear | QuantizedLinear,
        a: torch.Tensor,
        scale: float,
        sizes: list[int],
        *b: torch.Tensor,
    ) -> torch.Tensor:
        """``raw`` (tokens, what ``entry`` reads), ``frozen`` n matrices (out_i, in), ``a`` (n r, in), ``b`` n
        of (out_i, r).
        """
        x = entry.forward(raw)
        outputs = sum(sizes)
        low = _diagonal(b, x.dtype)
        both = x @ frozen.stacked(a.detach()).t()
        inner = both[:, outputs:] * scale
        y = both[:, :outputs]
        y.addmm_(inner, low.t())
        ctx.save_for_backward(raw, inner, a, *b)
        ctx.entry, ctx.frozen, ctx.scale, ctx.sizes, ctx.rank = entry, frozen, scale, sizes, b[0].shape[1]
        # a card has room for it, and time is short there for so many small kernels
        ctx.low = None if raw.device.type == "cpu" else low
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        (dy,) = grads
        raw, inner, a, *b = ctx.saved_tensors
        # on a processor made again: kept, those of all layers would take as much as a layer's inputs
        low = _diagonal(b, dy.dtype) if ctx.low is None else ctx.low
        outputs = low.shape[0]
        joint = torch.empty((dy.shape[0], outputs + low.shape[1]), dtype=dy.dtype, device=dy.device)
        joint[:, :outputs] = dy
        torch.mul(dy @ low, ctx.scale, out=joint[:, outputs:])
        products = (
            dy.t() @ inner
        )  # only the blocks on the diagonal are wanted; one product is faster than several narrow ones
        d_low, start = list[torch.Tensor](), 0
        for index, size in enumerate(ctx.sizes):
            d_low.append(products[start : start + size, index * ctx.rank : (index + 1) * ctx.rank].float())
            start += size
        x, vjp = ctx.entry.recompute(raw)
        d_a = (joint[:, outputs:].t() @ x).float()
        d_raw = vjp(joint @ ctx.frozen.recompute(a)) if ctx.needs_input_grad[0] else None
        return d_raw, None, None, d_a, None, None, *d_low


def _diagonal(b: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """The B factors (out_i, r) as the diagonal blocks of one matrix (sum of out, n r), zero elsewhere."""
    rank = b[0].shape[1]
    whole = torch.zeros(
        (sum(factor.shape[0] for factor in b), rank * len(b)), dtype=dtype, device=b[0].device
    )
    start = 0
    for index, factor in enumerate(b):
        whole[start : start + factor.shape[0], index * rank : (index + 1) * rank] = factor
        start += factor.shape[0]
    return whole


class Factor(NamedTuple):
    """An adapter of one matrix:

    A (rank, in), B (out, rank) and, for DoRA, the rows' magnitudes (out,); float32.
    """

    a: torch.Tensor
    b: torch.Tensor
    magnitude: torch.Tensor | None = None

    def copied(self) -> Factor:
        """A copy in the machine's memory."""
        parts = (None if part is None else part.to("cpu", copy=True) for part in self)
        return Factor(*parts)  # type: ignore[arg-type]

    def at_home(self) -> Factor:
        """The same in the machine's memory, copied only from a card."""
        return Factor(*(None if part is None else part.cpu() for part in self))  # type: ignore[arg-type]

    def merged(self, rows: torch.Tensor, scale: float, start: int = 0) -> torch.Tensor:
        """Rows of the matrix (out, in) from ``start`` with the adapter in them, float32."""
        part = slice(start, start + len(rows))
        whole = rows.float() + (self.b[part] @ self.a) * scale
        return (
            whole if self.magnitude is None else whole * (self.magnitude[part] / whole.norm(dim=1))[:, None]
        )


class LoraGroup(torch.nn.Module):
    """Frozen matrices that share an input, with one adapter each; ``rank`` 0: none."""

    def __init__(
        self,
        names: list[str],
        frozen: list[torch.Tensor],
        rank: int,
        scale: float,
        generator: torch.Generator,
        *,
        bits: int = 16,
        scratch: Scratch | None = None,
        dora: bool = False,
    ):
        super().__init__()
        self.names, self.rank, self.scale = names, rank, scale
        self.sizes = [matrix.shape[0] for matrix in frozen]
        inputs = frozen[0].shape[1]
        rows = rank * len(frozen)
        self.frozen = (
            FrozenLinear(frozen, rows)
            if bits == 16
            else QuantizedLinear(frozen, rows, bits, scratch or Scratch())
        )
        self.magnitude: torch.nn.Parameter | None = None
        if not rank:
            return
        bound = inputs**-0.5  # Kaiming uniform with a = sqrt(5), as the paper's own code starts A
        # drawn on the processor, so that a seed means the same on every device
        drawn = torch.empty((rows, inputs)).uniform_(-bound, bound, generator=generator)
        device = frozen[0].device
        self.a = torch.nn.Parameter(drawn.to(device))
        self.b = torch.nn.ParameterList(
            torch.nn.Parameter(torch.zeros((size, rank), device=device)) for size in self.sizes
        )
        if dora:
            self.squares = self._matrices().float().square().sum(1)
            self.magnitude = torch.nn.Parameter(self.squares.sqrt())

    def forward(self, raw: torch.Tensor, entry: Entry) -> torch.Tensor:
        """(tokens, what ``entry`` reads) -> (tokens, sum of outputs)."""
        if not self.rank:
            return entry.forward(raw) @ self.frozen.stacked(None).t()
        y: torch.Tensor = FusedLora.apply(  # type: ignore[assignment]
            raw, entry, self.frozen, self.a, self.scale, self.sizes, *self.b
        )
        return y if self.magnitude is None else y * (self.magnitude / self._norms()).to(y.dtype)

    def _matrices(self) -> torch.Tensor:
        return self.frozen.stacked(None)[: sum(self.sizes)]

    @torch.no_grad()
    def _norms(self) -> torch.Tensor:
        """Norms of the adapted rows (sum of outputs,), taken as constants; the sum of matrix and adapter is
        never formed.
        """
        matrices, start = self._matrices(), 0
        squares = self.squares.clone()
        for index, size in enumerate(self.sizes):
            a, b = self.a[index * self.rank : (index + 1) * self.rank], self.b[index]
            part = matrices[start : start + size]
            cross = ((part @ a.t().to(part.dtype)).float() * b).sum(1)
            squares[start : start + size] += 2 * self.scale * cross + self.scale**2 * (
                (b @ (a @ a.t())) * b
            ).sum(1)
            start += size
        return squares.clamp_min_(1e-12).sqrt_()

    def factors(self) -> dict[str, Factor]:
        """Module name -> its adapter, as views of what is trained."""
        factors: dict[str, Factor] = {}
        start = 0
        for i, (name, size) in enumerate(zip(self.names, self.sizes, strict=True)):
            if self.rank:
                magnitude = None if self.magnitude is None else self.magnitude.detach()[start : start + size]
                factors[name] = Factor(
                    self.a.detach()[i * self.rank : (i + 1) * self.rank], self.b[i].detach(), magnitude
                )
            start += size
        return factors

    def load_factors(self, factors: dict[str, Factor]) -> None:
        """Inverse of :meth:`factors`."""
        start = 0
        with torch.no_grad():
            for i, (name, size) in enumerate(zip(self.names, self.sizes, strict=True)):
                if not self.rank:
                    return
                self.a[i * self.rank : (i + 1) * self.rank].copy_(factors[name].a)
                self.b[i].copy_(factors[name].b)
                magnitude = factors[name].magnitude
                if self.magnitude is not None and magnitude is not None:
                    self.magnitude[start : start + size].copy_(magnitude)
                start += size
