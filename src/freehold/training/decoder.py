"""The decoder that is tuned: packed rows, a shared prefix computed once, loss at answers only.

A batch is one flat run of tokens: the prefix all its rows open with, then every row's own tokens.
Linear layers see the flat run and waste nothing on padding. Attention works on groups of rows of
equal length; each row attends to the prefix's keys and values and causally to itself, and gradients
flow back into the prefix, so the result equals computing every row in full (tested to float
tolerance in tests/tune/test_decoder.py). On a card with flash attention a batch is packed flat:
each row has its own length, nothing is filled up, and attention is one call (:mod:`flat`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from freehold.core.errors import Unsupported
from freehold.models.formats.decoders import DecoderConfig
from freehold.training.activations import Entry, Gated, Normed, Plain, RmsNorm, norm_weight
from freehold.training.attention import CappedAttention, PrefixAttention
from freehold.training.frozen_weights import Scratch
from freehold.training.lora import LoraGroup
from freehold.training.packed_batches import FlatAttention, Sequences, sequences
from freehold.training.weights import Weights

#: Rows up to this length attend through our own kernel; longer ones through torch's, which keeps no
#: probabilities.
SHORT = 256
#: Positions whose logits exist at once, on a processor and on a card.
CHUNK, CARD_CHUNK = 64, 512
#: Words whose rows of the head are multiplied at once on the way back: oneDNN copies the matrix into its own
#: order, which for all would be large.
WORDS = 8192
#: Matrix products see their rows rounded up to this: a kernel is built for every new count and kept, so few
#: counts are faster and take less memory.
ROUND = 32
#: What one more group of equal rows costs in attention, in tokens; rows are filled up to one length while
#: that is cheaper.
GROUP_COST = 12


@dataclass(frozen=True)
class Packed:
    """A batch ready for the decoder.

    tokens (T,) and positions (T,): prefix, then rows, then filling. groups: (first token, rows, length) of
    rows of equal length. targets: (flat index whose output predicts, token id targets) pairs as two tensors.
    order: which of the given rows comes first, second, ... in the run; starts: the first token of each, in
    that order. count: tokens without filling. What fills a row comes after its last token, which so never
    sees it. at: for a flat batch, where each row lies; it has no filling and a group for each row.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    prefix: int
    groups: list[tuple[int, int, int]]
    predict_at: torch.Tensor
    targets: torch.Tensor
    order: list[int]
    starts: list[int]
    count: int
    at: Sequences | None = None

    def to(self, device: torch.device) -> Packed:
        """The same there."""
        if device.type == "cpu":
            return self
        moved = {
            name: getattr(self, name).to(device) for name in ("tokens", "positions", "predict_at", "targets")
        }
        return replace(self, **moved, at=None if self.at is None else self.at.to(device))


def pack(prefix: list[int], rows: list[tuple[list[int], int]], *, flat: bool = False) -> Packed:
    """Pack rows ``(tokens after the prefix, how many of its last tokens are the answer)``.

    ``flat``: see :class:`Packed`.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    lengths = [len(rows[index][0]) for index in order]
    tokens, positions = list(prefix), list(range(len(prefix)))
    groups: list[tuple[int, int, int]] = []
    starts: list[int] = []
    predict_at: list[int] = []
    targets: list[int] = []
    at = 0
    for size in [1] * len(rows) if flat else _groups(lengths):
        length = lengths[at + size - 1]
        groups.append((len(tokens), size, length))
        for index in order[at : at + size]:
            row_tokens, answer = rows[index]
            start = len(tokens)
            starts.append(start)
            for offset in range(len(row_tokens) - answer, len(row_tokens)):
                predict_at.append(start + offset - 1 if offset else len(prefix) - 1)
                targets.append(row_tokens[offset])
            tokens += row_tokens + row_tokens[-1:] * (length - len(row_tokens))
            positions += range(len(prefix), len(prefix) + length)
        at += size
    filling = 0 if flat else -len(tokens) % ROUND
    return Packed(
        torch.tensor(tokens + [0] * filling),
        torch.tensor(positions + [0] * filling),
        len(prefix),
        groups,
        torch.tensor(predict_at),
        torch.tensor(targets),
        order,
        starts,
        len(prefix) + sum(lengths),
        sequences(len(prefix), lengths) if flat else None,
    )


def _groups(lengths: list[int]) -> list[int]:
    """Rows per group for ascending lengths: the split of least filling plus :data:`GROUP_COST` tokens a
    group.
    """
    least, first = [0.0], [0]
    for end in range(1, len(lengths) + 1):
        total, tries = 0, []
        for start in range(end - 1, -1, -1):
            total += lengths[start]
            filled = lengths[end - 1] * (end - start) - total
            if filled > GROUP_COST * len(lengths):
                break
            tries.append((least[start] + filled + GROUP_COST, start))
        best = min(tries)
        least.append(best[0])
        first.append(best[1])
    sizes, end = list[int](), len(lengths)
    while end:
        sizes.append(end - first[end])
        end = first[end]
    return sizes[::-1]


class AnswerLosses(torch.autograd.Function):
    """Cross-entropy of each targets token (positions,); logits exist for ``chunk`` positions at a time only.

    The gradient towards the hidden states is formed in the forward pass, while the logits are at
    hand; the head is frozen, so nothing else is needed.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, chunk: int
    ) -> torch.Tensor:  # type: ignore[override]
        losses = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        words = WORDS if hidden.device.type == "cpu" else head.shape[0]
        grad = torch.empty_like(hidden)
        for start in range(0, hidden.shape[0], chunk):
            target = targets[start : start + chunk]
            size = len(target)
            part = F.pad(hidden[start : start + chunk], (0, 0, 0, -size % ROUND))
            logits = (part @ head.t()).float()
            # in place: each copy of the logits would be as large as all that a layer keeps
            logits.sub_(logits.amax(dim=-1, keepdim=True))
            rows = torch.arange(size, device=hidden.device)
            right = logits[rows, target]
            total = logits.exp_().sum(dim=-1, keepdim=True)
            losses[start : start + chunk] = total[:size, 0].log() - right
            logits.div_(total)
            logits[rows, target] -= 1.0
            part_grad = torch.zeros(part.shape, device=hidden.device)
            for word in range(0, head.shape[0], words):
                part_grad += logits[:, word : word + words].to(hidden.dtype) @ head[word : word + words]
            grad[start : start + chunk] = part_grad[:size]
        ctx.save_for_backward(grad)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        (grad,) = ctx.saved_tensors
        return grad * grads[0][:, None].to(grad.dtype), None, None, None


def _joined(biases: list[torch.Tensor | None]) -> torch.Tensor | None:
    """Biases of query, key and value one after the other; None where there are none."""
    there = [bias for bias in biases if bias is not None]
    return torch.cat(there) if there else None


class Layer(torch.nn.Module):
    """One decoder block with adapters on its seven matrices.

    ``make``: names and frozen matrices -> their group.
    """

    def __init__(
        self, weights: Weights, index: int, make: Callable[[list[str], list[torch.Tensor]], LoraGroup]
    ):
        super().__init__()
        self.config, self.local = weights.config, weights.config.local(index)
        tensors, at = weights.tensors, f"layers.{index}."

        def group(*modules: str) -> LoraGroup:
            names = [at + module for module in modules]
            return make(names, [tensors.take(name + ".weight") for name in names])

        def norm(name: str) -> torch.Tensor | None:
            weight = tensors.take_if_there(f"{at}{name}.weight")
            return None if weight is None else norm_weight(weight)

        c = self.config
        self.bias = _joined([tensors.take_if_there(f"{at}self_attn.{name}_proj.bias") for name in "qkv"])
        if c.family.fused:
            self.qkv, self.gate_up = group("self_attn.qkv_proj"), group("mlp.gate_up_proj")
        else:
            self.qkv = group("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
            self.gate_up = group("mlp.gate_proj", "mlp.up_proj")
        self.out, self.down = group("self_attn.o_proj"), group("mlp.down_proj")
        self.before_attention = norm("input_layernorm")
        self.q_norm, self.k_norm = norm("self_attn.q_norm"), norm("self_attn.k_norm")
        after = norm("post_attention_layernorm")
        self.after_attention = after if c.sandwich_norms else None
        self.before_mlp = norm("pre_feedforward_layernorm") if c.sandwich_norms else after
        self.after_mlp = norm("post_feedforward_layernorm")
        # chosen once, so that a step has nothing to ask
        self.turn = _turn(c, index)
        whole = self.q_norm is not None and len(self.q_norm) != c.head_dim
        self.head_norm = self._whole_norm if whole else self._norm
        self.attend_rows = CappedAttention(c.attention_cap) if c.attention_cap else PrefixAttention.apply

    def _entry(self, weight: torch.Tensor | None) -> Entry:
        return Plain() if weight is None else Normed(weight, self.config.norm_epsilon)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        if weight is None:
            return x
        return RmsNorm.apply(x, weight, self.config.norm_epsilon)  # type: ignore[return-value]

    def forward(
        self,
        h: torch.Tensor,
        batch: Packed,
        rope: tuple[torch.Tensor, torch.Tensor],
        masks: list[torch.Tensor | None],
    ) -> torch.Tensor:
        """(T, hidden) -> (T, hidden)."""
        attended = self.out(
            self._attention(self.qkv(h, self._entry(self.before_attention)), batch, rope, masks), Plain()
        )
        scale = self.config.residual_scale
        h = h.add(self._norm(attended, self.after_attention), alpha=scale)
        both = self.gate_up(h, self._entry(self.before_mlp))
        fed = self.down(both, Gated(self.config.gelu))
        return h.add(self._norm(fed, self.after_mlp), alpha=scale)

    def _attention(
        self,
        qkv: torch.Tensor,
        batch: Packed,
        rope: tuple[torch.Tensor, torch.Tensor],
        masks: list[torch.Tensor | None],
    ) -> torch.Tensor:
        c = self.config
        if self.bias is not None:
            qkv = qkv + self.bias
        heads = qkv.view(qkv.shape[0], c.heads + 2 * c.kv_heads, c.head_dim)
        q, k, v = heads.split([c.heads, c.kv_heads, c.kv_heads], dim=1)
        q, k = self.head_norm(q, self.q_norm), self.head_norm(k, self.k_norm)
        q, k = self.turn(q, rope), self.turn(k, rope)
        window = c.sliding_window if self.local else 0
        if batch.at is not None:
            attended = FlatAttention.apply(q, k, v, batch.at, c.query_scale, window)
            return attended.flatten(1)  # type: ignore[union-attr]
        p = batch.prefix
        pieces: list[torch.Tensor] = []
        if p:
            # copies: a view kept for the backward pass would keep the queries and keys of all rows
            own = [t[None, :p].clone() for t in (q, k, v)]
            pieces.append(self._attend_prefix(own, masks[0], window))
        for (start, rows, length), mask in zip(batch.groups, masks[1:], strict=True):
            own = [
                t[start : start + rows * length].view(rows, length, t.shape[1], c.head_dim) for t in (q, k, v)
            ]
            if length <= SHORT or c.attention_cap:
                out = self.attend_rows(own[0], own[1], own[2], k[:p], v[:p], c.query_scale, window)
                pieces.append(out.reshape(-1, c.heads * c.head_dim))  # type: ignore[union-attr]
            else:
                keys, values = (
                    torch.cat([t[None, :p].expand(rows, -1, -1, -1), o], dim=1)
                    for t, o in zip((k, v), own[1:], strict=True)
                )
                pieces.append(self._attend(own[0], keys, values, mask))
        done = sum(len(piece) for piece in pieces)
        if done < qkv.shape[0]:
            pieces.append(qkv.new_zeros((qkv.shape[0] - done, c.heads * c.head_dim)))
        return torch.cat(pieces)

    def _attend_prefix(self, own: list[torch.Tensor], mask: torch.Tensor | None, window: int) -> torch.Tensor:
        """The prefix attends to itself: (1, P, heads, dim) each -> (P, heads * dim)."""
        if not self.config.attention_cap:
            return self._attend(own[0], own[1], own[2], mask)
        nothing = own[1][0, :0]
        out = self.attend_rows(own[0], own[1], own[2], nothing, nothing, self.config.query_scale, window)
        return out.reshape(own[0].shape[1], -1)  # type: ignore[union-attr]

    def _whole_norm(self, x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        """The norm over all heads together: (T, heads, dim) -> the same."""
        return self._norm(x.flatten(1), weight).view(x.shape)

    def _attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """(rows, length, heads, dim) each -> (rows * length, heads * dim)."""
        c = self.config
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            scale=c.query_scale,
            enable_gqa=c.heads != c.kv_heads,
        )
        return out.transpose(1, 2).reshape(-1, c.heads * c.head_dim)


class Decoder(torch.nn.Module):
    """A frozen decoder with a LoRA adapter on every linear layer from ``frozen_layers`` up."""

    #: What leaves the layers without adapters can be computed once and kept.
    keeps_lower = True

    def __init__(
        self,
        weights: Weights,
        rank: int,
        alpha: float,
        seed: int,
        *,
        scale: float = 0.0,
        bits: int = 16,
        dora: bool = False,
        frozen_layers: int = 0,
        checkpointing: bool = False,
    ):
        super().__init__()
        generator, scratch = torch.Generator().manual_seed(seed), Scratch()
        self.config, self.frozen_layers, self.checkpointing = weights.config, frozen_layers, checkpointing
        self.embedding = weights.tensors.take("embed_tokens.weight")
        head = weights.tensors.take_if_there("lm_head.weight")
        self.head = self.embedding if head is None else head
        # logits that are divided: the same as a smaller norm before the head
        self.final_norm = norm_weight(weights.tensors.take("norm.weight")) / self.config.logit_divisor
        self.dtype = self.embedding.dtype

        def layer(index: int) -> Layer:
            layer_rank = rank if index >= frozen_layers else 0

            def make(names: list[str], frozen: list[torch.Tensor]) -> LoraGroup:
                return LoraGroup(
                    names,
                    frozen,
                    layer_rank,
                    scale or alpha / rank,
                    generator,
                    bits=bits,
                    scratch=scratch,
                    dora=dora,
                )

            return Layer(weights, index, make)

        self.layers = torch.nn.ModuleList(layer(index) for index in range(weights.config.layers))
        if left := weights.tensors.left():
            raise Unsupported(
                f"the tensor {left[0]} is not known to the tuner",
                "choose a model of a plain decoder architecture",
            )

    def hidden(self, batch: Packed, lower: torch.Tensor | None = None) -> torch.Tensor:
        """Last hidden states before the final norm, (T, hidden).

        ``lower``: what :meth:`lower` gave for this batch.
        """
        return self._through(
            self.lower(batch) if lower is None else lower, batch, self.frozen_layers, len(self.layers)
        )

    def lower(self, batch: Packed) -> torch.Tensor:
        """What leaves the layers without adapters, (T, hidden); the same in every step."""
        with torch.no_grad():
            h = self.embedding[batch.tokens] * torch.tensor(self.config.embedding_scale, dtype=self.dtype)
            return self._through(h, batch, 0, self.frozen_layers)

    def _through(self, h: torch.Tensor, batch: Packed, first: int, last: int) -> torch.Tensor:
        c = self.config
        bases = {c.rope_theta_local: (), c.rope_theta: c.rope_factors}
        turned, size = c.rope_dim or c.head_dim, c.rope_magnitude
        ropes = {
            theta: _rope_tables(batch.positions, turned, theta, factors, self.dtype, size)
            for theta, factors in bases.items()
        }
        everywhere = _masks(batch, 0, self.dtype)
        local = _masks(batch, c.sliding_window, self.dtype) if c.sliding_window else everywhere
        for layer in list(self.layers)[first:last]:
            assert isinstance(layer, Layer)
            inputs = (
                h,
                batch,
                ropes[c.rope_theta_local if layer.local else c.rope_theta],
                local if layer.local else everywhere,
            )
            if self.checkpointing and torch.is_grad_enabled():
                h = checkpoint(layer, *inputs, use_reentrant=False)  # type: ignore[assignment]
            else:
                h = layer(*inputs)
        return h

    def answer_losses(self, batch: Packed, chunk: int = 0, lower: torch.Tensor | None = None) -> torch.Tensor:
        """Cross-entropy (nats) of every answer token, in the order of ``batch.targets``.

        ``chunk``: positions whose logits exist at once.
        """
        at_answers = self.hidden(batch, lower)[batch.predict_at]
        normed = RmsNorm.apply(at_answers, self.final_norm, self.config.norm_epsilon)
        chunk = chunk or self._chunk()
        if self.config.logit_cap:
            return self._capped_losses(normed, batch.targets, chunk)  # type: ignore[arg-type]
        return AnswerLosses.apply(normed, self.head, batch.targets, chunk)  # type: ignore[return-value]

    def _capped_losses(self, normed: torch.Tensor, targets: torch.Tensor, chunk: int) -> torch.Tensor:
        """Cross-entropy of capped logits; each chunk's logits are computed again for the backward pass."""

        def part(hidden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(self._logits(hidden), target, reduction="none")

        parts = zip(normed.split(chunk), targets.split(chunk), strict=True)
        return torch.cat([checkpoint(part, *both, use_reentrant=False) for both in parts])  # type: ignore[misc]

    def _logits(self, normed: torch.Tensor) -> torch.Tensor:
        logits, cap = (normed @ self.head.t()).float(), self.config.logit_cap
        return cap * torch.tanh(logits / cap) if cap else logits

    def answer_loss(self, batch: Packed, chunk: int = 0, lower: torch.Tensor | None = None) -> torch.Tensor:
        """Summed cross-entropy (nats) over the batch's answer tokens."""
        return self.answer_losses(batch, chunk, lower).sum()

    def _chunk(self) -> int:
        return CHUNK if self.head.device.type == "cpu" else CARD_CHUNK

    def answer_check(self, batch: Packed, chunk: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy (nats) of each answer token, and whether it is the likeliest; both in the order of
        ``batch.targets``.
        """
        at_answers = self.hidden(batch)[batch.predict_at]
        normed = RmsNorm.apply(at_answers, self.final_norm, self.config.norm_epsilon)
        device, chunk = self.head.device, chunk or self._chunk()
        losses, hits = [torch.empty(0, device=device)], [torch.empty(0, dtype=torch.bool, device=device)]
        for start in range(0, len(batch.targets), chunk):
            logits = self._logits(normed[start : start + chunk])  # type: ignore[index]
            targets = batch.targets[start : start + chunk]
            losses.append(F.cross_entropy(logits, targets, reduction="none"))
            hits.append(logits.argmax(-1) == targets)
        return torch.cat(losses), torch.cat(hits)

    def groups(self) -> list[LoraGroup]:
        """All adapter groups, bottom layer first."""
        return [module for module in self.modules() if isinstance(module, LoraGroup)]


def _rope_tables(
    positions: torch.Tensor,
    head_dim: int,
    theta: float,
    factors: tuple[float, ...],
    dtype: torch.dtype,
    magnitude: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (T, 1, head_dim); the sine's first half is negated for :func:`_apply_rope`."""
    device = positions.device
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim)
    if factors:
        frequency = frequency / torch.tensor(factors, device=device)
    angle = positions.float()[:, None] * frequency[None]
    cos, sin = angle.cos() * magnitude, angle.sin() * magnitude
    return torch.cat([cos, cos], dim=-1)[:, None].to(dtype), torch.cat([-sin, sin], dim=-1)[:, None].to(dtype)


def _apply_rope(x: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return Rope.apply(x, *rope)  # type: ignore[return-value]


Turn = Callable[[torch.Tensor, tuple[torch.Tensor, torch.Tensor]], torch.Tensor]


def _turn(config: DecoderConfig, layer: int) -> Turn:
    """How a layer turns its queries and keys, (T, heads, head_dim), by their positions."""
    if not config.has_rope(layer):
        return lambda x, rope: x
    dimensions = config.rope_dim
    if not dimensions:
        return _apply_rope
    return lambda x, rope: torch.cat([_apply_rope(x[..., :dimensions], rope), x[..., dimensions:]], dim=-1)


class Rope(torch.autograd.Function):
    """Rotary positions (RoPE) for (T, heads, head_dim), forward and backward in as few passes as possible."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return torch.addcmul(x * cos, _swapped(x), sin)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        return torch.addcmul(_swapped(grads[0] * sin), grads[0], cos), None, None


def _swapped(x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return torch.cat([x[..., half:], x[..., :half]], dim=-1)


def _masks(batch: Packed, window: int, dtype: torch.dtype) -> list[torch.Tensor | None]:
    """Additive masks: the prefix's first, then one per group; None where plain causal attention does."""

    if batch.at is not None:
        return []
    device = batch.tokens.device

    def mask(queries: int, before: int) -> torch.Tensor | None:
        if not before and (not window or queries <= window):
            return None
        at = torch.arange(before, before + queries, device=device)[:, None]
        key = torch.arange(before + queries, device=device)[None]
        allowed = key <= at
        if window:
            allowed &= key > at - window
        return torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, float("-inf"))

    return [mask(batch.prefix, 0)] + [mask(length, batch.prefix) for _, _, length in batch.groups]
