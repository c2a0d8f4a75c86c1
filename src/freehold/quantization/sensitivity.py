"""What a model's answers lose when its weights are stored coarser.

Importance: what enters each matrix over the user's own rows. Its mean square per column says what an error
in a column costs; its mean outer product, where memory allows to keep it, what errors in several columns
cost together.

Loss: the Kullback-Leibler divergence of the next-token distribution from the unquantized model's, in
nats, at every position of the rows after what all of them begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from freehold.core.errors import BadData
from freehold.core.progress import Sink, silent, task
from freehold.inference.interface import common_prefix
from freehold.inference.observe import BATCH, Observer

#: The unquantized model's log-probabilities are kept in memory, this many bytes at most.
REFERENCE_BYTES = 256_000_000
#: Outer products of inputs are kept in memory, this many bytes at most.
PRODUCT_BYTES = 1_500_000_000

Rows = list[list[int]]


@dataclass(frozen=True)
class ActivationStatistics:
    """Statistics of each matrix's inputs, by its name. Matrices with the same input share one array."""

    #: mean square per column (columns,)
    mean_square: dict[str, np.ndarray]
    #: mean outer product (columns, columns), for as many matrices as memory holds
    product: dict[str, np.ndarray]


def activation_statistics(model: Path, rows: Rows, sink: Sink = silent) -> ActivationStatistics:
    """Statistics of the inputs of every matrix over ``rows``.

    Outer products are gathered for as many matrices as :data:`PRODUCT_BYTES` hold, in the model's order.
    """
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    products: dict[str, np.ndarray] = {}
    same_as: dict[str, str] = {}
    last: list[tuple[str, np.ndarray]] = []
    used = 0

    def on_input(name: str, values: np.ndarray) -> None:
        nonlocal used
        square = np.einsum("ij,ij->j", values, values, dtype=np.float64)
        new = name not in sums
        sums[name] = sums.get(name, 0.0) + square
        counts[name] = counts.get(name, 0) + len(values)
        if new and last and last[0][1].shape == values.shape and np.array_equal(last[0][1], values):
            same_as[name] = same_as.get(last[0][0], last[0][0])
        if name not in same_as:
            if new and used + 4 * values.shape[1] ** 2 <= PRODUCT_BYTES:
                products[name] = np.zeros((values.shape[1], values.shape[1]), dtype=np.float32)
                used += products[name].nbytes
            if name in products:
                products[name] += values.T @ values
        last[:] = [(name, values.copy())] if new else []

    with (
        Observer(model, on_input=on_input) as observer,
        task(sink, "gathering importance", len(rows), "rows") as progress,
    ):
        for group in observer.logits(rows):
            progress.more(len(group))
    for name, total in products.items():
        total /= counts[name]
    shared = {name: products[other] for name, other in same_as.items() if other in products}
    return ActivationStatistics(
        {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}, products | shared
    )


def positions_in_memory(vocabulary: int) -> int:
    """Distributions over ``vocabulary`` tokens that :data:`REFERENCE_BYTES` hold."""
    return REFERENCE_BYTES // (4 * vocabulary)


def choose_rows(rows: Sequence[Sequence[int]], *, tokens: int = 2048, positions: int = 1 << 30) -> Rows:
    """Rows in order, up to ``tokens`` tokens and ``positions`` beside what all begin with; longer ones are
    cut to a batch.

    Raises BadData when there is none.
    """
    shared = len(_shared(rows))
    chosen: Rows = []
    read = compared = 0
    for row in rows:
        row_part = list(row[:BATCH])
        if len(row_part) - shared < 2:
            continue
        if chosen and (read + len(row_part) > tokens or compared + len(row_part) - shared > positions):
            break
        chosen.append(row_part[: shared + positions])
        read, compared = read + len(row_part), compared + len(row_part) - shared
    if not chosen:
        raise BadData(
            "no row is long enough to calibrate on: it needs two tokens that not all rows share",
            "give longer rows with --data",
        )
    return chosen


def _shared(rows: Sequence[Sequence[int]]) -> list[int]:
    """What all rows begin with; nothing for a single row, which has itself only."""
    return common_prefix(rows) if len(rows) > 1 else []


@dataclass(frozen=True)
class Loss:
    """Over ``positions`` positions: mean and 99th percentile of the divergence (nats), share of positions
    whose likeliest token is the unquantized model's, and perplexity of the rows themselves (of which the
    first's is ``reference_perplexity``).
    """

    kl_mean: float
    kl_p99: float
    same_top: float
    perplexity: float
    reference_perplexity: float
    positions: int


class Reference:
    """The unquantized model's distributions on rows, to compare others with."""

    def __init__(self, model: Path, rows: Rows, sink: Sink = silent):
        self.rows, self.start = rows, max(len(_shared(rows)) - 1, 0)
        with (
            Observer(model) as observer,
            task(sink, "reading the unquantized model", len(rows), "rows") as progress,
        ):
            parts: list[torch.Tensor] = []
            for group in observer.logits(rows):
                parts += [self._distribution(logits) for logits in group]
                progress.more(len(group))
        self.logarithms = torch.cat(parts)
        following = [token for row in rows for token in row[self.start + 1 :]]
        self.following = torch.tensor(following)

    def _distribution(self, logits: np.ndarray) -> torch.Tensor:
        """Log-probabilities at positions that have a next token (positions, vocabulary)."""
        return torch.log_softmax(torch.from_numpy(logits[self.start : -1]), dim=-1)

    def loss_of(self, model: Path) -> Loss:
        """Compare a model of the same vocabulary."""
        divergences: list[torch.Tensor] = []
        same, likelihood, at = 0, 0.0, 0
        with Observer(model) as observer:
            for group in observer.logits(self.rows):
                for logits in group:
                    theirs = self._distribution(logits)
                    ours = self.logarithms[at : at + len(theirs)]
                    divergences.append((ours.exp() * (ours - theirs)).sum(-1))
                    same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
                    likelihood += float(theirs.gather(1, self.following[at : at + len(theirs), None]).sum())
                    at += len(theirs)
        every = torch.cat(divergences)
        own = float(self.logarithms.gather(1, self.following[:, None]).mean())
        return Loss(
            float(every.mean()),
            float(every.quantile(0.99)),
            same / at,
            float(np.exp(-likelihood / at)),
            float(np.exp(-own)),
            at,
        )
