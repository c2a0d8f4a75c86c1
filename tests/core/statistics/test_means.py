import numpy as np
import pytest
from scipy.stats import binomtest, t

from freehold.core import statistics
from freehold.core.statistics.bounded import lower_bound


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (7, 10), (2600, 3080), (10, 10)])
@pytest.mark.parametrize("level", [0.95, 0.96])
def test_shares_get_clopper_and_pearsons_interval_to_the_digit(hits: int, n: int, level: float) -> None:
    exact = binomtest(hits, n).proportion_ci(level, method="exact")
    interval = statistics.mean_interval([1.0] * hits + [0.0] * (n - hits), level=level)
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), abs=1e-10)
    assert (interval.value, interval.n) == (hits / n, n)


def test_wilson_agrees_with_scipy() -> None:
    for hits, n in [(0, 10), (7, 10), (2600, 3080), (10, 10)]:
        scipys = binomtest(hits, n).proportion_ci(method="wilson")
        assert statistics.wilson(hits, n) == pytest.approx((scipys.low, scipys.high), abs=1e-9)


def test_wilson_takes_shares_that_are_no_whole_number_of_rows() -> None:
    low, high = statistics.wilson(17.5, 100)
    assert statistics.wilson(17, 100)[0] < low < 0.175 < high < statistics.wilson(18, 100)[1]


def test_an_almost_perfect_sample_is_next_to_a_perfect_one() -> None:
    perfect = statistics.mean_interval([1.0] * 20)
    almost = statistics.mean_interval([1.0] * 19 + [0.98])
    assert perfect.low == pytest.approx(0.025 ** (1 / 20))
    assert perfect.low - 0.001 < almost.low < perfect.low
    assert almost.high > 0.999


@pytest.mark.parametrize(
    ("hits", "n", "alpha"), [(18, 20, 0.025), (1, 2, 0.1), (90, 100, 0.005), (2700, 3000, 0.02)]
)
def test_the_bound_for_graded_scores_becomes_the_exact_one_as_scores_become_shares(
    hits: int, n: int, alpha: float
) -> None:
    exact = lower_bound(np.repeat([1.0, 0.0], [hits, n - hits]), alpha)
    near = lower_bound(np.repeat([1.0 - 1e-9, 0.0], [hits, n - hits]), alpha)
    assert near == pytest.approx(exact, abs=1e-7)


def test_the_bound_for_graded_scores_is_the_quantile_of_random_weights() -> None:
    random = np.random.default_rng(0)
    values = random.random(20)
    weights = random.dirichlet(np.ones(21), 200_000)[:, 1:]
    assert lower_bound(values, 0.025) == pytest.approx(np.quantile(weights @ values, 0.025), abs=0.001)


def test_numbers_without_limits_get_students_interval() -> None:
    values = np.random.default_rng(0).normal(5, 2, 40)
    interval = statistics.mean_interval(list(values))
    low, high = t.interval(0.95, 39, values.mean(), values.std(ddof=1) / np.sqrt(40))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_rows_that_belong_together_count_as_groups() -> None:
    scores = [1.0] * 50 + [0.0] * 50
    alone = statistics.mean_interval(scores)
    together = statistics.mean_interval(scores, groups=[i // 10 for i in range(100)])
    assert together.groups == 10
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_group_for_every_row_is_no_group() -> None:
    scores = [1.0, 0.0, 1.0, 1.0]
    assert statistics.mean_interval(scores, groups="abcd") == statistics.mean_interval(scores)
    with pytest.raises(ValueError, match="3 group names for 4 rows"):
        statistics.mean_interval(scores, groups="abc")


GRADED = [  # (values, how often each): what answers' scores look like where the mean is near a need
    ([1.0, 0.0], [0.9, 0.1]),
    ([0.98, 0.0], [0.93, 0.07]),
    ([1.0, 0.5], [0.9, 0.1]),
    ([1.0, 0.8, 0.66, 0.5, 0.0], [0.74, 0.1, 0.06, 0.04, 0.06]),
    ([0.0, 1.0], [0.95, 0.05]),
]


@pytest.mark.parametrize("n", [20, 100])
@pytest.mark.parametrize(("values", "shares"), GRADED)
def test_each_end_errs_no_more_often_than_its_level_says(
    values: list[float], shares: list[float], n: int
) -> None:
    truth = float(np.dot(values, shares))
    samples = np.random.default_rng(2).choice(values, p=shares, size=(400, n))
    ends = [(i.low > truth, i.high < truth) for i in map(statistics.mean_interval, samples)]
    assert np.mean(ends, axis=0).max() <= 0.0425  # 400 samples at 2.5%: more by chance once in 70


@pytest.mark.parametrize("icc", [0.3, 0.5])
@pytest.mark.parametrize("count", [10, 60])
def test_intervals_over_groups_of_unequal_size_hold_where_rows_of_a_group_are_alike(
    icc: float, count: int
) -> None:
    random = np.random.default_rng(3)
    ends = []
    for _ in range(150):
        sizes = np.maximum(1, random.lognormal(1.5, 1, count)).astype(int)
        group = np.repeat(np.arange(count), sizes)
        share = random.beta(0.9 * (1 - icc) / icc, 0.1 * (1 - icc) / icc, count)[group]
        scores = (random.random(len(group)) < share).astype(float)
        interval = statistics.mean_interval(list(scores), groups=list(group))
        ends.append((interval.low > 0.9, interval.high < 0.9))
    assert np.mean(ends, axis=0).max() <= 0.06  # 150 samples at 2.5%: more by chance once in 200


def test_two_groups_can_tell_next_to_nothing() -> None:
    interval = statistics.mean_interval([1.0] * 200, groups=[i % 2 for i in range(200)])
    assert interval.low < 0.2
