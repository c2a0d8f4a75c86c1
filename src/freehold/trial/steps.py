"""Steps that are done once: each runs in a process of its own and leaves its result under the digest of its inputs.

A process of its own gives each step a peak memory that is its own, gives all memory back, and keeps
a crash in native code from taking the trial along. The process ends with its parent: it watches its
standard input, which closes when the parent dies.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freehold.core import atomic_files
from freehold.core.errors import BY_NAME, FreeholdError, StepFailed, from_json
from freehold.core.progress import Event, Sink

#: How often a running step writes down the time it has taken, so that a killed one's is counted.
CLOCK_S = 5.0


class OutOfTime(Exception):
    """A step's process was ended because its time was over; what it had kept on disk is there."""


class Steps:
    """The steps of one trial, kept in ``folder``. ``replay`` hears the seconds that earlier runs spent on a step that is asked for."""

    def __init__(self, folder: Path, sink: Sink, replay: Callable[[float], None] = lambda _: None):
        self.folder, self.sink, self._replay = folder, sink, replay
        self._counted: set[Path] = set()
        self.folder.mkdir(parents=True, exist_ok=True)

    def place(self, name: str, inputs: dict[str, Any]) -> Path:
        """Folder of the step with these inputs: its result, its kept answers, its checkpoints."""
        path = self.folder / f"{name}-{atomic_files.digest_of(inputs)[:12]}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(
        self,
        name: str,
        job: str,
        inputs: dict[str, Any],
        extra: dict[str, Any] | None = None,
        leaves: str = "",
        *,
        end_s: float = 0.0,
        again: Callable[[dict[str, Any]], bool] | None = None,
    ) -> dict[str, Any]:
        """The step's result, computed if it, or the file it ``leaves``, is not there, or if ``again`` says so of the one that is.

        ``extra`` goes to the job but does not decide whether it is the same step. With ``end_s`` its process is ended after so many
        seconds. Raises what the job raised, StepFailed if its process died, OutOfTime if it was ended.
        """
        place = self.place(name, inputs)
        if (place / "result.json").exists() and (place / leaves).exists():
            known = json.loads((place / "result.json").read_text())
            if again is None or not again(known):
                self._count(place)
                return known
        self._count(place)
        atomic_files.write_atomically(place / "inputs.json", json.dumps(inputs, indent=1))
        started, before = time.monotonic(), _seconds(place)
        written = started

        def relay(event: Event) -> None:
            nonlocal written
            now = time.monotonic()
            if now - written > CLOCK_S:
                atomic_files.write_atomically(place / "seconds", f"{before + now - started:.2f}")
                written = now
            self.sink(event)

        arguments = {**inputs, **(extra or {}), "place": str(place)}
        try:
            result = _in_process(job, arguments, name, relay, end_s)
        except OutOfTime:
            atomic_files.write_atomically(place / "seconds", f"{before + time.monotonic() - started:.2f}")
            raise
        result["seconds"] = before + time.monotonic() - started
        atomic_files.write_atomically(place / "result.json", json.dumps(result, indent=1))
        return result

    def _count(self, place: Path) -> None:
        """Tell what earlier runs spent on a step, once: a step that this run did is asked for again later."""
        if place not in self._counted:
            self._counted.add(place)
            self._replay(_seconds(place))

    def keep(self, name: str, inputs: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        """Write down the result of a step that was ended, made of what it had kept."""
        place = self.place(name, inputs)
        result["seconds"] = _seconds(place)
        atomic_files.write_atomically(place / "result.json", json.dumps(result, indent=1))
        return result

    def done(self, name: str, inputs: dict[str, Any]) -> bool:
        """Whether the step's result is there."""
        return (self.place(name, inputs) / "result.json").exists()


def _seconds(place: Path) -> float:
    """Time a step took: from its result, or what a killed run of it wrote down last, whichever is later."""
    result, kept = place / "result.json", place / "seconds"
    ended = float(json.loads(result.read_text()).get("seconds", 0.0)) if result.exists() else 0.0
    return max(ended, float(kept.read_text()) if kept.exists() else 0.0)


def _in_process(
    job: str, arguments: dict[str, Any], name: str, sink: Sink, end_s: float = 0.0
) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "freehold.trial.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    complaints: deque[str] = deque(maxlen=30)
    import threading

    reader = threading.Thread(target=lambda: complaints.extend(process.stderr or ()), daemon=True)
    reader.start()
    over = threading.Event()

    def end() -> None:
        over.set()
        process.kill()

    alarm = threading.Timer(end_s, end)
    if end_s:
        alarm.daemon = True
        alarm.start()
    try:
        process.stdin.write(json.dumps({"job": job, "arguments": arguments}) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                sink(Event(**message["progress"]))
            elif "result" in message:
                return message["result"]
            else:
                raise _failure(message["error"])
    finally:
        alarm.cancel()
        if process.poll() is None:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
    if over.is_set():
        raise OutOfTime
    reader.join(timeout=2)
    last = complaints[-1].strip() if complaints else "it said nothing"
    raise StepFailed(
        f"the step {name!r} died with exit status {process.returncode} ({last})",
        "run the same command again; finished steps are kept",
    )


def _failure(error: dict[str, str]) -> FreeholdError:
    if error["kind"] not in BY_NAME:
        return StepFailed(
            f"{error['kind']}: {error['message']}",
            "this is a fault of Freehold; the step's log holds the traceback",
        )
    return from_json(error)
