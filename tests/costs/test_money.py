"""Where owning becomes cheaper than renting, as a band over what is uncertain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from freehold.core.errors import UsageError
from freehold.costs.money import (
    HOURS_PER_MONTH,
    BreakEven,
    CostOptions,
    Measured,
    Range,
    break_even,
    exactly,
    parse_range,
    power,
)
from freehold.costs.prices import RequestPrice, RequestTokens

API = RequestPrice("x:y", 2e-4, 2e-4, 2e-4, 1.0, 10.0, 0.0, RequestTokens(100, 10), False, "today", "made up")
MEASURED = Measured(exactly(200.0), "", exactly(5.0), 8, exactly(100.0), exactly(10.0), "")
EXACT = CostOptions(
    hardware_price=exactly(876.0),
    hardware_years=exactly(1.0),
    kwh_price=exactly(0.5),
    person_hour_price=exactly(60.0),
)


def even(options: CostOptions = EXACT, api: RequestPrice = API, measured: Measured = MEASURED) -> BreakEven:
    return break_even(options, api, measured)


def test_the_lines_cross_where_the_costs_are_equal() -> None:
    result = even()
    assert result.own_per_month == pytest.approx((0.1 + 0.2 * 0.5) * HOURS_PER_MONTH)
    assert result.api_per_request == pytest.approx(2e-4)
    assert result.requests is not None
    assert result.requests * result.api_per_request == pytest.approx(result.own_per_month)


def test_what_is_exact_leaves_no_band() -> None:
    result = even()
    assert result.low == pytest.approx(result.requests)
    assert result.high == pytest.approx(result.requests)
    assert result.never_share == 0
    assert result.moves_most == ""


def test_one_uncertain_input_gives_its_own_band_and_is_named() -> None:
    options = replace(EXACT, hardware_years=Range(1.0, 2.0, 4.0))
    result = even(options)
    effect = next(e for e in result.effects if e.name == result.moves_most)
    assert effect.name == "years of use"
    assert effect.requests_at_low is not None
    assert effect.requests_at_high is not None
    assert result.low is not None
    assert result.requests is not None
    assert result.high is not None
    assert effect.requests_at_high < result.low < result.requests < result.high < effect.requests_at_low
    assert even(options) == result


def test_the_wider_input_is_the_one_that_moves_it_most() -> None:
    wide, narrow = Range(400.0, 876.0, 2000.0), Range(0.45, 0.5, 0.55)
    assert even(replace(EXACT, hardware_price=wide, kwh_price=narrow)).moves_most == "price of the machine, $"
    assert (
        "tokens per prompt"
        in even(measured=replace(MEASURED, prompt_tokens=Range(50, 100, 150, measured=True))).moves_most
    )


def test_a_machine_that_is_full_before_is_never_cheaper() -> None:
    slow = replace(MEASURED, requests_per_second=exactly(0.0001))
    result = even(measured=slow)
    assert (result.requests, result.low, result.high, result.never_share) == (None, None, None, 1.0)


def test_a_machine_that_may_be_full_before_has_an_open_band() -> None:
    volume = even().requests
    assert volume is not None
    speed = volume / (3600 * HOURS_PER_MONTH)
    result = even(
        measured=replace(MEASURED, requests_per_second=Range(speed * 0.8, speed, speed * 1.2, measured=True))
    )
    assert result.low is not None
    assert result.high is None
    assert 0.4 < result.never_share < 0.6
    assert result.moves_most == "requests per second"


def test_a_persons_hours_belong_to_the_month() -> None:
    result = even(replace(EXACT, person_hours_per_month=exactly(4.0)))
    assert result.person_per_month == pytest.approx(240)
    assert result.own_per_month == pytest.approx(even().own_per_month + 240)


def test_a_rented_machine_costs_its_hour_and_nothing_else() -> None:
    result = even(replace(EXACT, hardware_per_hour=exactly(1.5)))
    assert result.own_per_month == pytest.approx(1.5 * HOURS_PER_MONTH)
    assert not any("electricity" in effect.name for effect in result.effects)


def test_a_dearer_price_that_is_announced_lowers_the_low_end() -> None:
    result = even(api=replace(API, high=4e-4))
    assert result.moves_most == "API price relative to today's"
    assert result.low is not None
    assert result.requests is not None
    assert result.low < result.requests


def test_a_free_api_is_never_dearer() -> None:
    free = replace(API, dollars=0.0, low=0.0, high=0.0, input_per_million=0.0, output_per_million=0.0)
    assert even(api=free).requests is None


def test_power_that_no_meter_read_is_a_range() -> None:
    assert power(100.0, True) == exactly(100.0)
    assert power(100.0, False) == Range(50.0, 100.0, 200.0)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0.3", (0.3, 0.3, 0.3)),
        ("0.2-0.4", (0.2, 0.3, 0.4)),
        ("700-1000-1500", (700, 1000, 1500)),
        (".5", (0.5, 0.5, 0.5)),
        ("0", (0, 0, 0)),
    ],
)
def test_prices_are_figures_or_ranges(text: str, span: tuple[float, float, float]) -> None:
    parsed = parse_range(text, "--kwh-price")
    assert (parsed.low, parsed.central, parsed.high) == pytest.approx(span)


@pytest.mark.parametrize("text", ["", "cheap", "0.4-0.2", "-1", "1-2-3-4", "0,3", "nan", "inf"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--kwh-price"):
        parse_range(text, "--kwh-price")
