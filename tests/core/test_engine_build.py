"""Which build of llama.cpp is used, and what is said where there is none."""

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core import engine_build
from freehold.core.engine_build import EngineBuild
from freehold.core.errors import MissingPart, UsageError


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes an environment in which nothing but the named packages is installed."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.delenv(engine_build.VARIABLE, raising=False)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: importlib.machinery.PathFinder.find_spec(name, [str(site)]),
    )

    def distribution(name: str) -> importlib.metadata.Distribution:
        known = {d.metadata["Name"]: d for d in importlib.metadata.distributions(path=[str(site)])}
        if name not in known:
            raise importlib.metadata.PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: distribution(name).version)

    def put(name: str, version: str, *files: str, record: bool = True) -> Path:
        information = site / f"{name.replace('-', '_')}-{version}.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        if record:
            (information / "RECORD").write_text("")
        for file in files:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text("")
        return site

    return put


BUILT = ("llama_cpp/__init__.py", "llama_cpp/lib/libllama.so", "llama_cpp/lib/libggml-base.so")
PREBUILT = ("xllamacpp/__init__.py", "xllamacpp/xllamacpp.abi3.so")


def test_the_built_one_is_used_before_the_prebuilt_one(install: Callable[..., Path]) -> None:
    install("xllamacpp", "2026.1", *PREBUILT)
    assert engine_build.choose().name == "xllamacpp 2026.1"
    install("llama-cpp-python", "0.3.1", *BUILT)
    assert engine_build.choose().name == "llama-cpp-python 0.3.1"
    assert [build.kind for build in engine_build.available()] == ["built", "prebuilt"]


def test_a_package_that_is_just_being_installed_is_not_used(install: Callable[..., Path]) -> None:
    install("xllamacpp", "2026.1", *PREBUILT)
    site = install("llama-cpp-python", "0.3.1", *BUILT, record=False)
    assert engine_build.choose().kind == "prebuilt"
    next(site.glob("llama_cpp_python*")).joinpath("RECORD").write_text("")
    assert engine_build.choose().kind == "built"


def test_the_variable_chooses(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    install("xllamacpp", "2026.1", *PREBUILT)
    install("llama-cpp-python", "0.3.1", *BUILT)
    monkeypatch.setenv(engine_build.VARIABLE, "prebuilt")
    assert engine_build.choose().kind == "prebuilt"
    engine_build.hold(next(build for build in engine_build.available() if build.kind == "built"))
    assert os.environ[engine_build.VARIABLE] == "built"
    assert engine_build.choose().kind == "built"


def test_a_folder_is_known_by_its_content(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("libllama.so", "libggml-base.so", "libggml-cuda.so"):
        (tmp_path / name).write_text("a")
    monkeypatch.setenv(engine_build.VARIABLE, str(tmp_path))
    before = engine_build.choose()
    assert before.cards == ("cuda",)
    assert before.name.endswith(", cuda")
    (tmp_path / "libllama.so").write_text("b")
    assert engine_build.choose().name != before.name


def test_what_is_not_there_is_said_with_the_way_out(
    install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(MissingPart, match="is not installed; pip install xllamacpp==.*freehold engine build"):
        engine_build.choose()
    monkeypatch.setenv(engine_build.VARIABLE, "built")
    with pytest.raises(MissingPart, match="none was built here; freehold engine build"):
        engine_build.choose()
    monkeypatch.setenv(engine_build.VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=r"no libllama\.so"):
        engine_build.choose()


def test_the_prebuilt_one_is_not_loaded_on_a_processor_without_its_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = EngineBuild("prebuilt", "xllamacpp", "1", Path("a.so"), Path("a.so"))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(engine_build, "cpu_flags", lambda: {"sse3", "fma", "f16c", "bmi2"})
    with pytest.raises(MissingPart, match="needs a processor with avx2"):
        engine_build.check_processor(build)
    monkeypatch.setattr(engine_build, "cpu_flags", lambda: {"avx2", "fma", "f16c", "bmi2"})
    engine_build.check_processor(build)


def test_the_versions_are_those_that_the_project_asks_for() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f"{engine_build.PREBUILT_PACKAGE}=={engine_build.PREBUILT_VERSION}" in text
    assert f'"{engine_build.BUILT_PACKAGE}=={engine_build.BUILT_VERSION}"' in text
