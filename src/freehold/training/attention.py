"""Attention of short rows to a shared prefix and to themselves, forward and backward by hand.

The prefix's keys and values meet the queries of all rows in one matrix product, so they are never
copied per row, and their gradient comes out of one product as well. The probabilities are kept for
the backward pass, which suits rows of a few hundred tokens; longer ones go through torch's kernel.

Measured on 2 cores, 32 rows of 28 tokens after a prefix of 20, 9 heads of 64: the whole training
step fell from 1.95 s with torch's CPU flash kernel to the figure in docs/log.md.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

#: Rows are filled up to a multiple of this inside: a kernel is built for every new length and kept, about a
#: megabyte each.
ROUND = 16


class PrefixAttention(torch.autograd.Function):
    """``softmax(q [Kp; K]^T s + causal) [Vp; V]`` for rows of one length.

    q (rows, length, heads, dim); k, v (rows, length, kv_heads, dim); prefix_k, prefix_v
    (P, kv_heads, dim), P may be 0. Result (rows, length, heads, dim). ``window`` 0 or the number of
    positions a query sees, itself included.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        prefix_k: torch.Tensor,
        prefix_v: torch.Tensor,
        scale: float,
        window: int,
    ) -> torch.Tensor:
        own_length = q.shape[1]
        q, k, v = (F.pad(t, (0, 0, 0, 0, 0, -own_length % ROUND)) for t in (q, k, v))
        rows, length, heads, dim = q.shape
        kv, prefix = k.shape[2], prefix_k.shape[0]
        q_all = (q * scale).view(rows, length, kv, heads // kv, dim).permute(2, 0, 3, 1, 4).contiguous()
        own_k = k.permute(2, 0, 1, 3).reshape(kv * rows, length, dim)
        own_v = v.permute(2, 0, 1, 3).reshape(kv * rows, length, dim)
        shared_k, shared_v = prefix_k.permute(1, 0, 2).contiguous(), prefix_v.permute(1, 0, 2).contiguous()
        by_row = q_all.view(kv * rows, -1, dim)
        by_head = q_all.view(kv, -1, dim)
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = torch.empty((kv, rows, heads // kv, length, prefix + length), dtype=wide, device=q.device)
        scores[..., prefix:] = (by_row @ own_k.transpose(1, 2)).view(kv, rows, -1, length, length)
        if prefix:
            scores[..., :prefix] = (by_head @ shared_k.transpose(1, 2)).view(kv, rows, -1, length, prefix)
        scores.masked_fill_(_hidden(length, prefix, window, q.device), float("-inf"))
        probabilities = torch.softmax(scores, dim=-1).to(q.dtype)
        own = probabilities[..., prefix:].reshape(kv * rows, -1, length)
        out = (own @ own_v).view(kv, -1, dim)
        shared = probabilities[..., :prefix].reshape(kv, rows * (heads // kv) * length, prefix)
        if prefix:
            out.baddbmm_(shared, shared_v)
        ctx.save_for_backward(q_all, own_k, own_v, shared_k, shared_v, own, shared)
        ctx.shape, ctx.scale = (rows, own_length, length, heads, dim, kv, prefix), scale
        return _to_rows(out, rows, length, heads, dim, kv)[:, :own_length]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        q_all, own_k, own_v, shared_k, shared_v, own, shared = ctx.saved_tensors
        rows, own_length, length, heads, dim, kv, prefix = ctx.shape
        d_out = (
            F.pad(grads[0], (0, 0, 0, 0, 0, length - own_length))
            .view(rows, length, kv, heads // kv, dim)
            .permute(2, 0, 3, 1, 4)
            .contiguous()
        )
        by_row, by_head = d_out.view(kv * rows, -1, dim), d_out.view(kv, -1, dim)
        wide = torch.promote_types(q_all.dtype, torch.float32)
        d_own = (by_row @ own_v.transpose(1, 2)).to(wide)
        inner = (d_own * own).sum(-1, keepdim=True)
        d_shared = torch.empty(0, device=d_own.device)
        if prefix:
            d_shared = (by_head @ shared_v.transpose(1, 2)).to(wide)
            inner += (d_shared * shared).sum(-1, keepdim=True).view_as(inner)
        d_own = d_own.sub_(inner).mul_(own).to(q_all.dtype)
        d_v = own.transpose(1, 2) @ by_row
        d_k = d_own.transpose(1, 2) @ q_all.view(kv * rows, -1, dim)
        d_q = (d_own @ own_k).view(kv, -1, dim)
        d_prefix_k = d_prefix_v = None
        if prefix:
            d_shared = d_shared.sub_(inner.view(kv, -1, 1)).mul_(shared).to(q_all.dtype)
            d_q.baddbmm_(d_shared, shared_k)
            d_prefix_k = (d_shared.transpose(1, 2) @ q_all.view(kv, -1, dim)).permute(1, 0, 2)
            d_prefix_v = (shared.transpose(1, 2) @ by_head).permute(1, 0, 2)

        def own_rows(t: torch.Tensor) -> torch.Tensor:
            return t.view(kv, rows, length, dim)[:, :, :own_length].permute(1, 2, 0, 3)

        d_q = _to_rows(d_q, rows, length, heads, dim, kv)[:, :own_length] * ctx.scale
        return d_q, own_rows(d_k), own_rows(d_v), d_prefix_k, d_prefix_v, None, None


class CappedAttention:
    """The same with scores ``cap * tanh(s / cap)`` (Gemma 2), by plain autograd."""

    def __init__(self, cap: float):
        self.cap = cap

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        prefix_k: torch.Tensor,
        prefix_v: torch.Tensor,
        scale: float,
        window: int,
    ) -> torch.Tensor:
        """See :class:`PrefixAttention`."""
        rows, length, heads, dim = q.shape
        kv, prefix = k.shape[2], prefix_k.shape[0]
        keys, values = (
            torch.cat([shared[None].expand(rows, -1, -1, -1), own], dim=1)
            for shared, own in ((prefix_k, k), (prefix_v, v))
        )
        queries = (q * scale).view(rows, length, kv, heads // kv, dim)
        scores = torch.einsum("rlhgd,rmhd->rhglm", queries, keys)
        scores = self.cap * torch.tanh(scores.to(torch.promote_types(q.dtype, torch.float32)) / self.cap)
        scores = scores.masked_fill(_hidden(length, prefix, window, q.device), float("-inf"))
        probabilities = torch.softmax(scores, dim=-1).to(q.dtype)
        return torch.einsum("rhglm,rmhd->rlhgd", probabilities, values).reshape(rows, length, heads, dim)


def _to_rows(t: torch.Tensor, rows: int, length: int, heads: int, dim: int, kv: int) -> torch.Tensor:
    return t.view(kv, rows, heads // kv, length, dim).permute(1, 3, 0, 2, 4).reshape(rows, length, heads, dim)


def _hidden(length: int, prefix: int, window: int, device: torch.device) -> torch.Tensor:
    """(length, prefix + length): True where a query may not look."""
    at = torch.arange(prefix, prefix + length, device=device)[:, None]
    key = torch.arange(prefix + length, device=device)[None]
    hidden = key > at
    return hidden | (key <= at - window) if window else hidden
