"""What one request costs at an API, by genai-prices' own calculation for a request of that size."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from freehold.core.errors import UsageError

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, PriceCalculation

#: How genai-prices names the price of requests that may be answered within a day.
_BATCH = {"processing": "batch"}
#: Price changes that the package knows of already are looked for so far ahead.
AHEAD = timedelta(days=365)
#: A sentence that dates another price than the one for a single request asked now.
_OTHER_PRICE = re.compile(r"\b(batch|flex|priority|fast|cache|cached|caching)\b", re.I)
_CHECKED = re.compile(r"\b(?:verified|checked|confirmed|as of)(?: again)?(?: on)? (20\d\d-\d\d-\d\d)", re.I)


@dataclass(frozen=True)
class RequestTokens:
    """A mean request. ``reasoning``: hidden tokens that the API writes and charges before an answer.
    ``cached_share``: share of the prompt that the API has cached.
    """

    prompt: float
    answer: float
    reasoning: float = 0.0
    cached_share: float = 0.0


@dataclass(frozen=True)
class RequestPrice:
    """US dollars for one request; the rates per million tokens are those that apply at this size.

    ``low`` and ``high``: the least and most that the package gives for this request at other hours and for
    the year ahead. ``dated``: when the price was checked or came into force, in words. ``output_per_million``
    holds for reasoning tokens too.
    """

    model: str
    dollars: float
    low: float
    high: float
    input_per_million: float
    output_per_million: float
    per_request: float
    tokens: RequestTokens
    batch: bool
    dated: str
    source: str

    def at(self, prompt_tokens: float, answer_tokens: float) -> float:
        """Dollars for a request of nearly this size, at the same rates and with the same reasoning tokens."""
        written = answer_tokens + self.tokens.reasoning
        return (
            self.per_request
            + (prompt_tokens * self.input_per_million + written * self.output_per_million) / 1e6
        )


def request_price(
    name: str, tokens: RequestTokens, *, batch: bool = False, at: datetime | None = None
) -> RequestPrice:
    """The price of one request to ``provider:model``. Raises UsageError for a model without a known price,
    or without a batch price.
    """
    at = at or datetime.now(UTC)
    price = _calculated(name, tokens, batch, at)
    label = f"{price.provider.id}:{price.model.id}"
    if batch and not _has_batch(price.model, at):
        raise UsageError(
            f"genai-prices has no batch price for {label}", "leave --api-batch out, or name another model"
        )
    around = [float(_calculated(name, tokens, batch, then).total_price) for then in _moments(price.model, at)]
    written = tokens.answer + tokens.reasoning
    dollars, read, wrote = map(float, (price.total_price, price.input_price, price.output_price))
    fee = float(price.total_price - price.input_price - price.output_price)
    return RequestPrice(
        model=label,
        dollars=dollars,
        low=min([dollars, *around]),
        high=max([dollars, *around]),
        input_per_million=read / tokens.prompt * 1e6 if tokens.prompt else 0.0,
        output_per_million=wrote / written * 1e6 if written else 0.0,
        per_request=fee,
        tokens=tokens,
        batch=batch,
        dated=_dated(price, batch, at),
        source=f"genai-prices {importlib.metadata.version('genai-prices')}, data shipped with it",
    )


def other_ways(name: str, tokens: RequestTokens, *, at: datetime | None = None) -> dict[str, float]:
    """Dollars for the same request bought in other ways that this model offers: ``batch``, ``cached`` (the
    whole prompt in the cache).
    """
    at = at or datetime.now(UTC)
    model = _calculated(name, tokens, False, at).model
    ways: dict[str, float] = {}
    if _has_batch(model, at):
        ways["batch"] = float(_calculated(name, tokens, True, at).total_price)
    if model.get_prices(at).cache_read_mtok is not None:
        cached = RequestTokens(tokens.prompt, tokens.answer, tokens.reasoning, 1.0)
        ways["cached"] = float(_calculated(name, cached, False, at).total_price)
    return ways


def _calculated(name: str, tokens: RequestTokens, batch: bool, at: datetime) -> PriceCalculation:
    """The package's own calculation. Raises UsageError."""
    from genai_prices import Usage, calc_price

    usage = Usage(
        input_tokens=tokens.prompt,
        output_tokens=tokens.answer + tokens.reasoning,
        cache_read_tokens=tokens.prompt * tokens.cached_share,
        output_reasoning_tokens=tokens.reasoning,
    )
    provider, _, model = name.partition(":")
    # a model's own name may hold a colon too, as openrouter:deepseek/deepseek-r1:free and ft:gpt-4o do
    for provider_id, model_ref in ((provider, model), (None, name)):
        try:
            price = calc_price(
                usage,
                model_ref=model_ref,
                provider_id=provider_id,
                genai_request_timestamp=at,
                price_context=_BATCH if batch else None,
            )
        except LookupError:
            continue
        if price.model_price.input_mtok is None and price.model_price.output_mtok is None:
            raise UsageError(f"genai-prices has no price per token for {name!r}", "name another model")
        return price
    raise UsageError(
        f"genai-prices knows no model {name!r}", "write provider:model, e.g. --api-model openai:gpt-5-mini"
    )


def _has_batch(model: ModelInfo, at: datetime) -> bool:
    return any(
        variant.when == _BATCH and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )


def _moments(model: ModelInfo, at: datetime) -> list[datetime]:
    """Every hour of today and of each day within a year on which a new price begins; none where the price
    has no conditions.
    """
    from genai_prices.types import StartDateConstraint

    if not isinstance(model.prices, list):
        return []
    starts = [
        datetime.combine(price.constraint.start_date, datetime.min.time(), UTC)
        for price in model.prices
        if isinstance(price.constraint, StartDateConstraint)
    ]
    days = [at.replace(hour=0, minute=30), *(day for day in starts if at < day <= at + AHEAD)]
    return [day.replace(minute=30) + timedelta(hours=hour) for day in days for hour in range(24)]


def _dated(price: PriceCalculation, batch: bool, at: datetime) -> str:
    """When this price was checked, or since when it holds, as far as the package says; else the package's
    newest check.
    """
    today = at.date().isoformat()
    for comments in (price.model.price_comments, price.provider.price_comments):
        if checked := _checks([comments or ""], batch, today):
            return f"checked {max(checked)}"
    if since := _in_force_since(price, at):
        return f"in force since {since}"
    return (
        f"the package gives no date for this price; its newest check of any model is {_newest_check(today)}"
    )


def _checks(comments: Iterable[str], batch: bool, today: str) -> list[str]:
    """Days on which a comment says that this kind of price was checked; a comment may date other kinds as
    well.
    """
    sentences = [sentence for text in comments for sentence in re.split(r"(?<=[.;]) ", text)]
    fitting = [
        s for s in sentences if ("batch" in s.lower() if batch else not _OTHER_PRICE.search(s.lower()))
    ]
    return [day for sentence in fitting for day in _CHECKED.findall(sentence) if day <= today]


def _in_force_since(price: PriceCalculation, at: datetime) -> str:
    from genai_prices.types import StartDateConstraint

    conditions = price.model.prices if isinstance(price.model.prices, list) else []
    days = [
        condition.constraint.start_date
        for condition in conditions
        if isinstance(condition.constraint, StartDateConstraint) and condition.constraint.active(at)
    ]
    return max(days).isoformat() if days else ""


@functools.lru_cache(maxsize=4)
def _newest_check(today: str) -> str:
    from genai_prices.data import providers

    comments = [
        text
        for provider in providers
        for text in (provider.price_comments, *(model.price_comments for model in provider.models))
        if text
    ]
    days = [day for text in comments for day in _CHECKED.findall(text) if day <= today]
    return max(days, default="not given")
