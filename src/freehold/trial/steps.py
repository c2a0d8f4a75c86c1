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
from pathlib import Path
from typing import Any

from freehold import durable
from freehold.errors import BY_NAME, FreeholdError, StepFailed
from freehold.progress import Event, Sink


class Steps:
    """The steps of one trial, kept in ``folder``."""

    def __init__(self, folder: Path, sink: Sink):
        self.folder, self.sink = folder, sink
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ran: list[str] = []

    def place(self, name: str, inputs: dict[str, Any]) -> Path:
        """Folder of the step with these inputs: its result, its kept answers, its checkpoints."""
        path = self.folder / f"{name}-{durable.digest_of(inputs)[:12]}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def finished(self, name: str, inputs: dict[str, Any]) -> dict[str, Any] | None:
        """The step's result if it has one."""
        path = self.place(name, inputs) / "result.json"
        return json.loads(path.read_text()) if path.exists() else None

    def run(self, name: str, job: str, inputs: dict[str, Any], extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """The step's result, computed if it is not there. ``extra`` goes to the job but does not decide whether it is the same step.

        Raises what the job raised, StepFailed if its process died.
        """
        found = self.finished(name, inputs)
        if found is not None:
            return found
        place = self.place(name, inputs)
        durable.write_atomically(place / "inputs.json", json.dumps(inputs, indent=1))
        started = time.monotonic()
        result = _in_process(job, {**inputs, **(extra or {}), "place": str(place)}, name, self.sink)
        result["seconds"] = time.monotonic() - started + float(result.pop("seconds_before", 0.0))
        durable.write_atomically(place / "result.json", json.dumps(result, indent=1))
        self.ran.append(name)
        return result


def _in_process(job: str, arguments: dict[str, Any], name: str, sink: Sink) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-m", "freehold.trial.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    complaints: deque[str] = deque(maxlen=30)
    import threading

    reader = threading.Thread(target=lambda: complaints.extend(process.stderr or ()), daemon=True)
    reader.start()
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
        if process.poll() is None:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
    reader.join(timeout=2)
    last = complaints[-1].strip() if complaints else "it said nothing"
    raise StepFailed(f"the step {name!r} died with exit status {process.returncode} ({last})", "run the same command again; finished steps are kept")


def _failure(error: dict[str, Any]) -> FreeholdError:
    kind = BY_NAME.get(error["kind"])
    if kind is None:
        return StepFailed(f"{error['kind']}: {error['message']}", "this is a fault of Freehold; the step's log holds the traceback")
    return kind(error["message"], error["remedy"])
