"""How much of the processor other programs use while something is timed.

A wait measured beside other work says little about an idle machine. What others use is what the kernel counts
as busy on the processors that this process may use, less what this process and its children used. Counted on
Linux (``/proc/stat``, control groups); elsewhere it is unknown, and that is said.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Above these shares of the processor a timed span was not quiet: used by other programs, and taken by the
#: host for other machines.
MOST_OTHERS, MOST_STEAL = 0.10, 0.05
#: A container's limit held this process back for more than this share of a span, although it used less than
#: the limit allows.
MOST_HELD = 0.05
#: Shorter spans than this are too coarse: the kernel counts in steps of 10 ms.
SHORTEST_S = 0.4


@dataclass
class Load:
    """What others used of ``cores`` processors in ``seconds``; filled when the span ends.

    ``share``: used by other programs, 0 to 1 of what this process may use; ``steal``: taken by the host of a
    virtual machine; ``held``: the share of the time in which a container's limit stopped this process;
    ``own``: cores this process used on average. None: unknown on this system.
    """

    seconds: float = 0.0
    cores: float = 1.0
    share: float | None = None
    steal: float | None = None
    held: float | None = None
    own: float = 0.0

    @property
    def known(self) -> bool:
        """Whether the use by other programs could be measured."""
        return self.share is not None

    @property
    def quiet(self) -> bool:
        """Whether nothing else disturbed the span, as far as is known."""
        return not self._disturbances()

    @property
    def free_cores(self) -> int:
        """Whole processors that others leave, at least 1."""
        return max(1, round(self.cores * (1 - (self.share or 0.0) - (self.steal or 0.0))))

    def sentence(self, meanwhile: str) -> str:
        """What disturbed, e.g. "another program used 62% of the processor while timed"; "" if nothing."""
        if not self.known:
            return f"whether other programs used the processor {meanwhile} is unknown on this system"
        reasons = self._disturbances()
        return f"{' and '.join(reasons)} {meanwhile}" if reasons else ""

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return {**asdict(self), "quiet": self.quiet}

    def _disturbances(self) -> list[str]:
        reasons: list[str] = []
        if (self.share or 0.0) > MOST_OTHERS:
            reasons.append(f"another program used {self.share:.0%} of the processor")
        if (self.steal or 0.0) > MOST_STEAL:
            reasons.append(f"the host of this virtual machine took {self.steal:.0%} of the processor's time")
        if (self.held or 0.0) > MOST_HELD and self.own < 0.9 * self.cores:
            reasons.append(
                f"the container's processor limit was used up by others {self.held:.0%} of the time"
            )
        return reasons


def together(loads: list[Load]) -> Load:
    """One load of several spans, each counted by its seconds."""
    seconds = sum(load.seconds for load in loads)

    def mean(of: Callable[[Load], float | None]) -> float | None:
        values = [(of(load), load.seconds) for load in loads]
        known = [(value, weight) for value, weight in values if value is not None]
        weights = sum(weight for _, weight in known)
        return sum(value * weight for value, weight in known) / weights if weights else None

    return Load(
        seconds,
        loads[0].cores if loads else 1.0,
        mean(lambda load: load.share),
        mean(lambda load: load.steal),
        mean(lambda load: load.held),
        mean(lambda load: load.own) or 0.0,
    )


@dataclass(frozen=True)
class System:
    """Where the kernel tells its counts, and the processors this process may use."""

    proc: Path = Path("/proc")
    groups: Path = Path("/sys/fs/cgroup")

    @property
    def processors(self) -> frozenset[int]:
        """Numbers of the processors that this process may use."""
        if hasattr(os, "sched_getaffinity"):
            return frozenset(os.sched_getaffinity(0))
        return frozenset(range(os.cpu_count() or 1))

    @property
    def cores(self) -> float:
        """Processors that this process may use at once, by its affinity and its control groups' limits."""
        return min([float(len(self.processors)), *(limit for limit in map(_quota, self._folders()) if limit)])

    def busy_and_steal(self) -> tuple[float, float] | None:
        """Seconds that these processors were busy, and that the host took from them; None if not told."""
        try:
            lines = (self.proc / "stat").read_text().splitlines()
        except OSError:
            return None
        names = {f"cpu{number}" for number in self.processors}
        rows = [
            [float(x) for x in parts[1:]] for line in lines if (parts := line.split()) and parts[0] in names
        ]
        if not rows:
            return None
        tick = float(os.sysconf("SC_CLK_TCK"))
        # user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user
        busy = sum(row[0] + row[1] + row[2] + row[5] + row[6] for row in rows) / tick
        return busy, sum(row[7] if len(row) > 7 else 0.0 for row in rows) / tick

    def held_s(self) -> float:
        """Seconds since the start that limits of control groups have stopped their processes."""
        counts = [_counts(folder / "cpu.stat") for folder in self._folders()]
        return max(
            (
                count.get("throttled_usec", 0) / 1e6 or count.get("throttled_time", 0) / 1e9
                for count in counts
            ),
            default=0.0,
        )

    def _folders(self) -> list[Path]:
        """Folders of the control groups that may limit this process, from its own up to the root."""
        try:
            lines = (self.proc / "self" / "cgroup").read_text().splitlines()
        except OSError:
            return []
        folders: list[Path] = []
        for line in lines:
            _, names, path = line.split(":", 2)
            if names and "cpu" not in names.split(","):
                continue
            root = self.groups / names if names else self.groups
            inside = Path(path.lstrip("/"))
            folders += [root / part for part in (inside, *inside.parents)]
        return list(dict.fromkeys(folders))


def _quota(folder: Path) -> float:
    """Processors that a control group may use; 0 if it has no limit."""
    try:
        first, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        first = _read(folder / "cpu.cfs_quota_us").strip()
        period = _read(folder / "cpu.cfs_period_us").strip()
    return int(first) / int(period) if first.isdigit() and period.isdigit() and int(period) else 0.0


def _counts(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _own_seconds(proc: Path) -> float:
    """Processor seconds of this process, of its living children and of those that ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system + _children_s(proc, os.getpid())


def _children_s(proc: Path, process: int) -> float:
    """Processor seconds of a process's living children and theirs."""
    seconds = 0.0
    for listed in proc.glob(f"{process}/task/*/children"):
        for child in _read(listed).split():
            # a child that ended meanwhile has no counts any more; its parent's hold them
            fields = _read(proc / child / "stat").rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + _children_s(proc, int(child))
    return seconds


def _read(path: Path) -> str:
    """A file of the kernel; "" where its process is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


@contextlib.contextmanager
def others(system: System | None = None) -> Iterator[Load]:
    """Measure what other programs use of the processor during the block; filled when it ends."""
    system = system or System()
    load = Load(cores=system.cores)
    counted, own_seconds, held, started = (
        system.busy_and_steal(),
        _own_seconds(system.proc),
        system.held_s(),
        time.perf_counter(),
    )
    try:
        yield load
    finally:
        ended = system.busy_and_steal()
        load.seconds = time.perf_counter() - started
        load.own = (_own_seconds(system.proc) - own_seconds) / load.seconds
        load.held = min((system.held_s() - held) / load.seconds, 1.0)
        if counted is not None and ended is not None:
            processors = len(system.processors)
            used = max(0.0, (ended[0] - counted[0]) / load.seconds - load.own)
            # what others use beyond the processors that a limit keeps from this process anyway
            beyond = max(0.0, used - (processors - load.cores))
            load.share = min(beyond / load.cores, 1.0)
            load.steal = min((ended[1] - counted[1]) / load.seconds / processors, 1.0)


def look(seconds: float = SHORTEST_S) -> Load:
    """What other programs use of the processor now, over so many seconds of waiting."""
    with others() as load:
        time.sleep(seconds)
    return load


def wait_until_quiet(most_s: float, say: Callable[[Load], None] = lambda _: None) -> Load:
    """Wait until it is quiet, at most ``most_s`` seconds; the last look. ``say`` hears each busy look."""
    ending = time.monotonic() + most_s
    while True:
        load = look(min(SHORTEST_S, max(ending - time.monotonic(), 0.05)))
        if load.quiet or time.monotonic() >= ending:
            return load
        say(load)
