"""How a time budget becomes a tuning run."""

from __future__ import annotations

import pytest

from freehold.core.errors import DoesNotFit
from freehold.training.recipe import MOST_EPOCHS, RESERVE, Recipe, plan


def test_an_adapters_scale() -> None:
    assert Recipe(rank=16, alpha=32.0).scale == 2.0
    assert Recipe(rank=16, alpha=32.0, rslora=True).scale == 8.0


def test_little_time_means_as_many_steps_as_fit() -> None:
    recipe, reason = plan(Recipe(batch_rows=10), rows=10_000, rows_per_second=10, seconds=100)
    rows = 10 * 100 * (1 - RESERVE)
    assert recipe.steps == int(rows) // 10
    assert recipe.epochs == pytest.approx(recipe.steps * 10 / 10_000)
    assert recipe.deadline_s == 100
    assert "bound by the time" in reason


def test_much_time_means_no_more_than_the_most_epochs() -> None:
    recipe, reason = plan(Recipe(batch_rows=10), rows=100, rows_per_second=1000, seconds=1000)
    assert recipe.steps * 10 == MOST_EPOCHS * 100
    assert "bound by 6 epochs" in reason


def test_a_small_rank_where_rows_are_seen_less_than_half_a_time() -> None:
    base = Recipe(rank=32, alpha=64.0, batch_rows=10)
    few, _ = plan(base, rows=10_000, rows_per_second=10, seconds=100)
    many, _ = plan(base, rows=1000, rows_per_second=10, seconds=100)
    assert (few.rank, many.rank) == (8, 16)
    assert few.scale == many.scale == base.scale


def test_less_than_eight_steps_are_refused_with_a_way_out() -> None:
    with pytest.raises(DoesNotFit, match="70 rows, too few to learn from") as raised:
        plan(Recipe(batch_rows=10), rows=1000, rows_per_second=1, seconds=80)
    assert "--budget" in raised.value.remedy
