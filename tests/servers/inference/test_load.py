"""Two minutes of the load that the benchmark keeps up for an hour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.minutes
@pytest.mark.slow
def test_two_minutes_at_twice_capacity(home: Path) -> None:
    benchmark = Path(__file__).parents[3] / "benchmarks"
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import serve_load;"
        " print(json.dumps(serve_load.main(2.0, capacity_s=12.0)))"
    )
    environment = {**os.environ, "FREEHOLD_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(benchmark)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]  # whatever is not as it must be raises
    told = json.loads(done.stdout)
    assert told["faults"] == 0
    assert min(told[kind] for kind in ("answered", "429", "left", "refused")) > 5
    assert told["memory_growth"] < 0.1
