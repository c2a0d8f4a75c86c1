import numpy as np
import pytest

from freehold import statistics


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


def test_a_resampling_test_says_no_less_than_its_draws_allow() -> None:
    first, second = [0.1] * 300, [0.9 - i / 10000 for i in range(300)]
    result = statistics.paired(first, second)
    assert result["test"] == "sign-flip permutation"
    assert result["p"] == 1 / (statistics.RESAMPLES + 1)


def test_holm_agrees_with_a_hand_count() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []
