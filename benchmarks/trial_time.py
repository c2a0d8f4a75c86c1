"""How well trials keep their budget, and how good the estimates of the time left are.

    python benchmarks/trial_time.py --data ../shared/data/tickets --budgets 60s,120s,180s,360s

Runs a trial of each file at each budget in a home of its own, with the models of this home, and prints what
it took beside what was given, what was left out, and the median error of the estimates of the time left. The
limit is the budget itself: a trial may take at most a tenth more. Run it with nothing beside it, and beside
``--load N`` busy processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from freehold.core import settings
from freehold.core.units import parse_seconds

NEEDS = {"tickets.csv": "accuracy>=0.8", "orders.jsonl": "field_f1>=0.8"}


def main() -> None:
    """Run every file at every budget."""
    options = _options()
    files = [path for path in sorted(options.data.iterdir()) if path.name in NEEDS]
    print("file            budget    taken    over   time left off by, verdict, what was left out")
    with _busy(options.load):
        for path in files:
            for budget in options.budgets.split(","):
                print(_run(path, budget, options.model), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tickets"))
    parser.add_argument("--budgets", default="60s,120s,180s,360s")
    parser.add_argument("--model", action="append", default=[], help="a model of this home; all if left out")
    parser.add_argument("--load", type=int, default=0, help="busy processes beside the trial")
    return parser.parse_args()


def _run(path: Path, budget: str, models: list[str]) -> str:
    """One trial in a fresh copy of the home, as a line."""
    with tempfile.TemporaryDirectory(prefix="freehold-time-") as folder:
        home = Path(folder) / "home"
        shutil.copytree(settings.home(), home, ignore=shutil.ignore_patterns("trials"), symlinks=True)
        command = [
            sys.executable,
            "-m",
            "freehold.cli.main",
            "trial",
            str(path),
            "--budget",
            budget,
            "--json",
        ]
        command += ["--need", NEEDS[path.name], *(flag for name in models for flag in ("--model", name))]
        started = time.monotonic()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "FREEHOLD_HOME": str(home)},
        )
        taken = time.monotonic() - started
    if done.returncode not in (0, 3, 4):
        return f"{path.name:14} {budget:>7} {taken:6.0f} s  refused: {done.stderr.strip().splitlines()[-2]}"
    report = json.loads(done.stdout)
    error = report["time_left"]
    left = f"{error['median_error']:.0%} of {error['estimates']}" if error else "too few"
    over = taken / parse_seconds(budget) - 1
    skipped = "; ".join(report["verdict"]["skipped"])
    return (
        f"{path.name:14} {budget:>7} {taken:6.0f} s {over:+6.1%}  {left:>12}  {report['verdict']['verdict']} "
        f" {skipped}"
    )


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """Processes that use a core each while the block runs."""
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
