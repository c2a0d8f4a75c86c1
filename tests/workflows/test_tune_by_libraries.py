"""A model that only transformers can train is tuned, stored, and runs in llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.data.examples import Example
from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.runtime.gguf_form import as_gguf
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions
from freehold.workflows.tune import tune
from tests import tiny


@pytest.mark.slow
def test_what_only_transformers_can_train_is_tuned_stored_and_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    store = Store(tmp_path / "home")
    folder = tiny.model("starcoder2", tmp_path / "folder")
    model = store.add("tiny", made_here({file.name: file for file in folder.iterdir()}), {"source": "test"})
    rows = [
        Example(id=str(n), messages=(("user", f"ticket {n}"), ("assistant", f"red {n % 3}")))
        for n in range(8)
    ]
    options = TuneOptions(Recipe(rank=2, steps=3, batch_rows=4, precision="f32"), device="cpu")
    tuning = tune(store, model, rows, rows[:4], options, "tiny-tuned")
    assert tuning.model.info.format == "safetensors"
    assert any("as Freehold's own does not know starcoder2" in reason for reason in tuning.reasons)
    assert as_gguf(store, tuning.model).info.architecture == "starcoder2"
