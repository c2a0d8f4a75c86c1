"""The one way to train, on a tiny model: the same run from the trial, the verb and a repetition."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freehold.core.errors import DoesNotFit
from freehold.training.loop import Tuned
from freehold.training.preference import PreferenceTrainer
from freehold.training.recipe import Recipe, plan
from freehold.training.recipe_search import RANKS, RATES, recipes
from freehold.training.run import CHECKPOINT, DECISION, TuneOptions, has_tied_head, run
from freehold.training.training_rows import TrainingRows
from tests import tiny

RECIPE = Recipe(rank=2, alpha=4.0, steps=3, batch_rows=4, validations=3, precision="f32")
ROWS = TrainingRows(
    512,
    train=tuple(([1, 9, 40 + n], [60 + n, 2]) for n in range(8)),
    valid=tuple(([1, 9, 70 + n], [90 + n, 2]) for n in range(4)),
)
PAIRS = TrainingRows(
    512,
    pairs=tuple(([1, 9, 40 + n], [60 + n, 2], [61 + n, 2]) for n in range(8)),
    valid_pairs=tuple(([1, 9, 70 + n], [90 + n, 2], [91 + n, 2]) for n in range(4)),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model("llama", tmp_path_factory.mktemp("weights") / "tiny")


def same(one: Tuned, other: Tuned) -> bool:
    return all(
        torch.equal(mine, theirs)
        for name, factor in one.factors.items()
        for mine, theirs in zip(factor[:2], other.factors[name][:2], strict=True)
    )


def test_a_run_says_what_it_decided_and_keeps_the_decision(weights: Path, tmp_path: Path) -> None:
    said: list[str] = []
    result = run(ROWS, weights, TuneOptions(RECIPE, device="cpu"), tmp_path, say=said.append)
    assert result.tuned.recipe == RECIPE
    assert result.last_step == 3
    assert said == list(result.reasons)
    assert "on cpu" in said[0]
    assert said[1].startswith("memory: about")
    assert (tmp_path / DECISION).exists()
    assert (tmp_path / CHECKPOINT).exists()


def test_pairs_are_trained_on_by_preference(weights: Path, tmp_path: Path) -> None:
    result = run(PAIRS, weights, TuneOptions(RECIPE, device="cpu"), tmp_path)
    assert result.reasons[0].startswith("preference tuning (DPO)")
    assert len(result.tuned.history.valid) == 3


def test_every_validation_pair_counts_whatever_its_prompt_begins_with(weights: Path) -> None:
    other = ([5, 6, 7], [8, 2], [9, 2])
    trainer = PreferenceTrainer(weights, PAIRS.pairs, (*PAIRS.valid_pairs, other), RECIPE)
    assert len(trainer.valid) == 2 * (len(PAIRS.valid_pairs) + 1)
    assert trainer.validate()[0] == pytest.approx(math.log(2), abs=1e-4)


def test_a_run_within_a_time_keeps_to_its_plan_when_it_is_resumed(weights: Path, tmp_path: Path) -> None:
    options = TuneOptions(replace(RECIPE, steps=0), time_s=60.0, choose_rank=False, probe_s=0.1, device="cpu")
    first = run(ROWS, weights, options, tmp_path)
    assert "60 s to spend" in first.plan_reason
    assert first.tuned.recipe.rank == RECIPE.rank
    said: list[str] = []
    again = run(ROWS, weights, options, tmp_path, say=said.append)
    assert again.tuned.recipe == first.tuned.recipe
    assert said[-1] == "continuing the run that was stopped"


def test_a_time_that_setting_up_has_used_is_refused(weights: Path, tmp_path: Path) -> None:
    options = TuneOptions(replace(RECIPE, steps=0), time_s=1e-6, time_includes_setup=True, device="cpu")
    with pytest.raises(DoesNotFit, match="too few to learn from"):
        run(ROWS, weights, options, tmp_path)


def test_a_decision_of_an_earlier_version_of_a_trial_is_read(weights: Path, tmp_path: Path) -> None:
    (tmp_path / DECISION).write_text(json.dumps({"recipe": RECIPE.as_dict(), "reason": "3 steps"}))
    result = run(ROWS, weights, TuneOptions(replace(RECIPE, steps=9), device="cpu"), tmp_path)
    assert result.plan_reason == "3 steps"
    assert result.last_step == 3


def test_a_run_that_its_deadline_stopped_is_repeated_to_the_same_step(weights: Path, tmp_path: Path) -> None:
    hurried = replace(RECIPE, steps=50, validations=1, deadline_s=1e-9)
    cut = run(ROWS, weights, TuneOptions(hurried, device="cpu"), tmp_path / "a")
    assert cut.last_step == 1
    assert "the time for tuning ended at step 1 of 50" in cut.tuned.history.stopped
    unhurried = replace(hurried, deadline_s=1e9)
    options = TuneOptions(unhurried, device="cpu", exact=True, last_step=cut.last_step)
    assert same(run(ROWS, weights, options, tmp_path / "b").tuned, cut.tuned)


def test_an_exact_run_takes_the_recipe_as_it_is(weights: Path, tmp_path: Path) -> None:
    options = TuneOptions(RECIPE, memory_bytes=1, time_s=60.0, search_s=60.0, device="cpu", exact=True)
    assert run(ROWS, weights, options, tmp_path).tuned.recipe == RECIPE
    with pytest.raises(DoesNotFit, match="tuning needs at least"):
        run(ROWS, weights, replace(options, exact=False), tmp_path / "other")


def test_the_meter_runs_while_steps_are_trained(weights: Path, tmp_path: Path) -> None:
    events: list[str] = []

    class Meter:
        def __enter__(self) -> None:
            assert (tmp_path / DECISION).exists()
            events.append("started")

        def __exit__(self, *_: object) -> None:
            assert (tmp_path / CHECKPOINT).exists()
            events.append("ended")

    run(ROWS, weights, TuneOptions(RECIPE, device="cpu"), tmp_path, meter=Meter())  # type: ignore[arg-type]
    assert events == ["started", "ended"]


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_is_seen_in_a_folder(tied: bool, tmp_path: Path) -> None:
    assert has_tied_head(tiny.model("llama", tmp_path / "m", tie_word_embeddings=tied)) == tied


def test_stated_steps_are_kept_within_a_time_or_refused() -> None:
    recipe = Recipe(steps=10, batch_rows=16, rank=64)
    kept, reason = plan(recipe, rows=500, rows_per_second=10.0, seconds=60.0, choose_rank=False)
    assert (kept.steps, kept.rank, kept.epochs) == (10, 64, recipe.epochs)
    assert "10 steps, as requested" in reason
    with pytest.raises(DoesNotFit, match="10 steps of 16 rows take about 18 s .* only 12 s are allowed"):
        plan(recipe, rows=500, rows_per_second=10.0, seconds=12.0)


def test_a_rank_is_chosen_by_the_time_only_where_nobody_stated_one() -> None:
    ranks = [
        plan(Recipe(rank=64), rows=5000, rows_per_second=10.0, seconds=60.0, choose_rank=choose)[0].rank
        for choose in (False, True)
    ]
    assert ranks == [64, 8]


def test_a_search_tries_other_ranks_only_where_nobody_stated_one() -> None:
    stated = recipes(Recipe(rank=64, alpha=128.0), choose_rank=False)
    assert {(recipe.rank, recipe.alpha) for recipe in stated} == {(64, 128.0)}
    assert [recipe.learning_rate for recipe in stated] == list(RATES)
    assert {recipe.rank for recipe in recipes(Recipe(), choose_rank=True)} == set(RANKS)


def test_several_workers_on_a_processor_share_the_memory_allowed(weights: Path, tmp_path: Path) -> None:
    alone = run(ROWS, weights, TuneOptions(RECIPE, device="cpu"), tmp_path / "alone")
    options = TuneOptions(RECIPE, device="cpu", workers=2, memory_bytes=round(alone.predicted_bytes * 1.1))
    run(ROWS, weights, replace(options, workers=1), tmp_path / "one")
    with pytest.raises(DoesNotFit):
        run(ROWS, weights, options, tmp_path / "two")
