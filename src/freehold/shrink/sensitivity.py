"""What a model's answers lose when its weights are stored coarser.

Importance: the mean square of what enters each column of each matrix, over the user's own rows. An
error in a column that carries little costs little.

Loss: the Kullback-Leibler divergence of the next-token distribution from the unquantized model's, in
nats, at every position of the rows after what all of them begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from freehold.engines.interface import common_prefix
from freehold.engines.observe import BATCH, Observer
from freehold.errors import BadData
from freehold.progress import Sink, silent, task

#: The unquantized model's log-probabilities are kept in memory, this many bytes at most.
REFERENCE_BYTES = 256_000_000

Rows = list[list[int]]


def importance(model: Path, rows: Rows, sink: Sink = silent) -> dict[str, np.ndarray]:
    """Matrix name -> mean square of its input per column (columns,), float32."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}

    def on_input(name: str, entered: np.ndarray) -> None:
        square = np.einsum("ij,ij->j", entered, entered, dtype=np.float64)
        sums[name] = sums.get(name, 0.0) + square
        counts[name] = counts.get(name, 0) + len(entered)

    with Observer(model, on_input=on_input) as observer, task(sink, "gathering importance", len(rows), "rows") as progress:
        for group in observer.logits(rows):
            progress.more(len(group))
    return {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}


def positions_in_memory(vocabulary: int) -> int:
    """Distributions over ``vocabulary`` tokens that :data:`REFERENCE_BYTES` hold."""
    return REFERENCE_BYTES // (4 * vocabulary)


def choose_rows(rows: Sequence[Sequence[int]], *, tokens: int = 2048, positions: int = 1 << 30) -> Rows:
    """Rows in order, up to ``tokens`` tokens and ``positions`` beside what all begin with; longer ones are cut to a batch.

    Raises BadData when there is none.
    """
    own = len(_shared(rows))
    found: Rows = []
    read = compared = 0
    for row in rows:
        cut = list(row[:BATCH])
        if len(cut) - own < 2:
            continue
        if found and (read + len(cut) > tokens or compared + len(cut) - own > positions):
            break
        found.append(cut[: own + positions])
        read, compared = read + len(cut), compared + len(cut) - own
    if not found:
        raise BadData("no row has two tokens of its own to calibrate on", "give longer rows with --data")
    return found


def _shared(rows: Sequence[Sequence[int]]) -> list[int]:
    """What all rows begin with; nothing for a single row, which has itself only."""
    return common_prefix(rows) if len(rows) > 1 else []


@dataclass(frozen=True)
class Loss:
    """Over ``positions`` positions: mean and 99th percentile of the divergence (nats), share of positions whose likeliest token
    is the unquantized model's, and perplexity of the rows themselves (of which the first's is ``reference_perplexity``)."""

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
        with Observer(model) as observer, task(sink, "reading the unquantized model", len(rows), "rows") as progress:
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
            float(every.mean()), float(every.quantile(0.99)), same / at, float(np.exp(-likelihood / at)), float(np.exp(-own)), at,
        )  # fmt: skip
