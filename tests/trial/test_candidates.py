"""Which models are tried, which rows are left out, and how much memory a variant takes."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from freehold.core import atomic_files, progress
from freehold.core.errors import DoesNotFit
from freehold.inference.loading import predict_memory
from freehold.training.recipe import Recipe
from freehold.trial import candidates
from freehold.trial import task as tasks
from freehold.trial.candidates import TriedModel
from freehold.trial.options import FREE
from freehold.trial.run import Trial
from tests.trial.recorded import RecordedSteps


def looked(trial: Trial, *over_context: str) -> TriedModel:
    """The tiny model after a look at the rows, of which these are too long for it."""
    trial.steps = RecordedSteps(trial, {}, over_context=over_context)
    (tried,) = candidates.look_at_rows(trial).values()
    return tried


def test_few_rows_that_are_too_long_are_left_out_for_all_models_and_named(trial: Trial) -> None:
    looked(trial, "t-0", "a-3")
    assert len(trial.task.splits.test) == 39
    assert len(trial.task.splits.train) == 39
    assert trial.left_out_rows == {"org/tiny": ("t-0", "a-3")}
    assert "2 rows were left out for all models" in trial.notes[0]
    assert "t-0, a-3" in trial.notes[0]
    assert trial.subject(trial.models[0]).leave_out == ("a-3", "t-0")  # a step's digest knows them


def test_one_row_is_said_in_the_singular(trial: Trial) -> None:
    looked(trial, "t-0")
    assert trial.notes[0].startswith("1 row was left out")


def test_more_than_a_twentieth_of_the_rows_leaves_out_the_model(trial: Trial) -> None:
    seven = [f"t-{number}" for number in range(7)]  # of 120
    with pytest.raises(DoesNotFit, match="7 rows exceed its context of 64 tokens, more than 5% of the rows"):
        looked(trial, *seven)
    assert trial.left_out == ["org/tiny"]
    trial.notes.clear()
    assert looked(trial, *seven[:6]).model.name == "org/tiny"


def test_a_single_row_leaves_out_the_model_where_that_is_asked_for(trial: Trial) -> None:
    trial.options = replace(trial.options, too_long="model")
    with pytest.raises(DoesNotFit, match=r"1 rows? exceeds? its context of 64 tokens \(for example t-0\)"):
        looked(trial, "t-0")


def test_a_model_that_needs_more_memory_than_is_allowed_is_left_out_with_both_figures(trial: Trial) -> None:
    trial.memory = 1000
    with pytest.raises(DoesNotFit, match="GiB of memory, but only 0.00 GiB may be used"):
        looked(trial)


def test_as_many_answers_at_once_as_the_memory_holds(trial: Trial) -> None:
    tried = looked(trial)
    info, look = tried.model.info, tried.look
    parallel, context = trial.room(info, look)
    assert parallel == 32
    assert context % 256 == 0
    trial.memory = predict_memory(info, context, 8).total
    assert trial.room(info, look)[0] == 8
    trial.memory = predict_memory(info, 256, 1).total - 1
    with pytest.raises(DoesNotFit, match="the task's longest row does not fit"):
        trial.room(info, look)


def test_worked_examples_are_fewer_where_the_context_has_less_room(trial: Trial) -> None:
    tried = looked(trial)
    assert len(trial.shots(tried.model, tried.look)) == 2  # one for each label
    assert trial.shots(tried.model, replace(tried.look, longest_prompt=50)) == ()


def test_an_architecture_that_cannot_be_tuned_is_named(trial: Trial) -> None:
    tried = looked(trial)
    assert candidates.tuning_fit(trial, tried).untunable == ""
    other = replace(tried, model=replace(tried.model, info=replace(tried.model.info, architecture="mamba")))
    assert candidates.tuning_fit(trial, other).untunable == "its architecture 'mamba' cannot be tuned here"


def test_a_tuning_that_does_not_fit_as_it_is_must_be_fitted_by_the_run(trial: Trial) -> None:
    tried = looked(trial)
    assert candidates.tuning_fit(trial, tried) == candidates.TuningFit(Recipe())
    little, enough = 1, trial.memory
    while enough - little > 1:
        trial.memory = (little + enough) // 2
        fit = candidates.tuning_fit(trial, tried)
        little, enough = (
            (little, trial.memory) if fit == candidates.TuningFit(Recipe()) else (trial.memory, enough)
        )
    trial.memory = little
    assert candidates.tuning_fit(trial, tried) == candidates.TuningFit(Recipe(), little)
    trial.memory = 1000
    assert "tuning needs at least" in candidates.tuning_fit(trial, tried).untunable


def test_pairs_are_always_fitted_by_the_run(trial: Trial) -> None:
    tried = looked(trial)
    splits = trial.task.splits
    pairs = tuple(replace(row, reference={**row.reference, "rejected": "no"}) for row in splits.train)
    trial.task = replace(trial.task, splits=replace(splits, train=pairs, valid=()))
    assert candidates.holds_preferences(trial.task)
    assert candidates.tuning_fit(trial, tried).memory_bytes == trial.memory


def test_a_trial_without_a_search_has_the_identifier_it_had_before(trial: Trial) -> None:
    def with_search(seconds: float) -> str:
        options = replace(trial.options, search_s=seconds)
        return Trial(trial.store, trial.task, trial.models, options, progress.silent).id

    assert with_search(0.0) == trial.id
    assert with_search(60.0) != trial.id
    before = {
        key: value for key, value in asdict(trial.options).items() if key not in (*FREE, "search_s", "mix")
    }
    task = trial.task
    assert (
        trial.id
        == atomic_files.digest_of(
            {
                "task_version": tasks.VERSION,
                "files": task.files,
                "models": [model.revision for model in trial.models],
                "options": before,
                "metric": task.metric_name,
                "columns": task.mapping,
                "labels": task.labels,
                "unknown_label": task.unknown_label,
            }
        )[:12]
    )
