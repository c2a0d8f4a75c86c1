"""A tuning can be repeated bit for bit: what was left out then is left out again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from freehold.core import atomic_files
from freehold.core.errors import BadData, NotFound, Unsupported
from freehold.core.progress import silent
from freehold.data.examples import Example, read_splits
from freehold.data.splits import Splits
from freehold.models.intake import made_here
from freehold.models.lineage import TunedStep
from freehold.models.store import Model, Store
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions
from freehold.trial import task as tasks
from freehold.trial import tuning_jobs
from freehold.trial.arguments import Subject, TuneArguments
from freehold.workflows.reproduce import reproduce
from freehold.workflows.tune import RowsOrigin, StoredTuning, tune
from tests import tiny
from tests.runtime.test_gguf_form import files_in

pytestmark = pytest.mark.slow

RECIPE = Recipe(rank=2, alpha=4.0, steps=2, batch_rows=4, validations=2, precision="f32")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return Store(tmp_path / "home")


@pytest.fixture
def base(store: Store, tmp_path: Path) -> Model:
    """A safetensors folder: the verb converts it."""
    folder = tiny.model("llama", tmp_path / "folder")
    return store.add("org/tiny", made_here(files_in(folder)), {"source": "hf:org/tiny"})


def write(path: Path, count: int, *, rejected: bool = False) -> Path:
    """Rows of which one is longer than the tiny model's context of 512 tokens."""
    rows: list[dict[str, str]] = []
    for number in range(count):
        chosen, other = ("lamp", "coat") if number % 2 else ("coat", "lamp")
        prompt = f"The {chosen} of order {number} is late" + " and late" * (400 if number == 1 else 0)
        answers = {"chosen": chosen, "rejected": other} if rejected else {"completion": chosen}
        rows.append({"prompt": prompt, **answers})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tuned(store: Store, base: Model, train: Path, valid: Path) -> StoredTuning:
    read = read_splits(str(train), str(valid), None)
    files = {part: read[part].digest for part in ("train", "valid")}
    train_rows, valid_rows = (list(read[part].examples) for part in ("train", "valid"))
    options = TuneOptions(RECIPE, device="cpu")
    return tune(store, base, train_rows, valid_rows, options, "made", origin=RowsOrigin(files))


@pytest.mark.parametrize("rejected", [False, True])
def test_a_safetensors_model_tuned_with_rows_that_are_too_long_is_reproduced(
    store: Store, base: Model, tmp_path: Path, rejected: bool
) -> None:
    train = write(tmp_path / "train.jsonl", 9, rejected=rejected)
    valid = write(tmp_path / "valid.jsonl", 5, rejected=rejected)
    made = tuned(store, base, train, valid)
    assert made.result.rows.train_left_out == made.result.rows.valid_left_out == 1
    assert made.result.rows.preferences == rejected
    result = reproduce(store, made.model, train, valid)
    assert [(step.step, step.same) for step in result.steps] == [("adapter", True), ("merged", True)]
    assert result.differences == ()
    assert result.wrong == []


def test_other_rows_are_refused(store: Store, base: Model, tmp_path: Path) -> None:
    train, valid = write(tmp_path / "train.jsonl", 9), write(tmp_path / "valid.jsonl", 5)
    made = tuned(store, base, train, valid)
    with pytest.raises(BadData, match="is not the valid file that was used"):
        reproduce(store, made.model, train, train)
    with pytest.raises(NotFound, match="are not kept with it"):
        reproduce(store, made.model, None, None)
    with pytest.raises(Unsupported, match="was not tuned here"):
        reproduce(store, base, train, valid)


def test_a_trials_model_is_reproduced_without_the_rows_that_the_trial_left_out(
    store: Store, base: Model, tmp_path: Path
) -> None:
    read = read_splits(str(write(tmp_path / "train.jsonl", 9)), None, None)
    rows: tuple[Example, ...] = tuple(read["train"].examples)
    splits = Splits(rows[:6], rows[6:8], rows[8:], (), 0)
    task = tasks.Task("orders", splits, "exact", (), "", {})
    tasks.save(task, tmp_path / "task.json")
    folder = Path(store.weights(base))
    step = tmp_path / "step"
    step.mkdir()
    result = tuning_jobs.tune(
        TuneArguments(
            Subject(
                {},
                "exact",
                "",
                base.revision,
                base.name,
                False,
                leave_out=(rows[0].id,),
                weights=str(folder),
                card=base.info.as_dict(),
            ),
            recipe=RECIPE.as_dict(),
            longest_row=4000,
            country="",
            tuning_s=60.0,
            merging_s=1.0,
            task=str(tmp_path / "task.json"),
            place=str(step),
        ),
        silent,
    )
    assert (result.rows, result.rows_left_out) == (4, 1)
    assert result.reason == "2 steps, as requested"
    assert result.energy.seconds >= 0
    files = {path.name: path for path in (step / "adapter").iterdir()}
    lineage = base.made_into(TunedStep(recipe=result.recipe, longest_row=4000, plain=False, **result.made))
    model = store.add(
        "orders/tiny",
        made_here({**files_in(step / "merged"), **files, "task.json": tmp_path / "task.json"}),
        {"source": "trial:1"},
        lineage=lineage,
    )
    assert [(s.step, s.same) for s in reproduce(store, model, None, None).steps] == [("adapter", True)]
    assert result.made["adapter"] == atomic_files.sha256_file(files["adapter_model.safetensors"])
    assert asdict(RECIPE) == result.recipe
