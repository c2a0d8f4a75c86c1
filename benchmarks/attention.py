"""Our attention for short rows after a shared prefix, against torch's, forward and backward, in alternating
runs.

Run: python benchmarks/attention.py
Work: 32 rows of 28 tokens after a prefix of 20, 9 heads of 64, 3 key heads, bf16 (SmolLM2-135M on banking77).
"""

from __future__ import annotations

import statistics
import time

import torch

from freehold.training.attention import PrefixAttention

ROWS, LENGTH, PREFIX, HEADS, KV, DIM = 32, 28, 20, 9, 3, 64


def leaf(*shape: int) -> torch.Tensor:
    """A random bf16 tensor that wants a gradient."""
    return torch.randn(*shape, dtype=torch.bfloat16, requires_grad=True)


def main() -> None:
    """Print seconds of both and their ratio."""
    torch.manual_seed(0)
    q, k, v = leaf(ROWS, LENGTH, HEADS, DIM), leaf(ROWS, LENGTH, KV, DIM), leaf(ROWS, LENGTH, KV, DIM)
    pk, pv = leaf(PREFIX, KV, DIM), leaf(PREFIX, KV, DIM)
    at, key = torch.arange(PREFIX, PREFIX + LENGTH)[:, None], torch.arange(PREFIX + LENGTH)[None]
    mask = torch.zeros(LENGTH, PREFIX + LENGTH, dtype=torch.bfloat16).masked_fill_(key > at, float("-inf"))

    def ours() -> None:
        PrefixAttention.apply(q, k, v, pk, pv, 0.125, 0).sum().backward()

    def theirs() -> None:
        keys, values = (
            torch.cat([p[None].expand(ROWS, -1, -1, -1), t], 1).transpose(1, 2) for p, t in ((pk, k), (pv, v))
        )
        out = torch.nn.functional.scaled_dot_product_attention(
            q.transpose(1, 2), keys, values, attn_mask=mask, scale=0.125, enable_gqa=True
        )
        out.sum().backward()

    times: dict[str, list[float]] = {"ours": [], "torch": []}
    for round_ in range(33):
        for name, work in (("ours", ours), ("torch", theirs)):
            started = time.perf_counter()
            work()
            if round_ > 2:
                times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"ours {medians['ours'] * 1e3:.2f} ms, torch {medians['torch'] * 1e3:.2f} ms, ratio"
        f" {medians['torch'] / medians['ours']:.2f}"
    )


if __name__ == "__main__":
    main()
