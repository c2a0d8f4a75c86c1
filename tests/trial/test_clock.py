"""Parts keep their time, what is left over is passed on, and estimates of the time left are kept."""

from __future__ import annotations

import pytest

from freehold.core.progress import Event
from freehold.trial.clock import Clock
from freehold.trial.planner import Part, Plan

PARTS = (
    Part("zero-shot", "m", 20, 100, 100),
    Part("tune", "m", 60, 3),
    Part("tuned", "m", 10, 1, 3),
    Part("time", "", 8, 2),
)


def clock(parts: tuple[Part, ...] = PARTS, budget: float = 100.0) -> tuple[Clock, list[Event]]:
    """A clock that follows a plan of these parts, and what it hands on."""
    heard: list[Event] = []
    made = Clock(budget, heard.append)
    made.follow(Plan(budget, 0.0, parts, ()))
    return made, heard


def test_a_part_gets_its_seconds() -> None:
    running, _ = clock()
    with running.part("zero-shot", "m") as seconds:
        assert seconds == pytest.approx(
            21, abs=0.2
        )  # its own and half of the two seconds that nobody planned with


def test_tuning_takes_what_was_left_over() -> None:
    running, _ = clock(budget=150)
    with running.part("zero-shot", "m"):
        running.replay(5)
    with running.part("tune", "m", stretch=True) as seconds:
        assert seconds == pytest.approx(60 + 0.9 * (150 - 5 - 78), abs=0.5)


def test_short_measuring_has_a_share_of_the_time_that_nothing_needs() -> None:
    running, _ = clock((Part("zero-shot", "m", 3, 18, 18),), budget=3600)
    with running.part("zero-shot", "m", ends=True) as seconds:
        assert seconds == pytest.approx(3 + 0.1 * 3597, abs=0.5)


def test_a_late_trial_shortens_parts_and_then_leaves_them_out() -> None:
    running, _ = clock()
    running.replay(10)  # before anything: the plan holds 98 of 100 seconds
    with running.part("zero-shot", "m") as seconds:
        assert seconds == pytest.approx(20 - 8, abs=0.5)
    running, _ = clock()
    running.replay(17)  # 5 of its 20 seconds are left, too few to begin
    with running.part("zero-shot", "m") as seconds:
        assert seconds == 0.0
    running, _ = clock()
    with running.part("zero-shot", "m"):
        running.replay(20)
    with running.part("tune", "m", stretch=True):
        running.replay(79)
    with running.part("tuned", "m") as seconds:
        assert seconds == 0.0


def test_what_is_not_planned_gets_no_time() -> None:
    running, _ = clock()
    assert not running.waits("safety")
    with running.part("safety") as seconds:
        assert seconds == 0.0


def test_a_replayed_trial_is_granted_what_it_was_granted_first() -> None:
    """A run that finds its steps done counts their seconds when it finds them, so later parts get the same
    time.
    """
    running, _ = clock()
    granted: list[float] = []
    for kind, model, took in (("zero-shot", "m", 18.0), ("tune", "m", 58.0), ("tuned", "m", 9.0)):
        with running.part(kind, model) as seconds:
            granted.append(seconds)
            running.replay(took)
    assert running.spent() == pytest.approx(85, abs=0.2)
    assert all(granted)


def test_events_carry_the_time_left_of_the_whole_trial() -> None:
    running, heard = clock()
    running.relay(Event("reading", 1, 2, "rows", 1.0))
    assert "trial:" not in heard[-1].note
    with running.part("zero-shot", "m"):
        running.relay(Event("m, zero-shot", 50, 100, "rows", 4.0, "accuracy so far 0.5"))
    assert heard[-1].note == "accuracy so far 0.5  trial: 1 min 22 s left"


def test_the_error_of_the_estimates_is_what_was_said_against_what_came() -> None:
    running, _ = clock()
    with running.part("zero-shot", "m"):
        running.relay(Event("m, zero-shot", 0, 100, "rows", 0.0))
        running.replay(49)
    error = running.median_error()
    assert error is not None
    assert error[1] == 1
    assert error[0] == pytest.approx((99 - 49) / 49, abs=0.05)


def test_a_trial_over_its_budget_says_which_part_took_the_time() -> None:
    running, _ = clock()
    assert running.late() == ""
    with running.part("zero-shot", "m"):
        running.replay(130)
    assert (
        "zero-shot, 100 of 100 rows that choose took 2 min 10 s instead of the planned 20 s" in running.late()
    )
