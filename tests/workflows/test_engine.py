"""freehold engine build: what it is for, what it needs, and what CMake is told."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from freehold.core import engine_build
from freehold.core.engine_build import EngineBuild
from freehold.core.errors import MissingPart, StepFailed, UsageError
from freehold.workflows import engine

BUILT = EngineBuild("built", "llama-cpp-python", "0.3.36", Path("l.so"), Path("g.so"))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The programs that are installed."""
    names: set[str] = {"c++"}
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/bin/{name}" if name in names else None)
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    return names


def test_the_card_is_found_by_its_device_and_its_tools(
    programs: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "DEV", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    programs |= {"vulkaninfo", "glslc", "nvcc"}
    assert engine.card_of("auto") == ""
    assert engine.card_of("cuda") == "cuda"  # as for an image that is built on a machine without a card
    (tmp_path / "dri").mkdir()
    (tmp_path / "dri" / "renderD128").touch()
    assert engine.card_of("auto") == "vulkan"
    (tmp_path / "nvidia0").touch()
    assert engine.card_of("auto") == "cuda"
    programs.remove("nvcc")
    assert engine.card_of("auto") == "vulkan"
    assert engine.card_of("none") == ""


def test_a_card_without_its_tools_is_refused(programs: set[str]) -> None:
    with pytest.raises(MissingPart, match="building for vulkan needs vulkaninfo and glslc"):
        engine.card_of("vulkan")
    with pytest.raises(UsageError, match="--gpu tpu"):
        engine.card_of("tpu")


def test_cmake_is_told_the_card_and_what_the_person_says_comes_last(
    programs: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_NATIVE=OFF")
    words = engine.cmake_arguments("cuda").split()
    assert words[-2:] == ["-DGGML_CUDA=ON", "-DGGML_NATIVE=OFF"]
    included = next(word for word in words if "PROJECT_llama.cpp_INCLUDE" in word).partition("=")[2]
    assert "LLAMA_BUILD_COMMON OFF" in Path(included).read_text()


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The calls of pip, which makes an empty wheel."""
    calls: list[list[str]] = []
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    builds: list[EngineBuild] = []
    monkeypatch.setattr(engine_build, "built", lambda: builds[0] if builds else None)

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-P", "-m", "pip"]
        assert "INCLUDE" in options["env"]["CMAKE_ARGS"]
        calls.append(command[4:])
        if "wheel" in command:
            (Path(command[command.index("--wheel-dir") + 1]) / "llama.whl").write_text("")
        else:
            builds[:] = [BUILT]
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_it_is_built_once_and_copied_where_asked(
    programs: set[str], pip: list[list[str]], tmp_path: Path
) -> None:
    assert engine.build("none") == BUILT
    count = len(pip)
    assert engine.build("none") == BUILT
    assert len(pip) == count
    engine.build("none", wheels=tmp_path / "wheels")
    assert len(pip) == 2 * count
    assert (tmp_path / "wheels" / "llama.whl").exists()


def test_a_build_for_a_card_replaces_one_without(programs: set[str], pip: list[list[str]]) -> None:
    engine.build("none")
    count = len(pip)
    programs.add("nvcc")
    engine.build("cuda")
    assert len(pip) == 2 * count
    assert "--no-cache-dir" in pip[count]


def test_without_a_compiler_the_way_to_one_is_said(programs: set[str], pip: list[list[str]]) -> None:
    programs.clear()
    with pytest.raises(MissingPart, match=r"needs a C\+\+ compiler.*apt install g\+\+"):
        engine.build("none")
    assert pip == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("a\nERROR: no matching distribution\n", "ERROR: no matching distribution"),
        (
            "error: subprocess-exited-with-error\n  CMake Error in ggml-cuda/CMakeLists.txt:\n\n    No GPU.\n"
            "ERROR: Failed to build one or more wheels",
            "CMake Error in ggml-cuda/CMakeLists.txt: No GPU.",
        ),
        (
            "error: subprocess-exited-with-error\n  ggml.c:1:1: error: unknown type name 'x'\n"
            "ERROR: Failed to build one or more wheels",
            "ggml.c:1:1: error: unknown type name 'x'",
        ),
        ("", "pip said nothing"),
    ],
)
def test_a_failed_build_says_what_was_wrong(
    said: str, reason: str, programs: set[str], pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(StepFailed) as failure:
        engine.build("none")
    assert failure.value.message == f"the text engine could not be built: {reason}"
