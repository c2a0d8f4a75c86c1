import numpy as np
import pytest
from scipy.stats import binomtest

from freehold.core import statistics
from freehold.core.statistics.pairs import bonett_price


def test_a_paired_test_sees_what_unpaired_intervals_hide() -> None:
    random = np.random.default_rng(0)
    first = (random.random(500) < 0.5).astype(float)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:15]] = 1.0
    result = statistics.paired(list(first), list(second))
    assert result["gained"] == 15
    assert result["lost"] == 0
    assert float(result["p"] or 0) < 0.001
    interval = statistics.mean_interval(list(first))
    assert interval.low < second.mean() < interval.high


def test_shares_are_compared_by_mcnemars_test_as_scipy_has_it() -> None:
    first, second = [0, 0, 0, 0, 1, 1, 1, 1, 1, 0] * 5, [1, 1, 1, 0, 1, 1, 1, 0, 1, 0] * 5
    result = statistics.paired(first, second)
    assert result["p"] == pytest.approx(binomtest(15, 20).pvalue)
    assert (result["gained"], result["lost"], result["difference"]) == (15, 5, pytest.approx(0.2))


def test_bonett_and_prices_interval_is_walds_with_a_row_added_to_each_cell_that_differs() -> None:
    up, down = 25 / 102, 6 / 102
    half = 1.959964 * np.sqrt((up + down - (up - down) ** 2) / 102)
    assert bonett_price(24, 5, 100) == pytest.approx((up - down - half, up - down + half), abs=1e-6)


def test_many_small_gains_beside_a_rare_large_loss_are_not_called_better() -> None:
    random = np.random.default_rng(0)
    gains = random.choice([0.0, 0.1, -0.9], p=[0.9, 0.09, 0.01], size=(200, 50))
    first = np.where(gains < 0, 0.9, 0.0)
    better = [
        result["p"] < 0.04 and result["difference"] > 0
        for result in (statistics.paired(a, a + gain) for a, gain in zip(first, gains, strict=True))
    ]
    assert np.mean(better) <= 0.02


def test_the_p_value_of_graded_scores_and_the_interval_say_the_same() -> None:
    random = np.random.default_rng(0)
    scores = random.random(80)
    first, second = scores.tolist(), np.clip(scores + random.normal(0.1, 0.1, 80), 0, 1).tolist()
    for groups in (None, [i // 4 for i in range(80)]):
        p = float(statistics.paired(first, second, groups=groups)["p"] or 0)
        at_p = statistics.paired(first, second, groups=groups, level=1 - p)
        assert at_p["low"] == pytest.approx(0.0, abs=1e-6)


def test_rows_that_move_together_prove_less() -> None:
    first, second = [0.0, 0.0, 1.0, 1.0] * 10, [1.0] * 40
    alone = statistics.paired(first, second)
    together = statistics.paired(first, second, groups=[i // 4 for i in range(40)])
    assert together["groups"] == 10
    assert float(alone["p"] or 0) < 1e-5
    assert float(together["p"] or 0) > 0.01


def test_holm_agrees_with_a_hand_count() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []
