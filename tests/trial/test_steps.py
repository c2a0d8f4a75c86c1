"""A real step in a real process, broken and taken up again."""

import json
from pathlib import Path

import pytest

from freehold.core import progress
from freehold.core.errors import StepFailed
from freehold.trial.steps import OutOfTime, Steps


def test_a_failed_step_says_so_and_leaves_no_result(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    with pytest.raises(StepFailed, match="KeyError"):
        steps.run("broken", "look", {"nothing": 1})
    assert list(tmp_path.glob("*/result.json")) == []
    assert "KeyError" in next(tmp_path.glob("*/traceback.txt")).read_text()


def test_the_time_of_earlier_runs_counts_once(tmp_path: Path) -> None:
    heard: list[float] = []
    steps = Steps(tmp_path, progress.silent, heard.append)
    steps.place("killed", {"a": 1}).joinpath("seconds").write_text("12.5")
    done = steps.place("done", {"a": 2})
    done.joinpath("result.json").write_text(json.dumps({"seconds": 3.0}))
    done.joinpath("seconds").write_text("2.0")
    steps.run("done", "look", {"a": 2})
    steps.run("done", "look", {"a": 2})
    with pytest.raises(StepFailed):
        steps.run("killed", "look", {"a": 1})
    assert heard == [3.0, 12.5]


def test_a_step_is_ended_when_its_time_is_over_and_what_it_kept_can_be_its_result(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    with pytest.raises(OutOfTime):
        steps.run("slow", "look", {"a": 1}, end_s=0.02)
    assert not steps.done("slow", {"a": 1})
    kept = steps.keep("slow", {"a": 1}, {"rows": 5})
    assert kept["seconds"] > 0
    assert steps.run("slow", "look", {"a": 1}) == kept


def test_a_result_that_was_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    steps.keep("cut", {"a": 1}, {"rows": 5, "of_rows": 9})
    assert steps.run("cut", "look", {"a": 1}, again=lambda known: known["rows"] > 5)["rows"] == 5
    with pytest.raises(StepFailed):  # it is run, and this job knows no such task
        steps.run("cut", "look", {"a": 1}, again=lambda known: known["rows"] < known["of_rows"])
    assert steps.done("cut", {"a": 1})


def test_a_step_whose_file_is_gone_is_not_finished(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    place = steps.place("kept", {"a": 1})
    (place / "result.json").write_text(json.dumps({"answer": 1}))
    assert steps.run("kept", "look", {"a": 1}) == {"answer": 1}
    with pytest.raises(StepFailed):
        steps.run("kept", "look", {"a": 1}, leaves="file.gguf")
    (place / "file.gguf").write_text("")
    assert steps.run("kept", "look", {"a": 1}, leaves="file.gguf") == {"answer": 1}
