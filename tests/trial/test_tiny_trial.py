"""A whole trial with real steps, on a model of two layers: tuned, shrunk, timed and reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from freehold.core import progress
from freehold.data.splits import Splits
from freehold.models.lineage import ShrunkStep
from freehold.models.store import Store
from freehold.trial import report
from freehold.trial.options import NO_SAFETY, Options
from freehold.trial.run import Trial
from tests.entry import pull
from tests.hub.models import gguf
from tests.trial.rows import labelled, task_of

PAIRS = [("card", "a"), ("pin", "b")] * 12


@pytest.mark.slow
def test_a_tuned_variant_is_measured_stored_and_reported_and_its_steps_are_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    store = Store(tmp_path)
    model = pull(store, f"file:{gguf(tmp_path / 'model.gguf')}", "org/tiny")
    train, valid, test = (labelled(name, PAIRS) for name in ("a", "v", "t"))
    task = replace(task_of(train, test), splits=Splits(train, valid, test, (), 0))
    options = Options(
        budget_s=7200,
        needs=("accuracy>=0.5", "p95<=60s"),
        plain_template=True,
        types=("Q8_0",),
        recipe={"steps": 2, "rank": 4},
        safety_prompts=NO_SAFETY,
        latency_rows=4,
    )

    def run() -> Trial:
        trial = Trial(store, task, [model], options, progress.silent)
        trial.run(lambda plan: plan.budget_s)
        return trial

    trial = run()
    value = json.loads((trial.folder / "report.json").read_text())
    jsonschema.validate(value, report.schema())
    written = report.read(trial.folder / "report.json")
    assert {variant.kind for variant in written.variants} == {"as is", "tuned"}
    by_id = {variant.id: variant for variant in written.variants if variant.kind == "tuned"}
    mixed = by_id.pop("org/tiny/tuned-mixed-types")
    (tuned,) = by_id.values()
    assert tuned.trained is not None
    assert tuned.trained.steps == 2
    assert tuned.quantized is not None
    assert tuned.digest == tuned.quantized.digest == store.find(tuned.stored_as).digest
    assert mixed.quantized is not None
    assert mixed.quantized.size_bytes <= tuned.size_bytes
    stored = store.find(mixed.stored_as)
    assert stored.digest == mixed.digest
    step = stored.info.lineage.last(ShrunkStep)
    assert step is not None
    assert step.digest == mixed.digest
    assert sum((step.types or {}).values()) == pytest.approx(1.0)
    assert stored.info.lineage.parent == ("org/tiny", model.revision)
    assert any(note.startswith("org/tiny, tuned, mixed types: chosen by") for note in written.notes)
    assert list(trial.folder.glob("steps/mix-*/*.gguf")) == []
    results = {path: path.stat().st_mtime_ns for path in trial.folder.glob("steps/*/result.json")}
    run()
    unchanged = [path for path, time in results.items() if path.stat().st_mtime_ns == time]
    assert {path.parent.name.split("-")[0] for path in unchanged} >= {
        "look",
        "measure",
        "tune",
        "shrink",
        "mix",
        "timed",
    }
