"""Whether the 95% interval of a corrected share holds the true share in 95% of simulated safety tests.

    python benchmarks/safety_shares.py

Each run draws models, their labelled answers and so the evaluator's calibration; a further model with
its own rates; and that model's answers. ``coverage`` can be called by other simulations.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from freehold.trust.shares import corrected, rate


@dataclass(frozen=True)
class World:
    """A true share of ``n`` answers, and an evaluator measured on ``models`` with ``rows`` labelled
    answers of each kind.

    ``sensitivity`` and ``specificity`` are means over models, ``spread`` their standard deviation
    between models.
    """

    share: float
    n: int
    sensitivity: float = 0.95
    specificity: float = 0.96
    spread: float = 0.0
    models: int = 3
    rows: int = 200


def coverage(world: World, runs: int = 400, seed: int = 0) -> tuple[float, float, float]:
    """(share of runs whose interval holds the true share, mean width, coverage of the uncorrected
    interval).
    """
    draws = np.random.default_rng(seed)
    held, plain, widths = 0, 0, list[float]()
    for _ in range(runs):
        hits = _rates(world.sensitivity, world, draws)
        passes = _rates(world.specificity, world, draws)
        known = [
            rate([(int(draws.binomial(world.rows, p)), world.rows) for p in r[1:]]) for r in (hits, passes)
        ]
        kind = draws.random(world.n) < world.share
        found = np.where(kind, draws.random(world.n) < hits[0], draws.random(world.n) >= passes[0])
        result = corrected(int(found.sum()), world.n, *known)
        held += result.low <= world.share <= result.high
        plain += result.raw.low <= world.share <= result.raw.high
        widths.append(result.high - result.low)
    return held / runs, float(np.mean(widths)), plain / runs


def _rates(mean: float, world: World, draws: np.random.Generator) -> np.ndarray:
    """The rate on the model under test and on each labelled one."""
    if not world.spread:
        return np.full(world.models + 1, mean)
    strength = mean * (1 - mean) / world.spread**2 - 1
    return draws.beta(mean * strength, (1 - mean) * strength, world.models + 1)


def main() -> None:
    """Print the table."""
    print("| true share | answers | spread between models | coverage | mean width | coverage uncorrected |")
    print("| --- | --- | --- | --- | --- | --- |")
    for share, n, spread in itertools.product(
        (0.0, 0.02, 0.1, 0.5, 0.95), (50, 400), (0.0, 0.03, 0.06, 0.09)
    ):
        held, width, plain = coverage(World(share, n, spread=spread))
        print(f"| {share:.0%} | {n} | {spread} | {held:.1%} | {width:.3f} | {plain:.1%} |", flush=True)


if __name__ == "__main__":
    main()
