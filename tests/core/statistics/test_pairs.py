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
    assert result["p"] < 0.001
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
        p = statistics.paired(first, second, groups=groups)["p"]
        at_p = statistics.paired(first, second, groups=groups, level=1 - p)
        assert at_p["low"] == pytest.approx(0.0, abs=1e-6)


def test_rows_that_move_together_prove_less() -> None:
    first, second = [0.0, 0.0, 1.0, 1.0] * 10, [1.0] * 40
    alone = statistics.paired(first, second)
    together = statistics.paired(first, second, groups=[i // 4 for i in range(40)])
    assert together["groups"] == 10
    assert alone["p"] < 1e-5
    assert together["p"] > 0.01


def test_holm_agrees_with_a_hand_count() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []


@pytest.mark.parametrize(
    ("scores", "groups"),
    [(1.0, None), (0.4, None), (0.4, [i // 2 for i in range(24)]), (1.0, list("ab" * 12))],
)
def test_rows_can_say_no_less_than_their_number_allows(scores: float, groups: list[int] | None) -> None:
    """By chance alone, n differences all point one way in 2 of 2**n trials; no test may say less than
    that."""
    rows = [0.0] * 24
    result = statistics.paired(rows, [scores] * 24, groups=groups)
    independent = len(set(groups)) if groups else 24
    assert result["p"] >= 2 * 0.5**independent * (1 - 1e-4)


def test_a_p_value_is_never_shown_as_nothing() -> None:
    assert statistics.p_text(0.03123) == "p=0.031"
    assert statistics.p_text(2e-5) == "p=2e-05"
    many = statistics.paired([0.0] * 5000, [0.5] * 5000)
    assert 0 <= many["p"] < 1e-12
    for p in (many["p"], 0.0, 1e-300, 9e-13):
        assert statistics.p_text(p) == "p<1e-12"
