"""A tuned model in our own mix of types: made after llama.cpp's types, measured, stored with its lineage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from freehold.core.progress import silent
from freehold.models.lineage import ShrunkStep
from freehold.training.adapter import merge_gguf
from freehold.trial import candidates, jobs, tuning
from freehold.trial.arguments import Arguments
from freehold.trial.planner import Part, Plan
from freehold.trial.run import Trial
from freehold.trial.steps import Steps
from tests.trial.test_candidates import looked


class StepsHere(Steps):
    """Steps that are done in this process, each once."""

    done_here: list[str]

    def run(self, name: str, arguments: Arguments[Any], leaves: str = "", **_: Any) -> Any:
        place = self.place(name, arguments)
        if not (place / "result.json").exists():
            self.done_here.append(arguments.job)
            result = jobs.JOBS[arguments.job].function(replace(arguments, place=str(place)), silent)
            return self.keep(name, arguments, result)
        return super().run(name, arguments)


@pytest.mark.slow
def test_a_mix_is_measured_named_and_done_once(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.trial import task as tasks

    tried = looked(trial)
    tasks.save(trial.task, trial.task_file)
    pace = candidates.Pace(0.1, 1e3, 1e3, 1e3, 1e9, 1e6)
    tried = replace(tried, tuning=candidates.tuning_fit(trial, tried))
    tried = replace(tried, speed=candidates.speed_of(trial, tried, pace, ""))
    trial.tried[tried.model.name] = tried
    steps = StepsHere(trial.folder / "steps", silent)
    steps.done_here = []
    trial.steps = steps
    folder = trial.folder / "tuned"
    folder.mkdir()
    tuned = tuning._Tuned(None, folder, "digest")  # type: ignore[arg-type]  # training is not the subject
    merge_gguf(tuned.merged, trial.store.weights(tried.model), {}, 1.0)
    kept: list[tuple[str, ShrunkStep]] = []
    monkeypatch.setattr(
        tuning, "_keep", lambda *a: kept.append((a[2].id, a[4]))
    )  # storing is tested elsewhere
    for _ in range(2):
        trial.clock.follow(Plan(3600, 0, (Part("mix", tried.model.name, 600, 1, 1),), ()))
        tuning._mix(trial, tried, tuned, tuned.merged.stat().st_size)
    assert steps.done_here == ["mix", "measure"]
    variant = trial.variants[0]
    assert (variant.id, variant.title) == ("org/tiny/tuned-mixed-types", "org/tiny, tuned, mixed types")
    assert variant.size_bytes <= tuned.merged.stat().st_size
    assert variant.rows > 0
    (name, step), again = kept
    assert (name, step) == again
    assert step.digest == variant.digest
    assert step.source == "org/tiny"
    assert trial.notes[0].startswith(
        "org/tiny, tuned, mixed types: chosen by what errors in each matrix cost"
    )
