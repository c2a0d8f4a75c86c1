"""A trial keeps the build of the text engine that it began with."""

import os
from pathlib import Path

import pytest

from freehold.core import engine_build
from freehold.core.engine_build import EngineBuild
from freehold.core.errors import UsageError
from freehold.trial.engine_hold import hold_engine

OLD = EngineBuild("prebuilt", "xllamacpp", "2026.1", Path("old.so"), Path("old.so"))
NEW = EngineBuild("built", "llama-cpp-python", "0.3.36", Path("new.so"), Path("new.so"))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EngineBuild]:
    """The builds that are installed; the first is used by default."""
    builds = [OLD]
    monkeypatch.setenv(engine_build.VARIABLE, "")
    monkeypatch.setattr(engine_build, "available", lambda: builds)

    def choose() -> EngineBuild:
        wanted = os.environ[engine_build.VARIABLE]
        return next((build for build in builds if build.kind == wanted), builds[0])

    monkeypatch.setattr(engine_build, "choose", choose)
    return builds


def test_its_steps_use_the_build_of_the_beginning_even_if_another_comes(
    installed: list[EngineBuild], tmp_path: Path
) -> None:
    assert hold_engine(tmp_path) == ""
    installed.insert(0, NEW)
    assert os.environ[engine_build.VARIABLE] == "prebuilt"
    assert engine_build.choose() == OLD


def test_continued_it_goes_on_with_that_build_and_says_so(
    installed: list[EngineBuild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_engine(tmp_path)
    installed.insert(0, NEW)
    monkeypatch.setenv(engine_build.VARIABLE, "")  # another process
    assert hold_engine(tmp_path) == (
        "this trial goes on with the text engine that it began with, xllamacpp 2026.1 (prebuilt)"
    )
    assert engine_build.choose() == OLD


def test_without_that_build_it_is_refused(
    installed: list[EngineBuild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_engine(tmp_path)
    installed[:] = [NEW]
    monkeypatch.setenv(engine_build.VARIABLE, "")
    with pytest.raises(UsageError, match=r"\(xllamacpp 2026\.1\) than the one here \(llama-cpp-python"):
        hold_engine(tmp_path)


def test_one_of_before_there_was_a_choice_was_measured_with_the_built_engine(
    installed: list[EngineBuild], tmp_path: Path
) -> None:
    (tmp_path / "steps" / "quality-a").mkdir(parents=True)
    with pytest.raises(UsageError, match="llama-cpp-python"):
        hold_engine(tmp_path)
    installed.append(NEW)
    assert "llama-cpp-python 0.3.36 (built)" in hold_engine(tmp_path)
