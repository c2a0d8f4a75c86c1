"""The norms and the gated activation before a group of matrices, with backward passes written by hand.

A group's backward pass needs what the group has read. That follows from what the norm or the gate has read,
which is kept anyway or half as wide, so it is computed again instead of kept: a third less memory per token
for a hundredth of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F

#: Where torch has a norm's passes as one kernel each; ``meta`` knows their shapes.
_FUSED = ("cuda", "meta")
#: Takes a gradient from a function's result back to its input (vector-Jacobian product).
Vjp = Callable[[torch.Tensor], torch.Tensor]


class Entry(Protocol):
    """What is computed on the way into a group of matrices."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """(tokens, width read) -> (tokens, in)."""
        ...

    def recompute(self, raw: torch.Tensor) -> tuple[torch.Tensor, Vjp]:
        """The same result again, and its vector-Jacobian product, which takes a gradient back to ``raw``."""
        ...


class Plain(NamedTuple):
    """Nothing."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """(tokens, width read) -> (tokens, in)."""
        return raw

    def recompute(self, raw: torch.Tensor) -> tuple[torch.Tensor, Vjp]:
        """The same result again, and its vector-Jacobian product."""
        return raw, lambda grad: grad


class Normed(NamedTuple):
    """``x / rms(x) * weight`` over the last axis, statistics in float32, weight frozen."""

    weight: torch.Tensor
    epsilon: float

    def _inverse(self, wide: torch.Tensor) -> torch.Tensor:
        return (
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
            .square_()
            .div_(wide.shape[-1])
            .add_(self.epsilon)
            .rsqrt_()
        )

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """(tokens, width read) -> (tokens, in)."""
        if raw.device.type in _FUSED:
            fused = torch.ops.aten._fused_rms_norm  # noqa: SLF001
            return fused(raw, [raw.shape[-1]], self.weight, self.epsilon)[0]
        wide = raw.float()
        inverse = self._inverse(wide)
        return (
            wide.mul_(inverse).mul_(self.weight).to(raw.dtype)
            if raw.dtype != torch.float32
            else wide * inverse * self.weight
        )

    def recompute(self, raw: torch.Tensor) -> tuple[torch.Tensor, Vjp]:
        """The same result again, and its vector-Jacobian product."""
        if raw.device.type in _FUSED:
            return self._recompute_fused(raw)
        wide = raw.float()
        inverse = self._inverse(wide)
        unit = wide * inverse

        def vjp(grad: torch.Tensor) -> torch.Tensor:
            g = grad.float() * self.weight
            projected = (g * unit).mean(dim=-1, keepdim=True)
            return g.addcmul_(unit, projected, value=-1.0).mul_(inverse).to(raw.dtype)

        return (unit * self.weight).to(raw.dtype), vjp

    def _recompute_fused(self, raw: torch.Tensor) -> tuple[torch.Tensor, Vjp]:
        shape = [raw.shape[-1]]
        whole, inverse = torch.ops.aten._fused_rms_norm(raw, shape, self.weight, self.epsilon)  # noqa: SLF001

        def vjp(grad: torch.Tensor) -> torch.Tensor:
            return torch.ops.aten._fused_rms_norm_backward(  # noqa: SLF001
                grad.contiguous(), raw, shape, inverse, self.weight, [True, False]
            )[0]

        return whole, vjp


def norm_weight(weight: torch.Tensor) -> torch.Tensor:
    """A norm's weight in 32 bit, or unchanged where torch's kernel takes it as it is."""
    return weight if weight.device.type in _FUSED else weight.float()


class Gated(NamedTuple):
    """``act(gate) * up`` of (tokens, 2 f) with gate first; act is SiLU or tanh-approximated GELU."""

    gelu: bool

    def _act(self, gate: torch.Tensor) -> torch.Tensor:
        return F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """(tokens, width read) -> (tokens, in)."""
        gate, up = raw.chunk(2, dim=-1)
        return self._act(gate).mul_(up)

    def recompute(self, raw: torch.Tensor) -> tuple[torch.Tensor, Vjp]:
        """The same result again, and its vector-Jacobian product."""
        gate, up = raw.chunk(2, dim=-1)
        act = self._act(gate)

        def vjp(grad: torch.Tensor) -> torch.Tensor:
            out = torch.empty_like(raw)
            d_gate, d_up = out.chunk(2, dim=-1)
            torch.mul(grad, act, out=d_up)
            wide = grad * up
            d_gate.copy_(
                torch.ops.aten.gelu_backward(wide, gate, approximate="tanh")
                if self.gelu
                else torch.ops.aten.silu_backward(wide, gate)
            )
            return out

        return act * up, vjp


class RmsNorm(torch.autograd.Function):
    """:class:`Normed` by itself, where no group of matrices follows."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        return Normed(weight, epsilon).forward(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        return Normed(weight, ctx.epsilon).recompute(x)[1](grads[0]), None, None
