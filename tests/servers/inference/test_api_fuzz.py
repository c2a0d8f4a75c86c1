"""Some hundred of the benchmark's hundred thousand broken requests, the same ones each time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["server", "hub,keyed"])
def test_broken_requests_harm_nobody(asked: str) -> None:
    benchmark = Path(__file__).parents[3] / "benchmarks" / "api_fuzz.py"
    words = ["--requests", "800", "--seed", "3", "--only", asked]
    done = subprocess.run(
        [sys.executable, str(benchmark), *words], capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert [part["examples"] for part in told.values()] == [[] for _ in told]
    assert done.returncode == 0
    assert all(part["requests"] >= 400 and part["statuses"]["400"] > 50 for part in told.values())
