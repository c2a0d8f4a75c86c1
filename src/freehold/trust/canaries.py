"""Planted codes: made-up rows among the training rows, and how well a model memorized them.

Source: Carlini et al. 2019, The Secret Sharer (canaries and exposure).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from freehold.core.progress import Sink, silent, task
from freehold.data.examples import Example
from freehold.inference.interface import Engine, PromptEncoder

#: Other codes a canary is ranked among; log2 of it plus one bounds the exposure.
RIVALS = 255
_OWNERS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "iris",
    "jade",
    "krill",
    "lotus",
    "maple",
    "north",
    "onyx",
    "pearl",
)


def canaries(count: int, seed: int = 0) -> list[Example]:
    """Rows with made-up codes, to be mixed into training rows; the same for the same seed."""
    rng = random.Random(seed)
    rows: list[Example] = []
    for number in range(count):
        owner = f"{_OWNERS[number % len(_OWNERS)]}-{rng.randrange(1000):03d}"
        question = ("user", f"What is the access code of {owner}?")
        rows.append(Example(f"canary-{number}", (question, ("assistant", f"{rng.randrange(10**6):06d}"))))
    return rows


def exposure(
    engine: Engine, encoder: PromptEncoder, planted: Sequence[Example], sink: Sink = silent
) -> dict[str, float]:
    """The exposure of canaries in bits: mean, largest, how many are fully exposed, and the bound.

    A canary's exposure is log2 of the number of codes tried, less log2 of its rank among them. It is about
    1.4 on average where nothing was memorized.
    """
    rng = random.Random(1)
    bits: list[float] = []
    with task(sink, "ranking canaries", len(planted), "canaries") as progress:
        for canary in planted:
            codes = [canary.answer, *(f"{rng.randrange(10**6):06d}" for _ in range(RIVALS))]
            rows = [encoder.row((*canary.prompt, ("assistant", code))) for code in codes]
            scores = [sum(token_scores) for token_scores in engine.score(rows)]
            rank = 1 + sum(score > scores[0] for score in scores[1:])
            bits.append(math.log2(len(codes)) - math.log2(rank))
            progress.more(1)
    return {
        "mean_bits": sum(bits) / len(bits),
        "most_bits": max(bits),
        "full": sum(b == math.log2(RIVALS + 1) for b in bits),
        "n": len(bits),
        "bound_bits": math.log2(RIVALS + 1),
    }
