"""Drawing stays within its numbers, whatever it is told."""

from __future__ import annotations

import numpy as np
import pytest

from freehold.core.errors import Unsupported
from freehold.inference.sampling import Sampling, draw, likelihood

LOGITS = np.array([1.0, 3.0, -2.0, 0.0], dtype=np.float32)


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-30])
@pytest.mark.parametrize("top_p", [0.1, 0.5, 1.0])
def test_a_temperature_near_nothing_takes_the_likeliest(temperature: float, top_p: float) -> None:
    assert draw(LOGITS, temperature, top_p, np.random.default_rng(0)) == 1


def test_the_likeliest_stays_whatever_min_p_is() -> None:
    assert draw(LOGITS, 1.0, 1.0, np.random.default_rng(0), min_p=5.0) == 1


@pytest.mark.parametrize("repeat", [1e-300, 5e-324, 1e300])
def test_a_repeat_penalty_beyond_measure_gives_numbers(repeat: float) -> None:
    changed = Sampling(repeat=repeat).applied(LOGITS, [1, 2, 3], [])
    assert not np.isnan(changed).any()
    assert not np.isposinf(changed).any()
    assert Sampling(temperature=1.0).pick(changed, np.random.default_rng(0)) in range(4)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_where_nothing_is_left_it_is_said(value: float, temperature: float) -> None:
    with pytest.raises(Unsupported, match="no token is left"):
        Sampling(temperature=temperature).pick(np.full(4, value), np.random.default_rng(0))


def test_more_likelihoods_are_asked_than_there_are_tokens() -> None:
    assert [token for token, _ in likelihood(LOGITS, 1, 20).top] == [1, 0, 3]
