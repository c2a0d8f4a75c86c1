"""The hub killed again and again while it commits; the benchmark runs a thousand rounds of the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.minutes
def test_fifty_kills_lose_nothing() -> None:
    benchmark = Path(__file__).parents[2] / "benchmarks"
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import hub_kill; "
        "print(json.dumps(hub_kill.main(50)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(benchmark)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    assert counts["rounds"] == 50
    # every round ends in a commit that was not answered; before it, the rounds' draws ask for two on average
    assert counts["acknowledged"] > 50
    assert counts["unanswered"] == 50
