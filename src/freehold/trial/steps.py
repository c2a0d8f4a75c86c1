"""Steps that are done once: each runs in a process of its own and leaves its result under the digest of its
inputs.

A process of its own gives each step a peak memory that is its own, gives all memory back, and keeps a crash
in native code from taking the trial along. The process ends with its parent: it watches its standard input,
which closes when the parent dies.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from freehold.core import atomic_files
from freehold.core.errors import BY_NAME, FreeholdError, StepFailed, from_json
from freehold.core.progress import Event, Sink
from freehold.trial.arguments import Arguments, Result
from freehold.trial.json_form import JsonObject

#: How often a running step writes down the time it has taken, so that a killed one's is counted.
CLOCK_S = 5.0


#: A step's process is ended when it takes this share longer than it may, and a few seconds; until then it
#: ends by itself.
GRACE, GRACE_S = 0.1, 3.0


def end_s(limit_s: float) -> float:
    """Seconds after which the process of a step that may take ``limit_s`` is ended."""
    return limit_s * (1 + GRACE) + GRACE_S


def step_name(job: str, subject: str) -> str:
    """The name of the step that does a job with a model or a variant, as it begins the step's folder."""
    return f"{job}-{subject.replace('/', '-')}"


class OutOfTime(Exception):
    """A step's process was ended because its time was over; what it had kept on disk is there."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """A step to run: its name, what it is given, and whether a known result is not good enough."""

    name: str
    arguments: Arguments[Result]
    again: Callable[[Result], bool] | None = None


class Steps:
    """The steps of one trial, kept in ``folder``.

    ``replay`` is called with the seconds that earlier runs spent on a step, when that step is asked for.
    """

    def __init__(self, folder: Path, sink: Sink, replay: Callable[[float], None] = lambda _: None):
        self.folder, self.sink, self._replay = folder, sink, replay
        self._counted: set[Path] = set()
        self.folder.mkdir(parents=True, exist_ok=True)

    def place(self, name: str, arguments: Arguments[Any]) -> Path:
        """Folder of the step with these arguments: its result, its answers so far, its checkpoints."""
        path = self.folder / f"{name}-{atomic_files.digest_of(arguments.inputs())[:12]}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(
        self,
        name: str,
        arguments: Arguments[Result],
        leaves: str = "",
        *,
        end_s: float = 0.0,
        again: Callable[[Result], bool] | None = None,
    ) -> Result:
        """The step's result, computed if it, or the file it ``leaves``, is not there, or if ``again`` says
        so of it.

        With ``end_s`` its process is ended after so many seconds. Raises what the job raised, StepFailed if
        its process died, OutOfTime if it was ended.
        """
        place = self.place(name, arguments)
        if (place / "result.json").exists() and (place / leaves).exists():
            known: Result = _read(place, arguments)
            if again is None or not again(known):
                self._count(place)
                return known
        self._count(place)
        atomic_files.write_atomically(place / "inputs.json", json.dumps(arguments.inputs(), indent=1))
        stopwatch = Stopwatch(place)

        try:
            value = self._do(replace(arguments, place=str(place)), name, stopwatch, end_s)
        except OutOfTime:
            stopwatch.write()
            raise
        return _write(place, arguments, {**value, "seconds": stopwatch.seconds()})

    def run_all(self, calls: Sequence[Call[Result]]) -> list[Result]:
        """The results of steps that do not need each other, in their order. Raises like :meth:`run`."""
        return [self.run(call.name, call.arguments, again=call.again) for call in calls]

    def _do(self, arguments: Arguments[Any], name: str, stopwatch: Stopwatch, end_s: float) -> JsonObject:
        """Do the step in a process of its own; its result in JSON form. Raises like :func:`in_process`."""

        def relay(event: Event) -> None:
            stopwatch.write_at_times()
            self.sink(event)

        return in_process(arguments, name, relay, end_s)

    def _count(self, place: Path) -> None:
        """Tell what earlier runs spent on a step, once: a step that this run did is asked for again later."""
        if place not in self._counted:
            self._counted.add(place)
            self._replay(_seconds(place))

    def keep(self, name: str, arguments: Arguments[Result], result: Result) -> Result:
        """Write down the result of a step that was ended, made of what it had kept."""
        place = self.place(name, arguments)
        return _write(place, arguments, {**result.as_json(), "seconds": _seconds(place)})

    def done(self, name: str, arguments: Arguments[Any]) -> bool:
        """Whether the step's result is there."""
        return (self.place(name, arguments) / "result.json").exists()

    def results(self, arguments: type[Arguments[Result]]) -> dict[str, Result]:
        """The kept results of all steps with such arguments, by the name of their folder."""
        files = sorted(self.folder.glob(f"{arguments.job}-*/result.json"))
        return {file.parent.name: arguments.result.from_json(json.loads(file.read_text())) for file in files}


class Stopwatch:
    """The seconds that a step takes, those of killed runs included; written down at times, so that a killed
    run's count.
    """

    def __init__(self, place: Path):
        self._file, self._before = place / "seconds", _seconds(place)
        self._started = self._written = time.monotonic()
        self._measured: float | None = None

    def restart(self) -> None:
        """Begin to count now: the step has waited for a machine until now."""
        self._started = time.monotonic()

    def stop(self, seconds: float) -> None:
        """Count so many seconds, measured elsewhere, for this run of the step."""
        self._measured = seconds

    def seconds(self) -> float:
        """Seconds so far."""
        this_run = time.monotonic() - self._started if self._measured is None else self._measured
        return self._before + this_run

    def write(self) -> None:
        """Write them down."""
        self._written = time.monotonic()
        atomic_files.write_atomically(self._file, f"{self.seconds():.2f}")

    def write_at_times(self) -> None:
        """Write them down if that was not done lately."""
        if time.monotonic() - self._written > CLOCK_S:
            self.write()


def _read(place: Path, arguments: Arguments[Result]) -> Result:
    return arguments.result.from_json(json.loads((place / "result.json").read_text()))


def _write(place: Path, arguments: Arguments[Result], value: JsonObject) -> Result:
    atomic_files.write_atomically(place / "result.json", json.dumps(value, indent=1))
    return arguments.result.from_json(value)


def _seconds(place: Path) -> float:
    """Time a step took: from its result, or what a killed run of it wrote down last, whichever is later."""
    result, kept = place / "result.json", place / "seconds"
    ended = float(json.loads(result.read_text()).get("seconds", 0.0)) if result.exists() else 0.0
    return max(ended, float(kept.read_text()) if kept.exists() else 0.0)


def in_process(arguments: Arguments[Any], name: str, sink: Sink, end_s: float) -> JsonObject:
    """The JSON form of the job's result. Raises what the job raised, StepFailed, OutOfTime."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "freehold.trial.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    complaints: deque[str] = deque(maxlen=30)
    reader = threading.Thread(target=lambda: complaints.extend(process.stderr or ()), daemon=True)
    reader.start()
    over = threading.Event()
    alarm = _alarm(process, over, end_s)
    try:
        value = _conversation(process, {"job": arguments.job, "arguments": arguments.as_json()}, sink)
    finally:
        alarm.cancel()
        _end(process)
    if value is not None:
        return value
    if over.is_set():
        raise OutOfTime
    reader.join(timeout=2)
    last = complaints[-1].strip() if complaints else "it printed nothing"
    raise StepFailed(
        f"the step {name!r} died with exit status {process.returncode} ({last})",
        "run the same command again; finished steps are kept",
    )


def _alarm(process: subprocess.Popen[str], over: threading.Event, end_s: float) -> threading.Timer:
    """Kills the process after ``end_s`` seconds and sets ``over``; never where that is 0."""

    def end() -> None:
        over.set()
        process.kill()

    alarm = threading.Timer(end_s, end)
    alarm.daemon = True
    if end_s:
        alarm.start()
    return alarm


def _conversation(process: subprocess.Popen[str], request: JsonObject, sink: Sink) -> JsonObject | None:
    """Hand the request over and pass progress on until there is a result; None where the process died
    first.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    for line in process.stdout:
        message = json.loads(line)
        if "progress" in message:
            sink(Event(**message["progress"]))
        elif "result" in message:
            return message["result"]
        else:
            raise _failure(message["error"])
    return None


def _end(process: subprocess.Popen[str]) -> None:
    """End the process by closing its standard input; kill it where that does not help."""
    if process.poll() is None and process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _failure(error: dict[str, str]) -> FreeholdError:
    if error["kind"] not in BY_NAME:
        return StepFailed(
            f"{error['kind']}: {error['message']}",
            "this is an error in Freehold; please report it with the file traceback.txt in the step's folder",
        )
    return from_json(error)
