"""Tuning, and our own mix of types, as a step's process does them, on a model of two layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core import atomic_files
from freehold.core.errors import DoesNotFit
from freehold.core.progress import silent
from freehold.data.examples import Example
from freehold.data.splits import Splits
from freehold.inference.loading import open_vocabulary, prompting
from freehold.models.store import Model, Store
from freehold.quantization.quantize import quantize
from freehold.training.adapter import merge_gguf
from freehold.training.recipe import PREFERENCE_RATE, Recipe
from freehold.training.tuned_files import MERGED_FILE
from freehold.trial import jobs, tuning_jobs
from freehold.trial import task as tasks
from freehold.trial.arguments import LookArguments, MixArguments, Subject, TuneArguments
from freehold.trial.results import MixResult
from freehold.trial.task import Task
from tests.entry import pull
from tests.hub.models import gguf
from tests.trial.rows import labelled, task_of

PAIRS = [(f"card {n}", "a") if n % 2 else (f"pin {n}", "b") for n in range(24)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def model(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return pull(store, f"file:{gguf(tmp_path_factory.mktemp('model') / 'model.gguf')}", "org/tiny")


def task_with(train: list[tuple[str, str]], test: list[tuple[str, str]]) -> Task:
    parts = [labelled(name, rows) for name, rows in (("a", train), ("v", test), ("t", test))]
    return replace(task_of(parts[0], parts[2]), splits=Splits(*parts, (), 0))


def saved(task: Task, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tasks.save(task, folder / "task.json")
    return folder / "task.json"


def subject(store: Store, model: Model) -> Subject:
    return Subject(
        {},
        None,
        "text=text, label=label",
        model.revision,
        model.name,
        plain=True,
        weights=str(store.weights(model)),
        card=model.info.as_dict(),
    )


def mix(store: Store, model: Model, task: Task, folder: Path, size_bytes: int = 1 << 30) -> MixResult:
    (folder / "step").mkdir(parents=True)
    merge_gguf(folder / MERGED_FILE, store.weights(model), {}, 1.0)
    arguments = MixArguments(
        subject(store, model),
        task=str(saved(task, folder)),
        place=str(folder / "step"),
        tuned="t",
        size_bytes=size_bytes,
        calibration_tokens=256,
        positions=64,
        bands=1,
        source=str(folder / MERGED_FILE),
    )
    return tuning_jobs.mix(arguments, silent)


@pytest.mark.slow
def test_a_mix_fits_its_size_and_says_what_it_holds(store: Store, model: Model, tmp_path: Path) -> None:
    merge_gguf(tmp_path / "wide.gguf", store.weights(model), {}, 1.0)
    size = quantize(tmp_path / "wide.gguf", tmp_path / "8.gguf", "Q8_0").size_bytes
    made = mix(store, model, task_with(PAIRS, PAIRS[:6]), tmp_path / "mix", size)
    file = tmp_path / "mix" / "step" / tuning_jobs.MIXED_FILE
    assert made.quantized.size_bytes == file.stat().st_size <= size
    assert made.quantized.type == tuning_jobs.MIXED
    assert made.quantized.digest == atomic_files.sha256_file(file)
    assert sum(made.shares.values()) == pytest.approx(1.0)
    assert 1 <= made.calibration_rows <= len(PAIRS)


def test_a_mix_rests_on_training_rows_alone(store: Store, model: Model, tmp_path: Path) -> None:
    encoder = prompting(model.info, open_vocabulary(store.weights(model)), plain=True)
    other = [("something else entirely, and much longer than the others", "a"), ("again", "b")] * 8
    one, two = task_with(PAIRS, PAIRS[:6]), task_with(PAIRS, other)
    every = 1 << 20
    rows = tuning_jobs.calibration_rows(one, encoder, every)
    assert rows == tuning_jobs.calibration_rows(two, encoder, every)
    assert sorted(rows) == sorted([*p, *a] for p, a in (encoder.row(e.messages) for e in one.splits.train))
    assert len(tuning_jobs.calibration_rows(one, encoder, 2 * len(rows[0]))) < len(rows)
    changed = task_with(other, PAIRS[:6])
    assert tuning_jobs.calibration_rows(changed, encoder, every) != rows


def test_a_mix_that_cannot_be_so_small_is_refused(store: Store, model: Model, tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match="in the coarsest types"):
        mix(store, model, task_with(PAIRS, PAIRS[:6]), tmp_path / "mix", 1000)


def tune_arguments(store: Store, model: Model, task: Task, folder: Path, **more: object) -> TuneArguments:
    (folder / "step").mkdir(parents=True, exist_ok=True)
    return TuneArguments(
        subject(store, model),
        task=str(saved(task, folder)),
        place=str(folder / "step"),
        recipe=Recipe(rank=2, steps=2, batch_rows=4, precision="f32").as_dict(),
        country="",
        tuning_s=60.0,
        **more,  # type: ignore[arg-type]
    )


def preferring(example: Example) -> Example:
    """The row with a rejected answer that is longer than any that was chosen."""
    return replace(example, reference={**example.reference, "rejected": "neither one"})


def test_rows_with_rejected_answers_are_tuned_on_by_preference(
    store: Store, model: Model, tmp_path: Path
) -> None:
    task = task_with(PAIRS, PAIRS[:6])
    parts = (task.splits.train, task.splits.valid, task.splits.test)
    task = replace(task, splits=Splits(*(tuple(map(preferring, rows)) for rows in parts), (), 0))
    file = saved(task, tmp_path)
    look = jobs.look(LookArguments(subject(store, model), task=str(file)), silent)
    assert look.longest_rejected > look.answer_tokens.max
    assert look.longest_row == look.prompt_tokens.max + look.longest_rejected
    result = tuning_jobs.tune(
        tune_arguments(store, model, task, tmp_path, longest_row=look.longest_row), silent
    )
    assert (result.rows, result.rows_left_out, result.steps) == (len(PAIRS), 0, 2)
    assert result.recipe["learning_rate"] == PREFERENCE_RATE
    assert result.made["method"] == "preference (DPO)"


def test_a_tuning_is_fitted_into_the_memory_it_is_given(store: Store, model: Model, tmp_path: Path) -> None:
    arguments = tune_arguments(store, model, task_with(PAIRS, PAIRS[:6]), tmp_path, longest_row=64)
    with pytest.raises(DoesNotFit, match="tuning needs at least"):
        tuning_jobs.tune(replace(arguments, memory_bytes=1), silent)


def test_a_removed_merged_model_is_merged_again_from_its_adapter(
    store: Store, model: Model, tmp_path: Path
) -> None:
    task = task_with(PAIRS, PAIRS[:6])
    arguments = tune_arguments(store, model, task, tmp_path, longest_row=64)
    result = tuning_jobs.tune(arguments, silent)
    merged = tmp_path / "step" / MERGED_FILE
    merged.unlink()
    shrinking = jobs.ShrinkArguments(
        arguments.subject, place=str(tmp_path), tuned="t", types=("Q8_0",), source=str(merged)
    )
    assert tuning_jobs.shrink(shrinking, silent).types["Q8_0"].size_bytes > 0
    assert atomic_files.sha256_file(merged) == result.made["digest"]
