import pytest

from freehold import statistics


def test_macro_f1_agrees_with_a_plain_count() -> None:
    interval = statistics.macro_f1(["a", "a", "b", "c"], ["a", "b", "b", "x"])
    assert interval.value == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert (interval.low, interval.high) == (0.0, 1.0)
    assert "3 of 3 labels have fewer than" in interval.method
