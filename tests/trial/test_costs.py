"""What was measured of a variant becomes the inputs of the break-even, and the report says what each rests
on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freehold.core.errors import UsageError
from freehold.costs.energy import Energy
from freehold.costs.money import CostOptions, Range
from freehold.evaluation.measurement import Answer
from freehold.trial import costs, report
from freehold.trial.report_record import Report
from freehold.trial.results import TimingResult
from tests.trial.rows import made_variant, wait
from tests.trial.test_report import made

RUNNING = TimingResult(
    energy=Energy(0.001, 0.0004, method="processor estimated", grid="Germany, mean of 2023"),
    watts=30.0,
    requests=64,
    requests_per_second=8.0,
    requests_per_second_alone=4.0,
    kwh_per_1000_requests=0.016,
    at_once=costs.at_once([0.9, 1.0, 1.1, 1.0], 0.5, 8),
    p50_ms=wait(240.0),
    p95_ms=wait(250.0, n=32),
    prompt_tokens_per_second=500.0,
    answer_tokens_per_second=60.0,
    peak_memory_bytes=2**29,
    predicted_memory_bytes=2**29,
)
ANSWERS = [Answer(str(n), "a", 1.0, "stop", 100 + n, 3) for n in range(21)]


def of(options: CostOptions | None = None, reasoning: float | None = None) -> dict[str, Any]:
    variant = made_variant("v", title="m, tuned", running=RUNNING)
    return costs.money_of(options or CostOptions(), variant, ANSWERS, reasoning)


def inputs(money: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {effect["name"]: effect for effect in money["break_even"]["effects"]}


def test_tokens_power_and_speed_are_those_that_were_measured() -> None:
    effects = inputs(of())
    prompt = effects["tokens per prompt"]
    assert prompt["low"] < prompt["central"] == 110 < prompt["high"]
    assert "21 rows" in prompt["source"]
    assert effects["tokens per answer"]["low"] == 3 == effects["tokens per answer"]["high"]
    watts = effects["power while answering, W"]
    assert (watts["low"], watts["central"], watts["high"]) == (15, 30, 60)
    assert "estimated" in watts["source"]


def test_capacity_and_waits_are_those_of_the_same_number_at_once() -> None:
    even = of()["break_even"]
    assert even["parallel"] == 8
    assert even["capacity"] == pytest.approx(8.0 * 3600 * 730)
    at_once = RUNNING.at_once
    assert at_once is not None
    speed = at_once.requests_per_second
    assert speed.low is not None
    assert speed.high is not None
    assert speed.low < speed.value == 8.0 < speed.high
    assert at_once.p95_ms == pytest.approx(1085)


def test_hidden_tokens_are_those_of_the_rival_where_it_was_asked() -> None:
    unknown, known, asked = of(), of(CostOptions(api_reasoning_tokens=200)), of(reasoning=400.0)
    assert "none were measured" in unknown["reasoning"]
    assert known["api"]["tokens"]["reasoning"] == 200
    assert asked["reasoning"] == "measured with the rival"
    costs_of_each = [money["api"]["dollars"] for money in (unknown, known, asked)]
    assert costs_of_each == sorted(costs_of_each)
    assert costs_of_each[0] < costs_of_each[1] < costs_of_each[2]


def test_options_are_checked_before_hours_are_spent() -> None:
    options = costs.from_texts({"kwh_price": "0.1-0.3", "hardware_price": ""}, CostOptions())
    assert options.kwh_price == Range(0.1, 0.2, 0.3)
    assert options.hardware_price == CostOptions().hardware_price
    with pytest.raises(UsageError, match="--hardware-years"):
        costs.from_texts({"hardware_years": "0-2"}, CostOptions())
    with pytest.raises(UsageError, match="knows no model"):
        costs.from_texts({}, CostOptions(api_model="openai:gpt-nothing"))
    with pytest.raises(UsageError, match="no batch price"):
        costs.from_texts({}, CostOptions(api_model="deepseek:deepseek-chat", api_batch=True))


def test_the_report_says_what_the_break_even_rests_on() -> None:
    value = made()
    winner = next(v for v in value["variants"] if v["id"] == value["verdict"]["variant"])
    winner["running"], winner["money"] = RUNNING.as_json(), of()
    page = report.html(value)
    for text in (
        "95 of 100 random draws",
        "years of use",
        "assumed, or set by --kwh-price",
        "no person's time is counted",
        "At 8 requests at once",
        "1,085 ms",
        "One at a time it answers 4 a second",
        "--api-batch",
        "What moves it most",
        "Germany, mean of 2023",
        "0.0064 kg",
        "processor estimated",
    ):
        assert text in page, text
    assert "1,000</td>" in page  # no 1e+03
    assert "requests a month (" in report.ten_lines(Report.from_json(value), Path("x"))
