import numpy as np
import pytest

from freehold import statistics


def test_wilson_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for hits, n in [(0, 10), (7, 10), (2600, 3080), (10, 10)]:
        wanted = binomtest(hits, n).proportion_ci(method="wilson")
        assert statistics.wilson(hits, n) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_wilson_covers_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(1)
    inside = [
        low <= 0.87 <= high
        for low, high in (statistics.wilson(h, 200) for h in random.binomial(200, 0.87, 2000))
    ]
    assert 0.93 < np.mean(inside) < 0.97


def test_a_paired_test_sees_what_unpaired_intervals_hide() -> None:
    random = np.random.default_rng(0)
    first = (random.random(500) < 0.5).astype(float)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:15]] = 1.0
    result = statistics.paired(list(first), list(second))
    assert result["gained"] == 15
    assert result["lost"] == 0
    assert float(result["p"]) < 0.001
    low, high = statistics.mean_interval(list(first))
    assert low < second.mean() < high


def test_macro_f1_agrees_with_a_plain_count() -> None:
    value, (low, high) = statistics.macro_f1(["a", "a", "b", "c"], ["a", "b", "b", "x"])
    assert value == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert low <= value <= high


def test_rows_to_decide_is_the_smallest_number_that_decides() -> None:
    more = statistics.rows_to_decide(0.92, 0.9, 100)
    assert more is not None
    low, _ = statistics.wilson(0.92 * (100 + more), 100 + more)
    before, _ = statistics.wilson(0.92 * (99 + more), 99 + more)
    assert before < 0.9 <= low
    assert statistics.rows_to_decide(0.9, 0.9, 100) is None


def test_a_resampling_test_says_no_less_than_its_draws_allow() -> None:
    first, second = [0.1] * 300, [0.9 - i / 10000 for i in range(300)]
    found = statistics.paired(first, second)
    assert found["test"] == "sign-flip permutation"
    assert found["p"] == 1 / (statistics.RESAMPLES + 1)
