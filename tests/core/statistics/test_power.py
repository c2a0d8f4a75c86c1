import math

import numpy as np
import pytest
from scipy.stats import binom

from freehold.core import statistics


def test_the_first_look_has_most_of_the_error_and_all_looks_no_more_than_its_whole() -> None:
    parts = [statistics.alpha_of_look(look) for look in range(1, 60)]
    assert parts[0] == 0.02
    assert sum(parts) <= 0.025
    assert statistics.level_of_look(1) == 0.96
    with pytest.raises(ValueError, match="counted from 1"):
        statistics.alpha_of_look(0)


def test_waits_that_an_upper_bound_needs() -> None:
    assert statistics.waits_needed(0.95) == 72
    short = statistics.quantile_interval(range(71), 0.95)
    assert short.high == math.inf
    assert "72 values" in short.method
    assert statistics.quantile_interval(range(72), 0.95).high == 71.0


@pytest.mark.parametrize("n", [72, 200, 1000])
def test_each_end_of_a_quantile_errs_no_more_often_than_its_level_says(n: int) -> None:
    truth = math.exp(1.6448536269514722)  # p95 of a lognormal
    samples = np.random.default_rng(0).lognormal(size=(1000, n))
    ends = [(i.low > truth, i.high < truth) for i in (statistics.quantile_interval(s, 0.95) for s in samples)]
    assert np.mean(ends, axis=0).max() <= 0.036  # 1000 samples at 2.5%: more by chance once in 80


def test_detectable_is_the_smallest_difference_found_in_four_of_five_samples() -> None:
    for n in (50, 300, 2000):
        beyond = statistics.detectable(n, 0.9, level=0.96)
        met = (
            next(
                hits
                for hits in range(n + 1)
                if statistics.mean_interval([1.0] * hits + [0.0] * (n - hits), level=0.96).low >= 0.9
            )
            if n <= 300
            else int(binom.isf(0.02, n, 0.9)) + 1
        )
        assert binom.sf(met - 1, n, 0.9 + beyond) == pytest.approx(0.8)


def test_too_few_rows_detect_nothing() -> None:
    assert statistics.detectable(20, 0.9) == math.inf


def test_the_rows_advised_decide_in_about_four_of_five_cases() -> None:
    """Truths spread around the need; who is not decided adds the rows advised and looks again."""
    random = np.random.default_rng(0)
    decided = []
    for truth in random.uniform(0.85, 0.98, 500):
        hits = int(random.binomial(200, truth))
        seen = statistics.share_interval(hits, 200)
        if seen.low >= 0.9 or seen.high < 0.9:
            continue
        more = statistics.rows_for_power(hits / 200, 0.9, 200)
        if more is None:
            continue
        again = statistics.share_interval(hits + int(random.binomial(more, truth)), 200 + more)
        decided.append(again.low >= 0.9 or again.high < 0.9)
    assert len(decided) > 100
    assert 0.7 <= np.mean(decided) <= 0.92


def test_more_rows_for_graded_scores_follow_their_variance() -> None:
    shares = statistics.rows_for_power(0.93, 0.9, 200)
    graded = statistics.rows_for_power(0.93, 0.9, 200, variance=0.01)
    assert shares is not None
    assert graded is not None
    assert graded < shares / 2


def test_no_number_of_rows_settles_a_tie() -> None:
    assert statistics.rows_to_differ(10, 10, 100) is None
    assert statistics.rows_to_differ(0, 0, 100) is None


def test_rows_to_differ_give_mcnemars_test_a_chance_of_four_in_five() -> None:
    more = statistics.rows_to_differ(20, 10, 300)
    assert more is not None
    random = np.random.default_rng(0)
    found = []
    for share in random.beta(20.5, 10.5, 400):
        new = round(more * 30 / 300)
        gained = 20 + int(random.binomial(new, share))
        found.append(2 * binom.sf(gained - 1, 30 + new, 0.5) < 0.05)
    assert 0.74 <= np.mean(found) <= 0.86


@pytest.mark.parametrize("need", [-1.0, 0.0, 1.0, 1.5])
def test_a_need_that_no_share_can_miss_or_meet_is_decided_already(need: float) -> None:
    assert statistics.rows_for_power(0.9, need, 50) == 0
    assert statistics.detectable(50, need) == (math.inf if need >= 1 else 0.0)
