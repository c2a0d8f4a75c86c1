"""How long one user waits: enough waits for the bound of a need, taken while nothing else uses the
processor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from freehold.core import cpu_load, statistics
from freehold.core.cpu_load import Load
from freehold.core.json_types import JsonObject
from freehold.core.progress import Task
from freehold.core.wording import counted
from freehold.evaluation.measurement import finite
from freehold.trial.results import WaitMeasurement

#: Waits are checked together for what else used the processor, for so many seconds at least: the kernel
#: counts coarsely.
BURST_S = 0.5
#: The quantile that needs are on, and the level of its interval.
P95, LEVEL = 0.95, 0.95
#: Waits of a busy machine after which no more are taken once the time is over: they decide nothing.
FEWEST_BUSY = 3
#: Waiting for a quiet moment: the share of the time for waits, the seconds at once, and all of them at most.
QUIET_SHARE, QUIET_S, MOST_QUIET_S = 0.5, 10.0, 120.0


@dataclass(frozen=True)
class Wait:
    """One request's seconds from its start to its end, and whether the machine was quiet meanwhile."""

    seconds: float
    quiet: bool


@dataclass(frozen=True)
class Waits:
    """Waits of one user. ``busy``: the load of the spans that were not quiet, None where all were.

    ``rows``: different rows that were asked; a wait is one of a request, so that rows may repeat. ``needed``:
    quiet waits that are enough.
    """

    every: tuple[Wait, ...]
    rows: int
    busy: Load | None = None
    needed: int = 1

    @property
    def quiet(self) -> bool:
        """Whether the figures are of quiet waits alone: all were, or enough."""
        return self.busy is None or len(self._calm()) >= self.needed

    @property
    def counted(self) -> list[float]:
        """Seconds that the figures are made of: of quiet waits where there are enough, else of all."""
        return [wait.seconds for wait in (self._calm() if self.quiet else self.every)]

    def _calm(self) -> list[Wait]:
        return [wait for wait in self.every if wait.quiet]

    def figure(self, share: float) -> WaitMeasurement:
        """The quantile in milliseconds with its interval; an end is None where so few waits give none."""
        interval = statistics.quantile_interval([s * 1000 for s in self.counted], share, level=LEVEL)
        how = f"one request at a time, nothing reused between them; {interval.method}"
        if self.rows < len(self.every):
            how += (
                f"; {counted(self.rows, 'row was', 'rows were')} asked again until {len(self.every):,} waits"
                " were measured"
            )
        return WaitMeasurement(
            interval.value,
            finite(interval.low),
            finite(interval.high),
            interval.n,
            how,
            unit="ms",
            quiet=self.quiet,
            busy=self.note,
        )

    @property
    def note(self) -> str:
        """What disturbed the waits that count; "" where nothing did."""
        if self.quiet or self.busy is None:
            return ""
        return self.busy.sentence("while waits were measured")

    def as_dict(self) -> JsonObject:
        """How they were taken, for reports."""
        return {
            "measured": len(self.every),
            "quiet": len(self._calm()),
            "counted": len(self.counted),
            "rows": self.rows,
            "needed": self.needed,
            "note": self.note,
            "load": asdict(self.busy) if self.busy else None,
        }


@dataclass(frozen=True)
class Terms:
    """How many waits to take: ``count`` quiet ones, ``fewest`` of any kind whatever the time.

    None begins after ``limit_s`` seconds; ``enough_s``: seconds of quiet waiting after which ``fewest`` are
    enough.
    """

    count: int
    fewest: int
    limit_s: float
    enough_s: float = math.inf

    @property
    def needed(self) -> int:
        """Quiet waits that figures may rest on."""
        return self.count if self.enough_s == math.inf else self.fewest


def take(
    ask: Callable[[int], None],
    rows: int,
    terms: Terms,
    progress: Task,
    *,
    others: Callable[[], AbstractContextManager[Load]] = cpu_load.others,
    until_quiet: Callable[[float, Callable[[Load], None]], Load] = cpu_load.wait_until_quiet,
) -> Waits:
    """Ask ``rows`` requests in turn, again from the first where more waits are to be taken.

    ``ask(i)`` answers request ``i`` and returns when it is done. Waits that something disturbed are repeated
    after a quiet moment was waited for, as long as there is time.
    """
    waits: list[Wait] = []
    disturbed: list[Load] = []
    started = time.monotonic()
    patience = min(terms.limit_s * QUIET_SHARE, MOST_QUIET_S)

    def left() -> float:
        return terms.limit_s - (time.monotonic() - started)

    while True:
        calm = [wait.seconds for wait in waits if wait.quiet]
        progress.at(len(calm), "")
        if len(calm) >= terms.count:
            break
        if left() <= 0 and disturbed and len(waits) >= FEWEST_BUSY:
            break
        over = left() <= 0 or sum(calm) > terms.enough_s or (bool(disturbed) and patience <= 0)
        if over and len(waits) >= terms.fewest:
            break
        with others() as span:
            most = (
                min(terms.count - len(calm), max(terms.fewest - len(waits), 1))
                if over
                else terms.count - len(calm)
            )
            seconds = _burst(ask, rows, len(waits), most)
        waits += [Wait(each, span.quiet) for each in seconds]
        if not span.quiet:
            disturbed.append(span)
            patience -= _pause(min(QUIET_S, patience, left()), until_quiet, progress, len(calm))
    busy = cpu_load.together(disturbed) if disturbed else None
    return Waits(tuple(waits), min(rows, len(waits)), busy, terms.needed)


def _pause(
    most_s: float, until_quiet: Callable[[float, Callable[[Load], None]], Load], progress: Task, done: int
) -> float:
    """Wait for a quiet moment and say so; the seconds it took."""
    if most_s <= 0:
        return 0.0
    began = time.monotonic()
    until_quiet(
        most_s, lambda busy: progress.at(done, f"waiting for a quiet moment: {busy.sentence('just now')}")
    )
    return time.monotonic() - began


def _burst(ask: Callable[[int], None], rows: int, done: int, most: int) -> list[float]:
    """Waits of one after the other for :data:`BURST_S` seconds, at least one and at most ``most``."""
    seconds: list[float] = []
    while not seconds or (len(seconds) < most and sum(seconds) < BURST_S):
        started = time.perf_counter()
        ask((done + len(seconds)) % rows)
        seconds.append(time.perf_counter() - started)
    return seconds
