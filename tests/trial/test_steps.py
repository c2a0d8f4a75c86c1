"""A real step in a real process, broken and taken up again."""

import json
from pathlib import Path

import pytest

from freehold.core import progress
from freehold.core.errors import FreeholdError, StepFailed
from freehold.trial.arguments import BaselinesArguments, LookArguments, MeasureArguments, Subject
from freehold.trial.results import BaselinesResult, MeasureResult
from freehold.trial.steps import OutOfTime, Steps
from tests.trial.rows import figure


def look(name: str = "m") -> LookArguments:
    """A step that fails, since its task is not there."""
    return LookArguments(Subject({}, None, "", "rev", name, plain=False), task="/nowhere/task.json")


def simple(task: str = "/nowhere/task.json") -> BaselinesArguments:
    """A step of no model, which fails too."""
    return BaselinesArguments({}, None, "", (), "", tune=False, task=task)


def measure() -> MeasureArguments:
    """A step that may be cut short."""
    return MeasureArguments(
        look().subject,
        weights_digest="w",
        shots=(),
        max_tokens=8,
        split="test",
        parallel=1,
        context=256,
        task="/nowhere/task.json",
    )


def part(rows: int) -> MeasureResult:
    """Of 9 rows, so many."""
    return MeasureResult({"accuracy": figure(1, 0, 1)}, rows, 9, mean_prompt_tokens=1, mean_answer_tokens=1)


def test_a_failed_step_says_so_and_leaves_no_result(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    with pytest.raises(FreeholdError, match="nowhere"):
        steps.run("broken", look())
    assert list(tmp_path.glob("*/result.json")) == []


def test_an_unexpected_error_is_named_and_its_traceback_is_kept(tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text("{}")
    with pytest.raises(StepFailed, match="KeyError"):
        Steps(tmp_path, progress.silent).run("broken", simple(str(task)))
    assert "KeyError" in next(tmp_path.glob("*/traceback.txt")).read_text()


def test_the_time_of_earlier_runs_counts_once(tmp_path: Path) -> None:
    heard: list[float] = []
    steps = Steps(tmp_path, progress.silent, heard.append)
    steps.place("killed", look("a")).joinpath("seconds").write_text("12.5")
    done = steps.place("done", simple())
    done.joinpath("result.json").write_text(json.dumps({"baselines": [], "seconds": 3.0}))
    done.joinpath("seconds").write_text("2.0")
    steps.run("done", simple())
    steps.run("done", simple())
    with pytest.raises(FreeholdError):
        steps.run("killed", look("a"))
    assert heard == [3.0, 12.5]


def test_a_step_is_ended_when_its_time_is_over_and_what_it_kept_can_be_its_result(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    with pytest.raises(OutOfTime):
        steps.run("slow", measure(), end_s=0.02)
    assert not steps.done("slow", measure())
    kept = steps.keep("slow", measure(), part(5))
    assert kept.seconds > 0
    assert steps.run("slow", measure()) == kept


def test_a_result_that_was_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    steps.keep("cut", measure(), part(5))
    assert steps.run("cut", measure(), again=lambda known: known.complete).rows == 5
    with pytest.raises(FreeholdError):  # it is run, and its task is not there
        steps.run("cut", measure(), again=lambda known: not known.complete)
    assert steps.done("cut", measure())


def test_a_step_whose_file_is_gone_is_not_finished(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    place = steps.place("kept", simple())
    (place / "result.json").write_text(json.dumps({"baselines": []}))
    assert steps.run("kept", simple()) == BaselinesResult(())
    with pytest.raises(FreeholdError):
        steps.run("kept", simple(), leaves="file.gguf")
    (place / "file.gguf").write_text("")
    assert steps.run("kept", simple(), leaves="file.gguf") == BaselinesResult(())
