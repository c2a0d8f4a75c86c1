"""``freehold engine``: build llama.cpp for this very processor or card, to be used from the next start on."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from freehold.core import atomic_files, engine_build, settings
from freehold.core.engine_build import BUILT_PACKAGE, BUILT_VERSION, EngineBuild
from freehold.core.errors import MissingPart, StepFailed, UsageError
from freehold.core.progress import Sink, silent, task

#: Kinds of cards a build can be for, and what CMake is told of each.
CARDS = {
    "cuda": "-DGGML_CUDA=ON",
    "vulkan": "-DGGML_VULKAN=ON",
    "metal": "-DGGML_METAL=ON",
}
AUTO, NONE = "auto", "none"
#: Where Linux shows devices.
DEV = Path("/dev")
#: Programs that building for a card needs.
_TOOLS = {"cuda": ("nvcc",), "vulkan": ("vulkaninfo", "glslc"), "metal": ()}
#: Devices of which one is there with such a card, on Linux; elsewhere its tools stand for it.
_DEVICES = {"cuda": ("nvidia[0-9]*", "dxg"), "vulkan": ("dri/renderD*", "dxg"), "metal": ()}
_COMPILERS = ("c++", "g++", "clang++", "cl")
_INSTALL_COMPILER = (
    "install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
    "macOS: xcode-select --install; Windows: the Visual Studio Build Tools)"
)


def card_of(choice: str) -> str:
    """The kind of card to build for: as chosen, or, for ``auto``, the first that is here with its tools.

    Empty for none. Raises UsageError, MissingPart.
    """
    if choice == AUTO:
        return next((card for card in CARDS if _possible(card) and _present(card)), "")
    if choice in ("", NONE):
        return ""
    if choice not in CARDS:
        raise UsageError(
            f"--gpu {choice}: there is no such kind of card", f"use {', '.join((AUTO, NONE, *CARDS))}"
        )
    if not _possible(choice):
        needs = " and ".join(_TOOLS[choice]) or "macOS"
        raise MissingPart(
            f"building for {choice} needs {needs}, which this machine lacks", "install it first"
        )
    return choice


def _possible(card: str) -> bool:
    if card == "metal":
        return sys.platform == "darwin"
    return all(shutil.which(tool) for tool in _TOOLS[card])


def _present(card: str) -> bool:
    patterns = _DEVICES[card] if sys.platform.startswith("linux") else ()
    return not patterns or any(next(DEV.glob(pattern), None) for pattern in patterns)


def cmake_arguments(card: str) -> str:
    """What CMake is told: only the libraries that Freehold loads, for this processor and the card. The
    person's own ``CMAKE_ARGS`` come last, and win.
    """
    only = Path(engine_build.__file__).with_name("engine_libraries.cmake")
    ours = ["-DLLAVA_BUILD=OFF", f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={only}"]
    return " ".join((*ours, *([CARDS[card]] if card else []), os.environ.get("CMAKE_ARGS", ""))).strip()


def build(
    choice: str = AUTO, *, again: bool = False, wheels: Path | None = None, sink: Sink = silent
) -> EngineBuild:
    """The build for this processor and card, made unless it is there already (``again``: even then).

    ``wheels``: a folder that gets the built wheel too; then it is built in any case.

    Waits for a build that another process makes. Raises UsageError, MissingPart, StepFailed.
    """
    card = card_of(choice)
    with atomic_files.locked(settings.home() / "engine.lock", "the text engine's build", wait=True):
        importlib.invalidate_caches()
        known = engine_build.built()
        if known is not None and not again and wheels is None and (not card or card in known.cards):
            return known
        if not any(map(shutil.which, _COMPILERS)):
            raise MissingPart(
                "building the text engine needs a C++ compiler, which this machine lacks", _INSTALL_COMPILER
            )
        with (
            tempfile.TemporaryDirectory(prefix="freehold-engine-") as folder,
            task(sink, "building the text engine", 2, "steps") as progress,
        ):
            # pip's cache does not know a card's build from another's
            fresh = ["--no-cache-dir"] if again or card or os.environ.get("CMAKE_ARGS") else []
            _pip([*_wheel_command(Path(folder)), *fresh], card)
            progress.more(1)
            wheel = next(Path(folder).glob("*.whl"))
            if wheels is not None:
                wheels.mkdir(parents=True, exist_ok=True)
                shutil.copy2(wheel, wheels / wheel.name)
            _pip(["install", "--force-reinstall", "--no-deps", str(wheel)], card)
            _pip(["install", f"{BUILT_PACKAGE}=={BUILT_VERSION}"], card)  # the rest of what it needs
            progress.more(1)
    importlib.invalidate_caches()
    new = engine_build.built()
    assert new is not None
    return new


def _wheel_command(folder: Path) -> list[str]:
    return [
        *("wheel", "--no-deps", "--no-binary", BUILT_PACKAGE),
        *("--wheel-dir", str(folder), f"{BUILT_PACKAGE}=={BUILT_VERSION}"),
    ]


def _pip(arguments: list[str], card: str) -> None:
    """Run pip of this environment.

    Raises MissingPart without pip, StepFailed with the end of what it said.
    """
    if importlib.util.find_spec("pip") is None:
        raise MissingPart(
            "this environment has no pip",
            f'CMAKE_ARGS="{cmake_arguments(card)}" uv pip install {BUILT_PACKAGE}=={BUILT_VERSION}',
        )
    result = subprocess.run(
        [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        env=os.environ | {"CMAKE_ARGS": cmake_arguments(card)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise StepFailed(
            f"the text engine could not be built: {_reason(result.stderr)}",
            f'see all: CMAKE_ARGS="{cmake_arguments(card)}" pip install -v {BUILT_PACKAGE}=={BUILT_VERSION}',
        )


def _reason(said: str) -> str:
    """The first error of the compiler or CMake in what pip said, else the last of its own."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("CMake Error"):  # what is wrong stands on the next line
            return " ".join(lines[number : number + 2])
        if "error:" in line and not line.lower().startswith("error:"):
            return line
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["pip said nothing"])[-1]
