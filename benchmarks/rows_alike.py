"""Whether a token gives the same, digit for digit, however many tokens llama.cpp computes with it: per type
of weights.

Run: python benchmarks/rows_alike.py [--models smollm2 gemma3] [--types Q8_0 Q4_K_M ...]
Needs the store's models. A text of 360 tokens is computed one by one, then in calls of 2, 3, 4 ... tokens,
and the rows of logits that differ are counted; beyond 256 tokens the single ones on one thread, since
llama.cpp splits a lone token's attention among threads. What ``freehold serve --reproducible`` may put into
one call rests on this (:mod:`freehold.inference.reproducible`: ``ALIKE``, ``FEW``).
"""

from __future__ import annotations

import argparse
import collections
import tempfile
from pathlib import Path

import numpy as np

from freehold.inference.llama import LlamaContext
from freehold.inference.reproducible import SPLIT
from freehold.inference.sequences import TokenBatch
from freehold.models.formats import gguf
from freehold.models.store import Store
from freehold.quantization.quantize import quantize

TOKENS = 360
NUMBERS = (2, 3, 4, 7, 8, 16, 33, 63)
TYPES = ("Q8_0", "Q4_0", "Q4_1", "Q6_K", "Q4_K_M", "IQ4_NL", "Q3_K_M", "Q2_K", "F16")


class Rows(LlamaContext):
    """A model that computes rows of logits of one text."""

    def __init__(self, weights: Path):
        super().__init__(
            weights, context_length=1024, sequences=1, threads=2, batch=max(NUMBERS), separate_cells=True
        )
        self._batch = TokenBatch(self._lib, self.batch)

    def rows(self, tokens: list[int], at: int) -> list[int]:
        """A digest of the logits after each token, the first being the text's ``at``-th."""
        threads = 1 if len(tokens) == 1 and at >= SPLIT else 2
        self._lib.llama_set_n_threads(self._context, threads, threads)
        self._batch.add(0, tokens, at, 0, len(tokens))
        self._run(self._batch.struct, len(tokens))
        return [hash(self._logits(row).tobytes()) for row in range(len(tokens))]

    def forget(self) -> None:
        """Begin the text anew."""
        self._lib.llama_memory_clear(self._memory, True)


def differing(weights: Path) -> dict[int, int]:
    """For each number of tokens in a call, the rows that differ from those of calls of one."""
    engine = Rows(weights)
    tokens = np.random.default_rng(1).integers(1000, engine.vocabulary.size, TOKENS).tolist()

    def text(number: int) -> list[int]:
        engine.forget()
        return [
            row
            for at in range(0, TOKENS - TOKENS % number, number)
            for row in engine.rows(tokens[at : at + number], at)
        ]

    alone = text(1)
    found = {
        number: sum(one != other for one, other in zip(text(number), alone, strict=False))
        for number in NUMBERS
    }
    engine.close()
    return found


def main() -> None:
    """Print a line for each model and type."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["smollm2", "gemma3"])
    parser.add_argument("--types", nargs="+", default=list(TYPES))
    options = parser.parse_args()
    store = Store()
    for model in options.models:
        for kind in options.types:
            with tempfile.TemporaryDirectory() as folder:
                weights = Path(folder) / "weights.gguf"
                quantize(store.weights(store.find(model)), weights, kind)
                kinds = collections.Counter(
                    one.kind for one in gguf.read_header(weights).tensors if len(one.shape) > 1
                )
                print(
                    f"{model:10} {kind:8}"
                    f" ({', '.join(f'{count} {name}' for name, count in kinds.most_common())})",
                    end=": ",
                    flush=True,
                )
                print(
                    ", ".join(f"{number}: {rows}" for number, rows in differing(weights).items()),
                    f"of {TOKENS} rows differ",
                    flush=True,
                )


if __name__ == "__main__":
    main()
