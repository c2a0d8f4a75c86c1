import pytest

from freehold.errors import UsageError
from freehold.ledger.money import ApiPrice, Hardware, api_price, break_even, hardware


def test_the_lines_cross_where_the_costs_are_equal() -> None:
    api = ApiPrice("x:y", 1.0, 10.0, "made up for this test")
    even = break_even(api, Hardware(0.1, ""), 100, 10, 5.0)
    assert even.requests is not None
    assert even.requests * even.api_per_request == pytest.approx(even.own_per_month)
    assert break_even(api, Hardware(0.1, ""), 100, 10, 0.0001).requests is None


def test_a_price_names_its_source_and_date() -> None:
    price = api_price("openai:gpt-5-mini")
    assert price.input_per_million > 0
    assert "genai-prices" in price.source
    assert "20" in price.source
    with pytest.raises(UsageError, match="knows no model"):
        api_price("openai:no-such-model")


def test_hardware_by_price_counts_electricity() -> None:
    assert hardware(None, 876.0, 1.0, 0.5, 200.0).per_hour == pytest.approx(0.1 + 0.1)
    assert hardware(1.5, 0, 1, 0, 0).per_hour == 1.5
