"""A trial's steps on a cluster: each is a Ray task, named by the digest of its inputs, on a node of its own.

A step is given files by their digests and gives back files, so any node can do it, and again elsewhere if its
node dies. Its folder here is the same as that of a step done here; so a trial resumes, on a cluster or not.

The models' steps are done ahead, all models at once, by the functions that also do them one by one: on copies
of the trial that hold one model each (:func:`work_ahead`). The trial then goes through its parts in order,
finds these steps done, counts the seconds that they took, and decides as one that ran on one machine. Its
budget is therefore time of machines, not of clocks: on ten nodes it is over sooner.
"""

from __future__ import annotations

import copy
import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core import atomic_files, engine_build, errors
from freehold.core.errors import FreeholdError, MissingPart
from freehold.core.progress import Event, Sink
from freehold.runtime import cluster_node
from freehold.runtime.cluster import Cluster, Node
from freehold.runtime.cluster_node import Files
from freehold.trial import timing, tuning
from freehold.trial.arguments import Arguments, ModelArguments, Result
from freehold.trial.clock import Clock
from freehold.trial.cluster_costs import RECORD, NodeRecord
from freehold.trial.json_form import JsonObject
from freehold.trial.steps import Call, OutOfTime, Steps, Stopwatch, in_process

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: Fields of arguments that name a file or a folder, which goes to the node.
FILE_FIELDS = ("task", "source", "prompts", "untuned")
#: The weights, as :data:`FILE_FIELDS` are called when a step is sent.
WEIGHTS = "weights"
#: Files of a step's folder that stay where they are.
LOCAL_FILES = frozenset({"inputs.json", "result.json", RECORD, "seconds"})
#: How often a step on a node writes down how far it is, in seconds.
_PROGRESS_S = 1.0


@dataclass(frozen=True)
class StepRequest:
    """A step as it is sent to a node."""

    #: id of the trial
    trial: str
    #: name of the step's folder, which ends with the digest of its inputs
    folder: str
    #: the step's name
    name: str
    arguments: Arguments[Any]
    #: what the step's folder holds of earlier runs
    kept: Files
    #: field of the arguments -> its files
    inputs: dict[str, Files]
    #: field -> the file of that folder which it names; absent where it names the folder
    names: dict[str, str]
    #: seconds after which its process is ended; 0 for never
    end_s: float
    #: name of the build of the text engine that the trial holds
    engine: str


@dataclass(frozen=True)
class StepOutcome:
    """What came of a step on a node."""

    #: its result in JSON form; None where there is none
    value: JsonObject | None
    #: what it raised, as :func:`freehold.core.errors.to_json` writes it
    error: dict[str, str] | None
    #: what its folder holds now
    files: Files
    #: seconds that it took on the node
    seconds: float


# -- on the node ----------------------------------------------------------------------------------------


def run_step(request: StepRequest) -> StepOutcome:
    """Do a step on this node, in a process of its own like anywhere."""
    place = cluster_node.lay_out(request.trial, request.folder, request.kept, copied=True)
    arguments = replace(_with_paths(request), place=str(place))
    value, error, started = None, None, time.monotonic()
    try:
        _hold_engine(request.engine)
        value = in_process(arguments, request.name, _progress_file(place), request.end_s)
    except OutOfTime:
        pass  # what it had kept goes back, and no value says so
    except FreeholdError as failure:
        error = errors.to_json(failure)
    seconds = time.monotonic() - started
    return StepOutcome(value, error, cluster_node.collect(request.trial, place), seconds)


def _hold_engine(name: str) -> None:
    """Let the step use the trial's text engine: figures of two builds do not compare. Raises MissingPart."""
    build = engine_build.named(name)
    if build is None:
        raise MissingPart(
            f"{socket.gethostname()} does not have the text engine that this trial uses ({name})",
            "install it there, or start the trial with one that every machine has: FREEHOLD_ENGINE=prebuilt",
        )
    engine_build.hold(build)


def _with_paths(request: StepRequest) -> Arguments[Any]:
    """The arguments with the paths that their files have on this node."""
    arguments, paths = request.arguments, dict[str, str]()
    for field, files in request.inputs.items():
        key = atomic_files.digest_of({name: file.sha256 for name, file in files.items()})
        folder = cluster_node.lay_out(request.trial, f"{field}-{key[:16]}", files)
        paths[field] = str(folder / request.names[field] if field in request.names else folder)
    weights = paths.pop(WEIGHTS, None)
    if weights is not None and isinstance(arguments, ModelArguments):
        paths_of_model: dict[str, Any] = {"subject": replace(arguments.subject, weights=weights)}
        arguments = replace(arguments, **paths_of_model)
    return replace(arguments, **paths)


def _progress_file(place: Path) -> Sink:
    """Writes down how far the step is, beside its folder, for whoever asks (:func:`read_progress`)."""
    file, written = place.with_suffix(".progress"), 0.0

    def write(event: Event) -> None:
        nonlocal written
        now = time.monotonic()
        if event.ended or now - written >= _PROGRESS_S:
            written = now
            atomic_files.write_atomically(file, json.dumps(asdict(event)))

    return write


def read_progress(trial: str, folder: str) -> Event | None:
    """How far a step on this node is; None before it says so."""
    file = (cluster_node.job_folder(trial) / "folders" / folder).with_suffix(".progress")
    return Event(**json.loads(file.read_text())) if file.exists() else None


# -- here -----------------------------------------------------------------------------------------------


class ClusterSteps(Steps):
    """The steps of one trial, done by a cluster.

    Steps that read or write the store (they have the field ``store``) are done here, where the store is.
    """

    def __init__(self, folder: Path, clock: Clock, cluster: Cluster, trial: str):
        super().__init__(folder, clock.relay, clock.replay)
        self.clock, self.cluster, self.trial = clock, cluster, trial

    def run_all(self, calls: Sequence[Call[Result]]) -> list[Result]:
        """All at once, as far as there are nodes."""
        steps = [ClusterSteps(self.folder, _copy(self.clock), self.cluster, self.trial) for _ in calls]
        with self.clock.stopped():
            jobs = [
                lambda step=step, call=call: step.run(call.name, call.arguments, again=call.again)
                for step, call in zip(steps, calls, strict=True)
            ]
            at_once(self.cluster, jobs)
        # each is done by now, and counted in order; one that is never good enough would be done again
        return [self.run(call.name, call.arguments) for call in calls]

    def _do(self, arguments: Arguments[Any], name: str, stopwatch: Stopwatch, end_s: float) -> JsonObject:
        """As :meth:`Steps._do`; the clock counts the seconds on the node, not those of waiting for one."""
        if any(field.name == "store" for field in fields(arguments)):
            return super()._do(arguments, name, stopwatch, end_s)
        place, lost = Path(arguments.place), list[str]()
        inputs = _inputs(arguments)
        files = [self.cluster.described(path) for each in inputs.values() for path in each.files.values()]

        def attempt(node: Node) -> tuple[Node, StepOutcome]:
            return node, self._on_node(node, place, arguments, name, inputs, end_s, stopwatch)

        with self.clock.stopped():
            node, outcome = self.cluster.until_done(name, files, attempt, lambda node: lost.append(node.name))
        stopwatch.stop(outcome.seconds)
        self.clock.replay(outcome.seconds)
        record = NodeRecord(node.name, self.cluster.address, node.machine.as_dict(), tuple(lost))
        record.keep(place)
        if outcome.error is not None:
            raise errors.from_json(outcome.error)
        if outcome.value is None:
            raise OutOfTime
        return {**outcome.value, "node": node.name}

    def _on_node(
        self,
        node: Node,
        place: Path,
        arguments: Arguments[Any],
        name: str,
        inputs: dict[str, _Input],
        end_s: float,
        stopwatch: Stopwatch,
    ) -> StepOutcome:
        """Send what the step needs, have it done, bring back what it made."""
        kept = {n: p for n, p in _tree(place).items() if n not in LOCAL_FILES}
        described = {field: self._described(each.files) for field, each in inputs.items()}
        request = StepRequest(
            self.trial,
            place.name,
            name,
            arguments,
            self._described(kept),
            described,
            {field: each.name for field, each in inputs.items() if each.name},
            end_s,
            engine_build.choose().name,
        )
        sent = [path for tree in (kept, *(each.files for each in inputs.values())) for path in tree.values()]
        paths = {self.cluster.described(path).sha256: path for path in sent}
        self.cluster.send(node, self.trial, paths)
        stopwatch.restart()

        def look() -> None:
            stopwatch.write_at_times()
            event = self.cluster.call(node, read_progress, self.trial, place.name)
            if event is not None:
                self.sink(replace(event, note=f"{event.note}  {node.name}".strip()))

        outcome = self.cluster.work(node, place.name, run_step, look, request)
        self.cluster.bring(node, self.trial, outcome.files, place)
        return outcome

    def _described(self, tree: dict[str, Path]) -> Files:
        return {name: self.cluster.described(path) for name, path in tree.items()}


@dataclass(frozen=True)
class _Input:
    """What a field of the arguments names, as files."""

    files: dict[str, Path]
    #: what the field names in a folder of these files; empty for the folder itself
    name: str


def _inputs(arguments: Arguments[Any]) -> dict[str, _Input]:
    """The files and folders that a step is given, by field."""
    paths = {name: Path(path) for name in FILE_FIELDS if (path := getattr(arguments, name, ""))}
    if isinstance(arguments, ModelArguments):
        paths[WEIGHTS] = arguments.weights
    return {field: _input(path) for field, path in paths.items()}


def _input(path: Path) -> _Input:
    """The files of a path. A merged model that an ended run has removed is made again of its adapter."""
    if path.is_dir():
        return _Input(_tree(path), "")
    if path.exists():
        return _Input({path.name: path}, path.name)
    adapter = {f"adapter/{name}": file for name, file in _tree(path.parent / "adapter").items()}
    return _Input(adapter, path.name)


def _tree(path: Path) -> dict[str, Path]:
    """The files of a folder by name."""
    return {p.relative_to(path).as_posix(): p for p in sorted(path.rglob("*")) if p.is_file()}


def at_once(cluster: Cluster, jobs: Sequence[Callable[[], object]]) -> None:
    """Do all jobs in threads. Raises what the first failed one raised; the others are ended."""
    if not jobs:
        return
    with ThreadPoolExecutor(len(jobs), thread_name_prefix="cluster") as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:  # Ctrl-C too
            cluster.stop()
            raise


# -- ahead ----------------------------------------------------------------------------------------------


def work_ahead(trial: Trial) -> None:
    """Measure, tune, shrink and measure again every model of the trial, all at once."""
    assert trial.cluster is not None
    copies = [_with_one_model(trial, name) for name in trial.tried]

    def work(single: Trial) -> None:
        single.measure_as_is()
        for tuned in tuning.tune(single):
            tuning.shrink_and_measure(single, tuned)

    with trial.clock.stopped():
        at_once(trial.cluster, [lambda single=single: work(single) for single in copies])


def _with_one_model(trial: Trial, name: str) -> Trial:
    """A copy of the trial for one of its models, with a clock and results of its own."""
    assert trial.plan is not None
    single = _copy_of(trial)
    single.tried = {name: trial.tried[name]}
    single.plan = replace(trial.plan, parts=tuple(p for p in trial.plan.parts if p.model in ("", name)))
    # time that no part needs is shared among the models: each is planned as if the others took theirs
    single.clock.budget_s -= trial.clock.spare() * (1 - 1 / len(trial.tried))
    single.steps = single.make_steps()
    return single


def _copy_of(trial: Trial) -> Trial:
    """A copy of the trial that decides nothing for it; the store, the task and the folder are the same."""
    single = copy.copy(trial)
    single.clock = _copy(trial.clock)
    single.options = trial.options
    single.variants, single.answers = list(trial.variants), dict(trial.answers)
    single.chosen_by, single.notes = dict(trial.chosen_by), list(trial.notes)
    single.left_out, single.not_tuned, single.spare = list(trial.left_out), list(trial.not_tuned), []
    return single


def _copy(clock: Clock) -> Clock:
    """A clock that goes on from where this one is, by itself."""
    single = copy.copy(clock)
    single.taken, single._queue, single._said = [], list(clock._queue), []  # noqa: SLF001
    return single


class _Noted(Steps):
    """Does no step: notes those that are not done, and says that their time was over."""

    def __init__(self, folder: Path, clock: Clock):
        super().__init__(folder, clock.relay, clock.replay)
        self.clock = clock
        self.calls: list[tuple[str, Arguments[Any], float]] = []

    def _do(self, arguments: Arguments[Any], name: str, stopwatch: Stopwatch, end_s: float) -> JsonObject:
        self.calls.append((name, arguments, end_s))
        raise OutOfTime


def time_ahead(trial: Trial) -> None:
    """Time all variants that may be chosen, each on a node for itself, all at once."""
    assert trial.cluster is not None
    if not trial.variants:
        return  # timing itself says so
    single = _copy_of(trial)
    noted = single.steps = _Noted(trial.steps.folder, single.clock)
    timing.time_variants(single)

    def run(name: str, arguments: Arguments[Any], end_s: float) -> None:
        copied = _copy_of(trial)
        copied.steps = copied.make_steps()
        try:
            copied.steps.run(name, replace(arguments, place=""), end_s=end_s)
        except OutOfTime:
            return  # the trial itself meets it again, and says so

    with trial.clock.stopped():
        at_once(trial.cluster, [lambda call=call: run(*call) for call in noted.calls])
