"""Prices of one request at an API: the tier of that request, hidden tokens, other ways to buy it, and the
price's own date.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from genai_prices import Usage, calc_price

from freehold.core.errors import UsageError
from freehold.costs.prices import RequestTokens, other_ways, request_price

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SMALL = RequestTokens(300, 10)


@pytest.mark.parametrize("prompt", [300, 199_000, 250_000])
def test_a_request_costs_what_its_own_size_costs(prompt: int) -> None:
    """gemini-2.5-pro is dearer for prompts of more than 200,000 tokens: a short one must not pay for that."""
    price = request_price("google:gemini-2.5-pro", RequestTokens(prompt, 10), at=NOW)
    asked = calc_price(
        Usage(input_tokens=prompt, output_tokens=10), model_ref="gemini-2.5-pro", provider_id="google"
    )
    assert price.dollars == pytest.approx(float(asked.total_price))
    assert price.input_per_million == pytest.approx(2.5 if prompt > 200_000 else 1.25)
    assert price.at(prompt, 10) == pytest.approx(price.dollars)


def test_hidden_reasoning_tokens_are_charged_like_an_answer() -> None:
    plain = request_price("openai:gpt-5-mini", SMALL, at=NOW)
    thinking = request_price("openai:gpt-5-mini", RequestTokens(300, 10, reasoning=500), at=NOW)
    assert thinking.dollars - plain.dollars == pytest.approx(500 * plain.output_per_million / 1e6)
    assert thinking.at(300, 20) - thinking.dollars == pytest.approx(10 * plain.output_per_million / 1e6)


def test_batch_and_cached_prompts_are_cheaper_where_the_package_has_such_prices() -> None:
    plain = request_price("openai:gpt-5-mini", SMALL, at=NOW)
    batch = request_price("openai:gpt-5-mini", SMALL, batch=True, at=NOW)
    cached = request_price("openai:gpt-5-mini", RequestTokens(300, 10, cached_share=1.0), at=NOW)
    assert batch.dollars == pytest.approx(plain.dollars / 2)
    assert cached.dollars < plain.dollars
    ways = other_ways("openai:gpt-5-mini", SMALL, at=NOW)
    assert ways == {"batch": pytest.approx(batch.dollars), "cached": pytest.approx(cached.dollars)}
    assert other_ways("openai:gpt-4", SMALL, at=NOW).keys() <= {"batch"}
    with pytest.raises(UsageError, match="no batch price"):
        request_price("deepseek:deepseek-chat", SMALL, batch=True, at=NOW)


def test_a_price_carries_its_own_date() -> None:
    assert request_price("openai:gpt-5-mini", SMALL, batch=True, at=NOW).dated == "checked 2026-10-14"
    # the note on the model dates its batch price only
    assert "no date for this price" in request_price("openai:gpt-5-mini", SMALL, at=NOW).dated
    assert request_price("avian:z-ai/glm-5.2", SMALL, at=NOW).dated == "checked 2026-10-09"
    # a day that has not come is the end of an offer, no check
    assert "2026-11-30" not in request_price("google:gemini-4-argon", SMALL, at=NOW).dated


def test_prices_at_other_hours_and_announced_ones_are_the_ends_of_its_range() -> None:
    by_hour = request_price("deepseek:deepseek-chat", SMALL, at=NOW)
    assert by_hour.low < by_hour.high
    assert by_hour.low <= by_hour.dollars <= by_hour.high
    offer = request_price("google:gemini-4-argon", SMALL, at=NOW)  # twice as dear five days later
    assert offer.high == pytest.approx(2 * offer.dollars)
    steady = request_price("openai:gpt-5-mini", SMALL, at=NOW)
    assert steady.low == steady.dollars == steady.high


@pytest.mark.parametrize("name", ["openai:no-such-model", "nobody:gpt-5-mini", "gibberish", ""])
def test_an_unknown_model_is_said(name: str) -> None:
    with pytest.raises(UsageError, match="knows no model"):
        request_price(name, SMALL)


def test_a_model_that_is_not_paid_by_the_token_is_said() -> None:
    with pytest.raises(UsageError, match="no price per token"):
        request_price("groq:whisper-large-v3", SMALL)


def test_a_colon_in_a_models_own_name_is_part_of_it() -> None:
    assert request_price("openai:ft:gpt-4o-2024-08-06:org", SMALL).model == "openai:ft:gpt-4o"
