"""A cluster that Ray joins: which nodes it has, and one piece of work on one node at a time.

A piece of work takes a whole node, because engines use every core and waits are measured. It is a Ray task
with a name. A node that dies loses its work to another one. Nothing is sent anywhere but to the cluster:
Ray's usage statistics and its dashboard are off.
"""

# Ray's own types leave what its functions take and return unknown
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportDeprecated=false

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from freehold.core import atomic_files, extras
from freehold.core.errors import BadData, MissingPart, StepFailed
from freehold.core.machine import Machine
from freehold.runtime import cluster_node
from freehold.runtime.cluster_node import CHUNK_BYTES, Facts, Files, SentFile

log = logging.getLogger(__name__)

P = ParamSpec("P")
Result = TypeVar("Result")

#: The address that means the cluster which runs on this machine, or that of ``RAY_ADDRESS``.
AUTO = "auto"
#: Nodes that a piece of work is tried on before it counts as failed.
MOST_TRIES = 3
#: Seconds for a connection to an address, and between two looks at the nodes and at progress.
_CONNECT_S, _LOOK_S = 5.0, 1.0
#: Pieces of a file that are under way at once.
_WINDOW = 4


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    #: Ray's id of it
    id: str
    #: name for people: its host and the beginning of its id
    name: str
    #: processors and cards that Ray may give out there
    cpus: float
    gpus: float
    machine: Machine


def weakest(machines: Collection[Machine]) -> Machine:
    """What every one of the machines has: the plan for all of them rests on it."""
    least = min(machines, key=lambda each: each.memory_bytes)
    return replace(
        least,
        cores=min(each.cores for each in machines),
        free_memory_bytes=min(each.free_memory_bytes for each in machines),
        bf16=all(each.bf16 for each in machines),
    )


def connect(address: str) -> Cluster:
    """Join the cluster at ``HOST:PORT`` or ``ray://HOST:PORT``, or the one of this machine (:data:`AUTO`).

    Raises MissingPart, with what to do, where Ray is missing, nothing answers, or a node lacks Freehold.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise extras.missing("ray", "--cluster") from error
    address = os.environ.get("RAY_ADDRESS", AUTO) if address in ("", AUTO) else address
    if address != AUTO:
        _check_reachable(address)
    try:
        ray.init(
            address=address, log_to_driver=False, configure_logging=False, logging_level=logging.CRITICAL
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _unreachable(address, str(error).strip().splitlines()[0] if str(error) else "") from error
    cluster = Cluster(address)
    try:
        cluster.nodes()
    except BaseException:
        cluster.close()
        raise
    return cluster


@contextmanager
def joined(address: str) -> Iterator[Cluster | None]:
    """The cluster at the address, left at the end of the block; None for an empty address. Raises as
    :func:`connect`.
    """
    cluster = connect(address) if address else None
    try:
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()


def _unreachable(address: str, reason: str) -> MissingPart:
    if address == AUTO:
        return MissingPart(
            "no Ray cluster runs on this machine",
            "start one with: ray start --head --disable-usage-stats --include-dashboard=false; or pass its "
            "address: --cluster HOST:6379",
        )
    return MissingPart(
        f"the Ray cluster at {address} cannot be reached ({reason or 'no answer'})",
        "check the address and that the cluster runs; from a machine outside it, use ray://HOST:10001",
    )


def _check_reachable(address: str) -> None:
    """Raises MissingPart where nothing listens: Ray itself would wait for minutes, or end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise MissingPart(f"--cluster {address} is not an address", "pass HOST:PORT, ray://HOST:PORT or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, getattr(error, "strerror", "") or str(error)) from error


class Cluster:
    """A joined cluster; :func:`connect` makes one. Safe for threads."""

    def __init__(self, address: str):
        self.address = address
        self._facts: dict[str, Facts] = {}
        self._busy: set[str] = set()
        self._holds: dict[str, set[str]] = {}
        self._lost: dict[str, str] = {}
        self._free = threading.Condition()
        self._stopped = threading.Event()
        self._digests: dict[tuple[str, int, int], SentFile] = {}

    # -- nodes --------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """The nodes that are alive and have processors. Raises MissingPart where one lacks Freehold."""
        import ray  # pyright: ignore[reportMissingImports]

        nodes: list[Node] = []
        for entry in ray.nodes():
            resources = entry.get("Resources", {})
            if not entry["Alive"] or not resources.get("CPU"):
                continue
            facts = self._facts_of(entry["NodeID"], entry["NodeManagerAddress"])
            if facts is not None:
                name = f"{facts.host}/{entry['NodeID'][:6]}"
                nodes.append(
                    Node(entry["NodeID"], name, resources["CPU"], resources.get("GPU", 0), facts.machine)
                )
        if not nodes:
            raise MissingPart(
                f"the Ray cluster at {self.address} has no node with processors",
                "start a node: ray start --address HOST:6379",
            )
        return nodes

    def _facts_of(self, node_id: str, host: str) -> Facts | None:
        """What a node says of itself, asked once; None where it died before it answered."""
        import ray  # pyright: ignore[reportMissingImports]
        from ray import exceptions  # pyright: ignore[reportMissingImports]

        if node_id not in self._facts:
            try:
                self._facts[node_id] = ray.get(self._start(node_id, cluster_node.facts))
            except _losses():
                return None
            except exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1]
                raise _cannot_run(host, reason) from error
            if self._facts[node_id].version != cluster_node.version():
                raise _cannot_run(host, f"it has version {self._facts[node_id].version}")
        return self._facts[node_id]

    @contextmanager
    def node(self, avoided: Collection[str], files: Collection[SentFile]) -> Iterator[Node]:
        """A node for oneself, once one is free: of several, the one that holds most of ``files``.

        ``avoided``: ids of nodes to take only where there is no other.
        """
        node = self._take(avoided, files)
        try:
            yield node
        finally:
            with self._free:
                self._busy.discard(node.id)
                self._free.notify_all()

    def _take(self, avoided: Collection[str], files: Collection[SentFile]) -> Node:
        def held_bytes(node: Node) -> int:
            held = self._holds.get(node.id, set())
            return sum(file.size_bytes for file in files if file.sha256 in held)

        with self._free:
            while True:
                alive = self.nodes()
                candidates = [node for node in alive if node.id not in avoided] or alive
                free = [node for node in candidates if node.id not in self._busy]
                if free:
                    node = max(free, key=held_bytes)
                    self._busy.add(node.id)
                    return node
                self._free.wait(_LOOK_S)
                self._check_stopped()

    def stop(self) -> None:
        """End what runs for this process: the threads that wait for it get StepFailed."""
        self._stopped.set()

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise StepFailed("the step was interrupted", "run the same command again")

    def sentence(self) -> str:
        """What leaves this machine, and for where."""
        nodes = ", ".join(node.name for node in self.nodes())
        return (
            f"the rows and these models will leave this machine, to the cluster at {self.address} ({nodes}), "
            "as you asked; they are removed there at the end"
        )

    # -- work ---------------------------------------------------------------------------------

    def _start(
        self,
        node_id: str,
        function: Callable[P, Result],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Any:
        """Start a small piece of work beside what runs on the node; Ray's reference to its result."""
        return self._task(node_id, function, function.__name__, 0, 0).remote(*args, **kwargs)

    def _get(self, started: Any) -> Any:
        """What Ray gives for its reference, or list of references. Raises what the work itself raised, and
        Ray's errors.
        """
        import ray  # pyright: ignore[reportMissingImports]
        from ray import exceptions  # pyright: ignore[reportMissingImports]

        try:
            return ray.get(started)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise

    def _task(self, node_id: str, function: Callable[..., Any], name: str, cpus: float, gpus: float) -> Any:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.util.scheduling_strategies import (  # pyright: ignore[reportMissingImports]
            NodeAffinitySchedulingStrategy,
        )

        strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
        return ray.remote(function).options(
            name=name, num_cpus=cpus, num_gpus=gpus, max_retries=0, scheduling_strategy=strategy
        )

    def call(self, node: Node, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """The result of a small piece of work on a node. Raises what it raises, and Ray's errors."""
        return self._get(self._start(node.id, function, *args, **kwargs))

    def work(
        self,
        node: Node,
        name: str,
        function: Callable[P, Result],
        on_look: Callable[[], None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Result:
        """Have the whole node do ``function``, a Ray task with this name. ``on_look``: called meanwhile."""
        import ray  # pyright: ignore[reportMissingImports]

        task = self._task(node.id, function, name, node.cpus, node.gpus).remote(*args, **kwargs)
        try:
            while not ray.wait([task], timeout=_LOOK_S)[0]:
                self._check_stopped()
                on_look()
        except BaseException:  # Ctrl-C too: nothing may go on there
            ray.cancel(task)
            raise
        return self._get(task)

    def until_done(
        self,
        name: str,
        files: Collection[SentFile],
        attempt: Callable[[Node], Result],
        lost: Callable[[Node], None],
    ) -> Result:
        """What ``attempt`` gives on a free node; on another one where that node dies, which ``lost`` is told.

        Raises StepFailed when :data:`MOST_TRIES` nodes have been lost.
        """
        avoided: list[str] = []
        reason = ""
        while len(avoided) < MOST_TRIES:
            with self.node(avoided, files) as node:
                try:
                    return attempt(node)
                except _losses() as error:
                    log.info("%s was lost on %s", name, node.name, exc_info=error)
                    reason = f"{type(error).__name__} on {node.name}"
                    avoided.append(node.id)
                    self._holds.pop(node.id, None)
                    self._lost[node.id] = node.name
                    lost(node)
        raise StepFailed(
            f"{name}: the node died {MOST_TRIES} times, last with {reason}",
            "check the nodes' memory, then run the same command again; finished steps are kept",
        )

    # -- files --------------------------------------------------------------------------------

    def described(self, path: Path) -> SentFile:
        """Digest and size of a file on this machine, read once as long as it does not change."""
        status = path.stat()
        key = str(path), status.st_size, status.st_mtime_ns
        if key not in self._digests:
            self._digests[key] = SentFile(atomic_files.sha256_file(path), status.st_size)
        return self._digests[key]

    def send(self, node: Node, job: str, paths: dict[str, Path]) -> None:
        """Bring files to a node, as far as it lacks them. ``paths``: digest -> file on this machine."""
        described = {sha256: self.described(path) for sha256, path in paths.items()}
        for sha256 in self.call(node, cluster_node.missing, job, list(described.values())):
            under_way: deque[Any] = deque()
            with paths[sha256].open("rb") as file:
                offset = 0
                while data := file.read(CHUNK_BYTES):
                    under_way.append(self._start(node.id, cluster_node.receive, job, sha256, offset, data))
                    offset += len(data)
                    if len(under_way) >= _WINDOW:
                        self._get(under_way.popleft())
            if not under_way:  # an empty file
                under_way.append(self._start(node.id, cluster_node.receive, job, sha256, 0, b""))
            self._get(list(under_way))
            self.call(node, cluster_node.accept, job, described[sha256])
        self._holds.setdefault(node.id, set()).update(described)

    def bring(self, node: Node, job: str, files: Files, folder: Path) -> None:
        """Bring a job's files from a node into ``folder``, each whole or not at all. Raises BadData."""
        for name, file in files.items():
            target = folder / name
            if target.exists() and self.described(target) == file:
                continue
            atomic_files.make_folder(target.parent)
            with atomic_files.replacing(target) as temporary:
                with temporary.open("wb") as written:
                    for offset in range(0, file.size_bytes, CHUNK_BYTES):
                        written.write(self.call(node, cluster_node.send, job, file.sha256, offset))
                if atomic_files.sha256_file(temporary) != file.sha256:
                    raise BadData(
                        f"{name} arrived damaged from {node.name}",
                        "run the same command again; finished steps are kept",
                    )
        self._holds.setdefault(node.id, set()).update(file.sha256 for file in files.values())

    def forget(self, job: str) -> list[str]:
        """Remove a job's files from all nodes that are alive; the names of nodes where some may still be."""
        left = dict(self._lost)
        for node in self.nodes():
            try:
                self.call(node, cluster_node.forget, job)
                left.pop(node.id, None)
            except (*_losses(), OSError) as error:
                log.info("the files of %s were not removed on %s", job, node.name, exc_info=error)
                left[node.id] = node.name
        return sorted(left.values())

    def close(self) -> None:
        """Leave the cluster; what still runs for this process ends."""
        import ray  # pyright: ignore[reportMissingImports]

        ray.shutdown()


def _cannot_run(host: str, reason: str) -> MissingPart:
    version = cluster_node.version()
    return MissingPart(
        f"the node {host} cannot run Freehold's steps: {reason}",
        f"install the same version there: pip install freehold=={version}",
    )


def _losses() -> tuple[type[Exception], ...]:
    """Ray's errors that say a node or its process is gone, not that the work is wrong."""
    from ray import exceptions  # pyright: ignore[reportMissingImports]

    return (
        exceptions.NodeDiedError,
        exceptions.WorkerCrashedError,
        exceptions.TaskUnschedulableError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
        exceptions.LocalRayletDiedError,
    )
