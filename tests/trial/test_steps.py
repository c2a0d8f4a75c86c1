"""A real step in a real process, broken and taken up again."""

import json
from pathlib import Path

import pytest

from freehold import progress
from freehold.errors import StepFailed
from freehold.trial.steps import Steps


def test_a_failed_step_says_so_and_leaves_no_result(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    with pytest.raises(StepFailed, match="KeyError"):
        steps.run("broken", "look", {"nothing": 1})
    assert list(tmp_path.glob("*/result.json")) == []
    assert "KeyError" in next(tmp_path.glob("*/traceback.txt")).read_text()


def test_the_time_of_killed_runs_counts(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    steps.place("one", {"a": 1}).joinpath("seconds").write_text("12.5")
    done = steps.place("two", {"a": 2})
    done.joinpath("result.json").write_text(json.dumps({"seconds": 3.0}))
    done.joinpath("seconds").write_text("2.0")
    assert steps.seconds() == 15.5


def test_a_step_whose_file_is_gone_is_not_finished(tmp_path: Path) -> None:
    steps = Steps(tmp_path, progress.silent)
    place = steps.place("kept", {"a": 1})
    (place / "result.json").write_text(json.dumps({"answer": 1}))
    assert steps.run("kept", "look", {"a": 1}) == {"answer": 1}
    with pytest.raises(StepFailed):
        steps.run("kept", "look", {"a": 1}, leaves="file.gguf")
    (place / "file.gguf").write_text("")
    assert steps.run("kept", "look", {"a": 1}, leaves="file.gguf") == {"answer": 1}
