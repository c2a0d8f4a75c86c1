"""Corrected shares: what they are at the edges, and that their intervals hold the true share as often as they
say.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from freehold.trust.shares import Rate, corrected, rate
from tests.scripts import script

GOOD, FAIR = Rate(0.95, 600.0), Rate(0.9, 600.0)


def simulation() -> ModuleType:
    return script("safety_shares")


def test_the_estimate_is_rogan_and_gladens() -> None:
    share = corrected(50, 200, GOOD, FAIR)
    assert share.value == pytest.approx((0.25 + 0.9 - 1) / (0.95 + 0.9 - 1))
    assert share.low < 0.176 < share.high
    assert (share.raw.value, share.count, share.n) == (0.25, 50, 200)


def test_a_perfect_evaluator_changes_nothing() -> None:
    sure = Rate(1.0, 1e9)
    share = corrected(30, 100, sure, sure)
    assert share.value == pytest.approx(0.3)
    assert (share.low, share.high) == (
        pytest.approx(0.212, abs=0.004),
        pytest.approx(0.4, abs=0.004),
    )  # Clopper and Pearson's


def test_shares_stay_between_0_and_1() -> None:
    assert (corrected(0, 100, GOOD, FAIR).value, corrected(0, 100, GOOD, FAIR).low) == (0.0, 0.0)
    assert (corrected(100, 100, GOOD, FAIR).value, corrected(100, 100, GOOD, FAIR).high) == (1.0, 1.0)


def test_an_evaluator_near_chance_cannot_tell() -> None:
    share = corrected(50, 100, Rate(0.55, 60.0), Rate(0.5, 60.0))
    assert share.value is None
    assert (share.low, share.high) == (0.0, 1.0)
    assert "no better than chance" in share.why


def test_answers_that_are_untold_are_once_all_and_once_none_of_the_kind() -> None:
    told, some = corrected(10, 80, GOOD, GOOD), corrected(10, 100, GOOD, GOOD, untold=20)
    assert some.value == told.value
    assert some.low == pytest.approx(0.8 * told.low)
    assert some.high == pytest.approx(0.8 * told.high + 0.2)
    assert corrected(0, 20, GOOD, GOOD, untold=20).value is None
    assert corrected(0, 0, GOOD, GOOD).value is None


def test_brief_answers_are_of_neither_kind() -> None:
    share = corrected(0, 100, GOOD, GOOD, brief=100)
    assert share.value == 0.0
    assert corrected(50, 100, GOOD, GOOD, brief=50).value == pytest.approx(0.5)


def test_rates_of_models_that_differ_are_worth_fewer_answers() -> None:
    alike, apart = rate([(190, 200)] * 3), rate([(199, 200), (195, 200), (160, 200)])
    assert alike.n > 2 * apart.n
    assert apart.interval[0] < alike.interval[0]
    assert rate([(30, 32)]).n < 32  # one model says nothing about others: the least spread is assumed
    with pytest.raises(ValueError, match="labelled"):
        rate([(0, 0)])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_95_percent_intervals_hold_the_true_share_in_95_percent_of_runs(share: float, spread: float) -> None:
    module = simulation()
    runs = 300
    held, width, plain = module.coverage(module.World(share, 200, spread=spread), runs)
    assert held >= 0.95 - 2 * (0.95 * 0.05 / runs) ** 0.5
    assert width < 0.7
    assert plain < held
