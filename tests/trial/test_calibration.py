"""The verdict's errors, simulated: rows in, verdict out.

The long form is ``benchmarks/verdict_calibration.py``.
"""

from types import ModuleType

import pytest
from scipy.stats import binom

from freehold.core import statistics
from freehold.trial.choice import Choice
from tests.scripts import script

#: What is simulated here: truth at the need, where either decisive word is an error.
SCENARIOS = {
    "few rows": ({"rows": 50}, 300),
    "many variants": ({"variants": 16, "alike": 0.0}, 150),
    "four looks": ({"rows": 100, "looks": 4}, 200),
    "graded scores": ({"metric": "score", "rows": 50}, 100),
    "rows in groups": ({"rows": 90, "group_rows": 6, "icc": 0.5}, 50),
    "few waits": ({"metric": "p95", "waits": 32}, 150),
    "waits enough": ({"metric": "p95", "waits": 100}, 300),
    "chosen on test rows": ({"variants": 7, "chosen_on": "test"}, 150),
}


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    return script("verdict_calibration")


def most(runs: int) -> float:
    """The largest share of runs that an error of 2.5% gives, but for one time in a thousand."""
    return float(binom.ppf(0.999, runs, 0.025)) / runs


@pytest.mark.parametrize("name", SCENARIOS)
def test_neither_error_is_above_its_level(calibration: ModuleType, name: str) -> None:
    scenario, runs = SCENARIOS[name]
    result = calibration.simulate(calibration.Scenario(name, **scenario), runs)
    assert result.own <= most(runs)
    assert result.refused <= most(runs)


def test_the_simulation_sees_a_choice_on_the_rows_that_judge(
    calibration: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Choice, "among", property(lambda self: 1))
    scenario = calibration.Scenario("wrong", variants=16, alike=0.0, chosen_on="test")
    assert calibration.simulate(scenario, 150).own > 2 * most(150)


def test_the_simulation_sees_looks_that_are_not_counted(
    calibration: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "alpha_of_look", lambda look: 0.025)
    result = calibration.simulate(calibration.Scenario("wrong", rows=100, looks=4), 600)
    assert result.own > most(600)


def test_a_variant_well_above_the_need_is_owned_and_one_well_below_is_not(calibration: ModuleType) -> None:
    """The rule is not right by deciding nothing."""
    random = calibration.np.random.default_rng(0)
    scenario = calibration.Scenario("above")
    words = {}
    for truth in (0.8, 0.97):
        # the answers are those of a truth that is not the need
        drawn = []
        for _ in range(20):
            rows = calibration.draw(random, scenario, 300)
            shifted = rows.latent - calibration.norm.ppf(truth) + calibration.norm.ppf(0.9)
            moved = calibration.Drawn(shifted, rows.labels, None)
            needs = [calibration.parse_need("accuracy>=0.9")]
            variants = [calibration.variant(scenario, moved, 0)]
            drawn.append(calibration.word(scenario, needs, variants, moved, [], 1))
        words[truth] = drawn
    assert words[0.97].count("own it") >= 18
    assert words[0.8].count("not with these models") >= 18
