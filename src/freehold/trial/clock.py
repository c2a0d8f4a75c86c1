"""The time of one trial: what is gone, what each part may still take, and how long the rest will take.

Every estimate that is shown is kept, so the report can say how good the estimates were.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

from freehold.core.progress import Event, Sink, duration
from freehold.trial.planner import Part, Plan

#: A part may take this much more than planned where the parts before it left time over.
MOST_STRETCH = 1.5
#: Share of the time that no part needs which measuring may take besides: on a machine that became busy a
#: short part takes many times its plan, and a trial with an hour left would end without an answer.
SPARE_SHARE = 0.1
#: A part that must do with less than this share of its seconds is left out.
LEAST_SHARE = 0.4
#: How often an estimate of the whole trial's time left is kept.
EVERY_S = 3.0


@dataclass(frozen=True)
class Taken:
    """What a part was planned to take and what it took, seconds."""

    part: str
    planned_s: float
    taken_s: float


class Clock:
    """Wraps ``sink``: events carry the whole trial's time left.

    A step that an earlier run had done counts with the seconds it took then, at the moment it is found
    (:meth:`replay`), so that a trial that goes on decides as one that was never stopped.
    """

    def __init__(self, budget_s: float, sink: Sink):
        self.budget_s, self.before_s, self.sink = budget_s, 0.0, sink
        self.taken: list[Taken] = []
        self._queue: list[Part] = []
        self._part: tuple[Part, float] | None = None  # the part under way and when it must end
        self._started = time.monotonic()
        self._said: list[tuple[float, float]] = []  # (seconds gone, seconds said to be left)

    def spent(self) -> float:
        """Seconds this trial has taken, earlier runs included."""
        return self.before_s + time.monotonic() - self._started

    def replay(self, seconds: float) -> None:
        """Count the seconds that an earlier run had spent on a step."""
        self.before_s += seconds

    @contextlib.contextmanager
    def stopped(self) -> Generator[None]:
        """Count nothing of what happens meanwhile: steps on other machines are counted by their own seconds
        (:meth:`replay`).
        """
        started = time.monotonic()
        try:
            yield
        finally:
            self.before_s -= time.monotonic() - started

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget_s - self.spent()

    def spare(self) -> float:
        """Seconds of the budget that no planned part needs."""
        return self.left() - sum(part.seconds for part in self._queue)

    def follow(self, plan: Plan) -> None:
        """Go by this plan from now on."""
        self.budget_s = plan.budget_s
        self._queue = list(plan.parts)

    def waits(self, kind: str, model: str = "") -> bool:
        """Whether a part of this kind is planned and has not begun."""
        return any(part.kind == kind and part.model == model for part in self._queue)

    def drop(self, kind: str, model: str = "") -> None:
        """Take a part out of the plan: it will not be done."""
        self._queue = [part for part in self._queue if (part.kind, part.model) != (kind, model)]

    @contextlib.contextmanager
    def part(
        self, kind: str, model: str = "", *, stretch: bool = False, ends: bool = False
    ) -> Generator[float]:
        """Begin a planned part; the seconds it may take, 0 where it is not planned or its time is gone.

        What earlier parts left over goes to parts that can ``stretch`` as far as they like, to others
        within :data:`MOST_STRETCH`, or :data:`SPARE_SHARE` where the work ``ends`` by itself when it is done.
        """
        planned = next((part for part in self._queue if part.kind == kind and part.model == model), None)
        if planned is None:
            yield 0.0
            return
        self._queue.remove(planned)
        started = self.spent()
        seconds = self._allowed(planned, stretch, ends)
        self._part = (planned, started + seconds)
        try:
            yield seconds
        finally:
            self._part = None
            self.taken.append(Taken(str(planned), planned.seconds, self.spent() - started))

    def _allowed(self, planned: Part, stretch: bool, ends: bool) -> float:
        over = self.left() - planned.seconds - sum(part.seconds for part in self._queue)
        if over < 0:
            seconds = planned.seconds + over
            return seconds if seconds >= LEAST_SHARE * planned.seconds else 0.0
        if stretch:
            return planned.seconds + over * 0.9
        extra = max((MOST_STRETCH - 1) * planned.seconds, SPARE_SHARE * over * ends)
        return planned.seconds + min(over * 0.5, extra)

    def part_left(self) -> float:
        """Seconds that the part under way may still take; those of the budget where none is."""
        return self._part[1] - self.spent() if self._part else self.left()

    def whole_left(self, event: Event) -> float | None:
        """Seconds until the trial ends, as far as can be said; None before there is a plan."""
        if self._part is None:
            return None
        own = max(self.part_left(), 0.0)
        # a part of one step ends when the step does; one of several has others to come
        if event.left_s is not None and self._part[0].kind in (
            "zero-shot",
            "few-shot",
            "tune",
            "compare",
            "served",
            "safety",
            "privacy",
        ):
            own = min(own, event.left_s)
        return own + sum(part.seconds for part in self._queue)

    def relay(self, event: Event) -> None:
        """Hand an event on, with the whole trial's time left in its note."""
        left = self.whole_left(event)
        if left is None or event.ended:
            self.sink(event)
            return
        if not self._said or self.spent() - self._said[-1][0] >= EVERY_S:
            self._said.append((self.spent(), left))
        note = f"trial: {duration(left)} left"
        self.sink(replace(event, note=f"{event.note}  {note}" if event.note else note))

    def median_error(self) -> tuple[float, int] | None:
        """(median of |said - true| / true, number of estimates) over all but the last tenth of the run;
        None where none was made.
        """
        end = self.spent()
        errors = [abs(said - (end - at)) / (end - at) for at, said in self._said if end - at > 0.1 * end]
        return (statistics.median(errors), len(errors)) if errors else None

    def late(self) -> str:
        """Which parts took the time that the trial is over its budget; '' while it is within a tenth."""
        if self.spent() <= 1.1 * self.budget_s:
            return ""
        worst = sorted(
            (taken for taken in self.taken if taken.taken_s > taken.planned_s),
            key=lambda t: t.planned_s - t.taken_s,
        )[:3]
        reason = "; ".join(
            f"{t.part} took {duration(t.taken_s)} instead of the planned {duration(t.planned_s)}"
            for t in worst
        )
        return (
            f"the trial took {duration(self.spent())}, more than its budget of {duration(self.budget_s)}: "
            f"{reason or 'it was used up before there was a plan'}"
        )
