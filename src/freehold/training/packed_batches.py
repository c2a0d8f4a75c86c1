"""Attention over a flat run of tokens in one call: torch's flash attention for sequences of any lengths.

Every row's keys are the shared prefix's and its own. They are laid side by side for the kernel and let go
after it; what flows back into the prefix is summed over the rows, always in the same order. Nothing is
padded, and no probabilities are kept.

Source of the kernel: Dao 2023, "FlashAttention-2" (arXiv 2307.08691), as torch has it for CUDA and ROCm. Away
from a card the same function is computed a sequence at a time, by the plain formulas: for tests, as the
processor has a faster kernel (:mod:`attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

#: Where torch has the kernel; ``meta`` knows its shapes.
_KERNEL = ("cuda", "meta")


@dataclass(frozen=True)
class Sequences:
    """Positions of the sequences in a run: the prefix first, if there is one, then the rows.

    keys (K,): which token of the run each key is, row by row, the prefix's in front of each row's own. own
    (T,): where in ``keys`` each token is as a row's own. shared (rows, P): where the prefix's are. starts,
    key_starts (sequences + 1,), int32.
    """

    keys: torch.Tensor
    own: torch.Tensor
    shared: torch.Tensor
    starts: torch.Tensor
    key_starts: torch.Tensor
    longest: int
    longest_keys: int

    def to(self, device: torch.device) -> Sequences:
        """The same there."""
        return replace(
            self,
            keys=self.keys.to(device),
            own=self.own.to(device),
            shared=self.shared.to(device),
            starts=self.starts.to(device),
            key_starts=self.key_starts.to(device),
        )


def sequences(prefix: int, lengths: Sequence[int]) -> Sequences:
    """The run of a prefix of ``prefix`` tokens and rows of ``lengths``, one after the other."""
    keys, own = list(range(prefix)), list(range(prefix))
    shared: list[list[int]] = []
    starts, key_starts = [0, prefix] if prefix else [0], [0, prefix] if prefix else [0]
    for length in lengths:
        first = starts[-1]
        shared.append(list(range(len(keys), len(keys) + prefix)))
        keys += range(prefix)
        own += range(len(keys), len(keys) + length)
        keys += range(first, first + length)
        starts.append(first + length)
        key_starts.append(len(keys))
    longest = max(lengths, default=0)
    return Sequences(
        torch.tensor(keys),
        torch.tensor(own),
        torch.tensor(shared).view(len(lengths), prefix),
        torch.tensor(starts, dtype=torch.int32),
        torch.tensor(key_starts, dtype=torch.int32),
        max(longest, prefix),
        prefix + longest,
    )


class FlatAttention(torch.autograd.Function):
    """Causal attention of each row to the prefix and itself, and of the prefix to itself.

    q (T, heads, dim); k, v (T, kv_heads, dim); result (T, heads, dim). ``window`` 0 or the number of
    positions a query sees, itself included.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, at: Sequences, scale: float, window: int
    ) -> torch.Tensor:
        # of their own: a view would keep the queries as they were before turning, and all else that is beside
        # them
        q, v = q.contiguous(), v.contiguous()
        out, kept = _forward(q, _laid(k, at), _laid(v, at), at, scale, window)
        ctx.save_for_backward(q, k, v, out, *kept)
        ctx.at, ctx.scale, ctx.window = at, scale, window
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        q, k, v, out, *kept = ctx.saved_tensors
        at: Sequences = ctx.at
        wide_k, wide_v = _laid(k, at), _laid(v, at)
        d_q, d_k, d_v = _backward(
            grads[0].contiguous(), q, wide_k, wide_v, out, _Kept(*kept), at, ctx.scale, ctx.window
        )
        return d_q, _gathered(d_k, at), _gathered(d_v, at), None, None, None


def _laid(t: torch.Tensor, at: Sequences) -> torch.Tensor:
    """Keys or values of the run (T, ...) in the kernel's order (K, ...)."""
    return t.index_select(0, at.keys) if at.shared.shape[1] else t.contiguous()


def _gathered(grad: torch.Tensor, at: Sequences) -> torch.Tensor:
    """Gradients of the keys as laid out (K, ...) -> of the run's tokens (T, ...)."""
    rows, prefix = at.shared.shape
    if not prefix:
        return grad
    own = grad.index_select(0, at.own)
    own[:prefix] += grad.index_select(0, at.shared.view(-1)).view(rows, prefix, *grad.shape[1:]).sum(0)
    return own


class _Kept(NamedTuple):
    """For the kernel's backward pass: log of each query's sum (heads, T), and two tensors for dropout."""

    total: torch.Tensor
    state: torch.Tensor
    offset: torch.Tensor


def _forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, at: Sequences, scale: float, window: int
) -> tuple[torch.Tensor, _Kept]:
    if q.device.type not in _KERNEL:
        return _plain_forward(q, k, v, at, scale, window)
    out, total, state, offset, _ = torch.ops.aten._flash_attention_forward(  # noqa: SLF001
        q,
        k,
        v,
        at.starts,
        at.key_starts,
        at.longest,
        at.longest_keys,
        0.0,
        True,
        False,
        scale=scale,
        window_size_left=window - 1 if window else -1,
        window_size_right=0,
    )
    return out, _Kept(total, state, offset)


def _backward(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    kept: _Kept,
    at: Sequences,
    scale: float,
    window: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    if q.device.type not in _KERNEL:
        return _plain_backward(grad, q, k, v, out, kept, at, scale, window)
    return torch.ops.aten._flash_attention_backward(  # noqa: SLF001
        grad,
        q,
        k,
        v,
        out,
        kept.total,
        at.starts,
        at.key_starts,
        at.longest,
        at.longest_keys,
        0.0,
        True,
        kept.state,
        kept.offset,
        scale=scale,
        window_size_left=window - 1 if window else -1,
        window_size_right=0,
    )


# -- the same by plain formulas -----------------------------------------------------------------


def _parts(at: Sequences) -> list[tuple[slice, slice]]:
    """Queries and keys of each sequence."""
    starts, keys = at.starts.tolist(), at.key_starts.tolist()
    return [(slice(starts[i], starts[i + 1]), slice(keys[i], keys[i + 1])) for i in range(len(starts) - 1)]


def _scores(q: torch.Tensor, k: torch.Tensor, scale: float, window: int) -> torch.Tensor:
    """(kv_heads, group, queries, keys); the last query is the last key's."""
    kv = k.shape[1]
    grouped = q.view(q.shape[0], kv, -1, q.shape[2])
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = torch.einsum("qkgd,skd->kgqs", grouped.to(wide), k.to(wide)) * scale
    position = torch.arange(len(k) - len(q), len(k))[:, None]
    key = torch.arange(len(k))[None]
    hidden = key > position
    return scores.masked_fill_(hidden | (key <= position - window) if window else hidden, float("-inf"))


def _plain_forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, at: Sequences, scale: float, window: int
) -> tuple[torch.Tensor, _Kept]:
    out = torch.empty_like(q)
    total = torch.empty((q.shape[1], q.shape[0]), dtype=torch.promote_types(q.dtype, torch.float32))
    for queries, keys in _parts(at):
        scores = _scores(q[queries], k[keys], scale, window)
        total[:, queries] = scores.logsumexp(-1).flatten(0, 1)
        mixed = torch.einsum("kgqs,skd->qkgd", scores.softmax(-1), v[keys].to(scores.dtype))
        out[queries] = mixed.reshape(q[queries].shape).to(q.dtype)
    return out, _Kept(total, torch.empty(0), torch.empty(0))


def _plain_backward(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    kept: _Kept,
    at: Sequences,
    scale: float,
    window: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    d_q, d_k, d_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for queries, keys in _parts(at):
        own, kv = q[queries], k.shape[1]
        scores = _scores(own, k[keys], scale, window)
        wide = scores.dtype
        shares = (scores - kept.total[:, queries].view(*scores.shape[:3], 1)).exp()
        pull, given = (t[queries].to(wide).view(len(own), kv, -1, q.shape[2]) for t in (grad, out))
        d_v[keys] = torch.einsum("kgqs,qkgd->skd", shares, pull).to(v.dtype)
        inner = (pull * given).sum(-1).permute(1, 2, 0)[..., None]
        d_scores = shares * (torch.einsum("qkgd,skd->kgqs", pull, v[keys].to(wide)) - inner) * scale
        d_q[queries] = (
            torch.einsum("kgqs,skd->qkgd", d_scores, k[keys].to(wide)).reshape(own.shape).to(q.dtype)
        )
        grouped = own.to(wide).view(len(own), kv, -1, q.shape[2])
        d_k[keys] = torch.einsum("kgqs,qkgd->skd", d_scores, grouped).to(k.dtype)
    return d_q, d_k, d_v
