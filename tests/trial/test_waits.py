"""Waits of one user: enough for the bound of a need, taken while it is quiet; a busy machine can't tell."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from freehold.core import progress
from freehold.core.cpu_load import Load
from freehold.core.progress import Event
from freehold.trial import waits
from freehold.trial.results import WaitMeasurement
from freehold.trial.waits import Terms, Wait, Waits, take

QUIET, BUSY = Load(1, 2, 0.01, 0.0, 0.0), Load(1, 2, 0.62, 0.0, 0.0)
MANY = Terms(72, 10, limit_s=60.0)


class Machine:
    """A machine whose spans are busy until so many have passed; it remembers what was asked."""

    def __init__(self, busy_spans: float):
        self.busy_spans, self.asked, self.waited = busy_spans, list[int](), 0

    def ask(self, number: int) -> None:
        self.asked.append(number)

    @contextmanager
    def others(self) -> Iterator[Load]:
        span = Load(1, 2)
        yield span
        span.share, span.steal, span.held = (0.62 if self.busy_spans > 0 else 0.01), 0.0, 0.0
        self.busy_spans -= 1

    def until_quiet(self, most_s: float, say: Callable[[Load], None]) -> Load:
        self.waited += 1
        say(BUSY)
        return QUIET


def taken(
    machine: Machine, terms: Terms = MANY, rows: int = 100, sink: progress.Sink = progress.silent
) -> Waits:
    with progress.task(sink, "timing", terms.count, "waits") as task:
        return take(machine.ask, rows, terms, task, others=machine.others, until_quiet=machine.until_quiet)


def test_on_a_quiet_machine_each_row_is_asked_once() -> None:
    machine = Machine(0)
    got = taken(machine)
    assert machine.asked == list(range(72))
    assert got.quiet
    assert got.busy is None
    assert got.note == ""


def test_rows_are_asked_again_where_there_are_fewer_than_waits_needed() -> None:
    machine = Machine(0)
    got = taken(machine, rows=30)
    assert machine.asked == [*range(30), *range(30), *range(12)]
    assert (got.rows, len(got.every)) == (30, 72)
    assert "30 rows were asked again until 72 waits" in got.figure(0.95).method


def test_disturbed_waits_are_taken_again_when_it_is_quiet_and_do_not_count() -> None:
    machine, events = Machine(2), list[Event]()
    got = taken(machine, sink=events.append)
    assert machine.waited == 2
    assert sum(not wait.quiet for wait in got.every) == len(got.every) - 72 > 0
    assert got.quiet
    assert len(got.counted) == 72
    assert any(
        event.note == "waiting for a quiet moment: another program used 62% of the processor just now"
        for event in events
    )


def test_where_it_never_is_quiet_the_figures_say_so() -> None:
    got = taken(Machine(math.inf), Terms(72, 10, limit_s=0.0))
    assert len(got.every) >= waits.FEWEST_BUSY
    figure = got.figure(0.95)
    assert figure.quiet is False
    assert figure.busy == "another program used 62% of the processor while waits were measured"


def test_waiting_for_quiet_ends_with_the_time() -> None:
    class Patient(Machine):
        def until_quiet(self, most_s: float, say: Callable[[Load], None]) -> Load:
            assert most_s <= 0.5
            import time

            time.sleep(most_s)
            return super().until_quiet(most_s, say)

    machine = Patient(math.inf)
    got = taken(machine, Terms(72, 10, limit_s=1.0))
    assert not got.quiet
    assert machine.waited >= 1


def test_without_a_need_on_p95_a_few_are_enough_after_some_seconds() -> None:
    got = taken(Machine(0), Terms(32, 10, limit_s=60.0, enough_s=-1.0))
    assert 10 <= len(got.every) <= 32


def of(seconds: list[float], *, quiet: bool = True) -> WaitMeasurement:
    every = tuple(Wait(each, quiet) for each in seconds)
    return Waits(every, len(every), None if quiet else BUSY, 72).figure(0.95)


def test_enough_quiet_waits_have_a_bound() -> None:
    figure = of([0.1 + 0.001 * (number % 20) for number in range(100)])
    assert figure.low is not None
    assert figure.high is not None
    assert 99.9 <= figure.low <= figure.value <= figure.high <= 119.1
    assert (figure.n, figure.quiet, figure.busy) == (100, True, "")


def test_too_few_waits_have_none() -> None:
    figure = of([0.1] * 20)
    assert figure.high is None
    assert "72" in figure.method


def test_waits_beside_other_work_are_marked_however_slow() -> None:
    figure = of([5.4] * 100, quiet=False)
    assert figure.quiet is False
    assert figure.busy == "another program used 62% of the processor while waits were measured"
