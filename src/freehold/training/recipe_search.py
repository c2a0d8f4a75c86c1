"""Learning rate and rank by successive halving on the validation rows, within a time budget.

Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"
(arXiv 1502.07943). Each round trains every recipe left for as many steps, keeps the better half and doubles
the steps; every run starts from the beginning, so that its learning rate falls to the end as it will in the
real run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from freehold.core import progress
from freehold.core.errors import DoesNotFit
from freehold.core.progress import Sink, task
from freehold.training.loop import Trainer
from freehold.training.recipe import Recipe

RATES = (3e-4, 1e-3, 2e-3, 4e-3)
RANKS = (8, 32)
_LEAST_STEPS = 8


@dataclass(frozen=True)
class RecipeScore:
    """A recipe's outcome in one round: validation loss in nats per answer token, seconds it took."""

    learning_rate: float
    rank: int
    steps: int
    loss: float
    exact: float
    seconds: float


def search(
    make: Callable[[Recipe], Trainer],
    base: Recipe,
    *,
    rows_per_second: float,
    seconds: float,
    sink: Sink,
    choose_rank: bool = True,
) -> tuple[Recipe, list[RecipeScore], str]:
    """The best recipe found in about ``seconds``, everything tried, and the reason. Raises DoesNotFit for too
    short a time.

    ``make`` builds a trainer for a recipe, with the rows both train and validate on. ``choose_rank``: False
    tries the rank of ``base`` only.
    """
    every = left = recipes(base, choose_rank=choose_rank)
    rounds = len(left).bit_length()
    # every round costs alike: half the recipes, twice the steps
    steps = int(rows_per_second * seconds * 0.7 / (rounds * len(left) * base.batch_rows))
    if steps < _LEAST_STEPS:
        needed = _LEAST_STEPS * rounds * len(left) * base.batch_rows / (0.7 * rows_per_second)
        raise DoesNotFit(
            f"a search in {seconds:.0f} s would train each recipe for {steps} steps",
            f"give it {needed:.0f} s, or leave --search out",
        )
    tried: list[RecipeScore] = []
    started = time.monotonic()
    total = sum(max(1, len(left) >> i) for i in range(rounds))
    with task(sink, "searching a recipe", total, "runs") as shown:
        for round_ in range(rounds):
            scored: list[tuple[float, Recipe]] = []
            for recipe in left:
                began = time.monotonic()
                trainer = make(replace(recipe, steps=steps << round_, validations=1))
                _, loss, exact = trainer.run(progress.silent).history.valid[-1]
                del trainer  # before the next one is made, which holds the same weights
                tried.append(
                    RecipeScore(
                        recipe.learning_rate,
                        recipe.rank,
                        steps << round_,
                        loss,
                        exact,
                        time.monotonic() - began,
                    )
                )
                scored.append((loss, recipe))
                shown.at(len(tried), f"rate {recipe.learning_rate:g}, rank {recipe.rank}: loss {loss:.3f}")
            left = [
                recipe for _, recipe in sorted(scored, key=lambda pair: pair[0])[: max(1, len(left) // 2)]
            ]
    best = left[0]
    reason = (
        f"learning rate {best.learning_rate:g} and rank {best.rank} of {len(every)} recipes, "
        f"by successive halving in {time.monotonic() - started:.0f} s ({len(tried)} runs)"
    )
    return best, tried, reason


def recipes(base: Recipe, *, choose_rank: bool) -> list[Recipe]:
    """The recipes that a search tries."""
    ranks = {rank: 2.0 * rank for rank in RANKS} if choose_rank else {base.rank: base.alpha}
    return [
        replace(base, learning_rate=rate, rank=rank, alpha=alpha)
        for rate in RATES
        for rank, alpha in ranks.items()
    ]
