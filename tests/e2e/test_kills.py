"""Every verb that writes, killed at drawn points of its work, on a full disk, beside itself, and with the
clock set back.

The rounds are those of ``benchmarks/kill_rounds.py``, which runs a thousand.
"""

from __future__ import annotations

import os
import shutil

import pytest

from tests.scripts import script

kill_rounds = script("kill_rounds")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("cc") or not hasattr(os, "fork"), reason="needs a C compiler and fork (Linux)"
    ),
]
#: What takes seconds; quantizing and whole trials are left to the benchmark.
QUICK = [task.name for task in kill_rounds.TASKS if task.name not in ("shrink", "trial")]


@pytest.mark.minutes
def test_forty_rounds_lose_nothing_and_do_nothing_twice() -> None:
    done = kill_rounds.main(40, 1, 5, QUICK)
    assert sum(done[fault] for fault in kill_rounds.FAULTS if fault in done) == 40
    assert {task for task in QUICK if done.get(task)} == set(QUICK)
    assert all(done[f"points of {task}"] > 10 for task in QUICK)
