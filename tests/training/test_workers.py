"""Several workers train as one does with the whole batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freehold.core import progress
from freehold.core.errors import UsageError
from freehold.training import workers
from freehold.training.loop import Trainer
from freehold.training.recipe import Recipe
from freehold.training.training_rows import TrainingRows
from tests.hub.models import gguf

# of different lengths, so that the workers' shares of a batch differ in tokens; 22 rows are no whole batches
ROWS = tuple(([1, 5, 9, 4 + n % 20], [3 + n % 17] * (1 + n % 4)) for n in range(22))
PAIR = ([1, 5], [6, 2], [7, 2])
RECIPE = Recipe(rank=2, alpha=4.0, batch_rows=4, steps=8, validations=4, precision="f32", checkpoint_s=0.0)


def rows_of(valid: int = 7) -> TrainingRows:
    """Training rows, and so many of them as validation rows."""
    return TrainingRows(512, train=ROWS, valid=ROWS[:valid])


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_the_losses_are_those_of_one_worker_with_the_same_batch(tmp_path: Path, count: int) -> None:
    weights = gguf(tmp_path / "model.gguf")
    alone = Trainer(weights, ROWS, ROWS[:7], RECIPE).run(progress.silent)
    result = workers.train(weights, rows_of(), RECIPE, count, tmp_path / "c.safetensors")
    history = result.tuned.history
    assert [step for step, _ in history.train] == list(range(1, 9))
    for (_, loss), (_, expected) in zip(history.train, alone.history.train, strict=True):
        assert loss == pytest.approx(expected, rel=1e-4)
    for (_, loss, exact), (_, expected, share) in zip(history.valid, alone.history.valid, strict=True):
        assert loss == pytest.approx(expected, rel=1e-4)
        assert exact == pytest.approx(share)
    assert history.tokens >= alone.history.tokens  # each worker reads the shared prefix
    for name, factor in alone.factors.items():
        torch.testing.assert_close(result.tuned.factors[name].a, factor.a, rtol=1e-3, atol=1e-5)
    assert alone.history.train[-1][1] < alone.history.train[0][1]


@pytest.mark.slow
def test_a_run_of_two_workers_goes_on_from_a_checkpoint_of_one(tmp_path: Path) -> None:
    weights, checkpoint = gguf(tmp_path / "model.gguf"), tmp_path / "c.safetensors"
    whole = Trainer(weights, ROWS, (), RECIPE).run(progress.silent)

    def cut(event: progress.Event) -> None:
        if event.done == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Trainer(weights, ROWS, (), RECIPE).run(cut, checkpoint)
    result = workers.train(weights, rows_of(0), RECIPE, 2, checkpoint)
    losses = [loss for _, loss in result.tuned.history.train]
    assert losses == pytest.approx([loss for _, loss in whole.history.train], rel=1e-4)


@pytest.mark.slow
def test_memory_is_summed_over_the_workers(tmp_path: Path) -> None:
    weights = gguf(tmp_path / "model.gguf")
    recipe = replace(RECIPE, steps=1)
    one = workers.train(weights, rows_of(), recipe, 1, None).peak_bytes
    assert workers.train(weights, rows_of(), recipe, 2, None).peak_bytes > one + (50 << 20)


@pytest.mark.parametrize(
    ("rows", "count", "message"),
    [
        (rows_of(), 5, "a batch has 4 rows only"),
        (rows_of(), 0, "must be from 1"),
        (TrainingRows(512, pairs=(PAIR,)), 2, "preferences"),
    ],
)
def test_what_workers_cannot_do_is_refused_before_anything_is_loaded(
    rows: TrainingRows, count: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        workers.train(Path("/nowhere"), rows, RECIPE, count, None)
