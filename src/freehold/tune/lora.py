"""LoRA on frozen matrices, fused by hand.

Several matrices that read the same input (query, key and value; gate and up) are one product with
their A factors appended as extra rows, so the input is read once. The backward pass is written out:
no gradient of a frozen matrix is ever formed, and only the input and the rank-sized product are kept.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685).
"""

from __future__ import annotations

from typing import Any

import torch


class FusedLora(torch.autograd.Function):
    """``y_i = x W_i^T + scale (x A_i^T) B_i^T`` for every i, concatenated over i."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: torch.Tensor, stacked: torch.Tensor, a: torch.Tensor, scale: float, sizes: list[int], *b: torch.Tensor
    ) -> torch.Tensor:
        """``x`` (tokens, in), ``stacked`` (sum(out) + n r, in) whose last rows hold ``a`` (n r, in), ``b`` n of (out_i, r)."""
        outputs = sum(sizes)
        low = [factor.to(x.dtype) for factor in b]
        stacked[outputs:].copy_(a.detach())
        both = x @ stacked.t()
        y = both[:, :outputs]
        inner = both[:, outputs:]
        rank = low[0].shape[1]
        start = 0
        for index, size in enumerate(sizes):
            part = y[:, start : start + size]
            part.addmm_(inner[:, index * rank : (index + 1) * rank], low[index].t(), alpha=scale)
            start += size
        ctx.save_for_backward(x, inner.contiguous(), *low)
        ctx.stacked, ctx.scale, ctx.sizes = stacked, scale, sizes
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        (dy,) = grads
        x, inner, *low = ctx.saved_tensors
        rank, scale = low[0].shape[1], ctx.scale
        outputs = sum(ctx.sizes)
        joint = torch.empty((dy.shape[0], outputs + rank * len(low)), dtype=dy.dtype, device=dy.device)
        joint[:, :outputs] = dy
        d_low: list[torch.Tensor] = []
        start = 0
        for index, size in enumerate(ctx.sizes):
            part = joint[:, start : start + size]
            columns = slice(index * rank, (index + 1) * rank)
            d_low.append((part.t() @ inner[:, columns]).float().mul_(scale))
            torch.mul(part @ low[index], scale, out=joint[:, outputs + columns.start : outputs + columns.stop])
            start += size
        d_a = (joint[:, outputs:].t() @ x).float()
        dx = joint @ ctx.stacked if ctx.needs_input_grad[0] else None
        return dx, None, d_a, None, None, *d_low


class LoraGroup(torch.nn.Module):
    """Frozen matrices that share an input, with one adapter each."""

    def __init__(self, names: list[str], frozen: list[torch.Tensor], rank: int, scale: float, generator: torch.Generator):
        super().__init__()
        self.names, self.rank, self.scale = names, rank, scale
        self.sizes = [matrix.shape[0] for matrix in frozen]
        inputs = frozen[0].shape[1]
        room = torch.zeros((rank * len(frozen), inputs), dtype=frozen[0].dtype)
        self.stacked = torch.cat([*frozen, room])
        bound = inputs**-0.5  # Kaiming uniform with a = sqrt(5), as the paper's own code starts A
        start = torch.empty((rank * len(frozen), inputs)).uniform_(-bound, bound, generator=generator)
        self.a = torch.nn.Parameter(start)
        self.b = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros((size, rank))) for size in self.sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) -> (tokens, sum of outputs)."""
        return FusedLora.apply(x, self.stacked, self.a, self.scale, self.sizes, *self.b)  # type: ignore[no-any-return]

    def factors(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Module name -> (A of shape (rank, in), B of shape (out, rank)), float32."""
        return {name: (self.a.detach()[i * self.rank : (i + 1) * self.rank].clone(), self.b[i].detach().clone()) for i, name in enumerate(self.names)}

    def load_factors(self, factors: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Inverse of :meth:`factors`."""
        with torch.no_grad():
            for i, name in enumerate(self.names):
                a, b = factors[name]
                self.a[i * self.rank : (i + 1) * self.rank].copy_(a)
                self.b[i].copy_(b)
