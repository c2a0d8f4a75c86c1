"""``freehold tune`` on a tiny model: what is stored, and what a killed run continues from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core import atomic_files
from freehold.core.errors import BadData, DoesNotFit, Unsupported
from freehold.core.progress import Event
from freehold.data.examples import Example
from freehold.models.intake import made_here
from freehold.models.store import Model, Store
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions
from freehold.workflows.tune import RowsOrigin, StoredTuning, tune
from tests import tiny
from tests.runtime.test_gguf_form import files_in

pytestmark = pytest.mark.slow

OPTIONS = TuneOptions(
    Recipe(rank=2, alpha=4.0, steps=4, batch_rows=4, validations=4, precision="f32", checkpoint_s=0.0),
    device="cpu",
)


def rows(count: int) -> list[Example]:
    return [
        Example(
            f"row{n}", (("user", f"The lamp of order {n} is late"), ("assistant", "lamp")), {"label": "lamp"}
        )
        for n in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return Store(tmp_path / "home")


@pytest.fixture
def base(store: Store, tmp_path: Path) -> Model:
    folder = tiny.model("llama", tmp_path / "folder")
    return store.add("org/tiny", made_here(files_in(folder)), {"source": "hf:org/tiny"})


def tuned(store: Store, base: Model, options: TuneOptions = OPTIONS, **more: object) -> StoredTuning:
    train, valid = rows(12)[:8], rows(12)[8:]
    return tune(store, base, train, valid, options, "made", **more)  # type: ignore[arg-type]


class Killed(BaseException):
    """Stands for a kill: nothing of the run may handle it."""


def kill_at(step: int) -> object:
    def sink(event: Event) -> None:
        if event.unit == "steps" and event.done == step:
            raise Killed

    return sink


def working_folders(store: Store) -> list[Path]:
    return list((store.folder / "tunings").iterdir())


def test_a_safetensors_model_is_tuned_in_its_gguf_form(store: Store, base: Model) -> None:
    said: list[str] = []
    origin = RowsOrigin({"train": "ab"}, {"count": 2, "seed": 1}, masked=True)
    made = tuned(store, base, origin=origin, say=said.append)
    assert said[0] == "tuned as org/tiny-gguf, the GGUF form of org/tiny"
    assert list(made.reasons) == said
    tuning = made.model.info.lineage.tuning
    assert tuning is not None
    assert tuning.base.model == "org/tiny-gguf"
    step = tuning.tuned
    assert (step.data, step.canaries, step.masked) == (origin.files, origin.canaries, True)
    assert (step.rows, step.last_step) == ({"train": 8 + 2, "valid": 4}, 4)
    assert step.digest == made.model.digest
    assert {"adapter.lora", "adapter_config.json", "adapter_model.safetensors"} < set(made.model.manifest)
    assert working_folders(store) == []
    value = json.loads(json.dumps(made.as_dict()))
    assert (value["name"], value["rows"], value["device"]) == ("made", 8 + 2, "cpu")


def test_a_killed_run_continues_from_its_checkpoint(store: Store, base: Model) -> None:
    whole = tuned(store, base).model.digest
    with pytest.raises(Killed):
        tuned(store, base, sink=kill_at(3))
    (folder,) = working_folders(store)
    checkpoint = atomic_files.sha256_file(folder / "checkpoint.safetensors")
    steps: list[float] = []
    said: list[str] = []
    again = tuned(
        store, base, sink=lambda e: steps.append(e.done) if e.unit == "steps" else None, say=said.append
    )
    assert 2 in steps  # where the checkpoint left it
    assert 1 not in steps
    assert "continuing the run that was stopped" in said
    assert again.model.digest == whole
    with pytest.raises(Killed):
        tuned(store, base, replace(OPTIONS, resume=False), sink=kill_at(1))
    (folder,) = working_folders(store)
    assert not (folder / "checkpoint.safetensors").exists() or (
        atomic_files.sha256_file(folder / "checkpoint.safetensors") != checkpoint
    )


def test_what_cannot_be_trained_is_refused_before_it_costs(store: Store, base: Model) -> None:
    with pytest.raises(DoesNotFit, match="raise --memory|tuning needs at least"):
        tuned(store, base, replace(OPTIONS, memory_bytes=1))
    with pytest.raises(BadData, match="no validation rows"):
        tune(store, base, rows(8), [], OPTIONS, "made")
    assert [model.name for model in store.models() if model.name == "made"] == []


def test_an_architecture_that_is_not_known_is_refused(store: Store, base: Model, tmp_path: Path) -> None:
    folder = tiny.model("gpt2", tmp_path / "other", n_embd=64, n_layer=1, n_head=2)
    other = store.add("org/gpt2", made_here(files_in(folder)), {"source": "hf:org/gpt2"})
    with pytest.raises(Unsupported, match="gpt2"):
        tuned(store, other)
