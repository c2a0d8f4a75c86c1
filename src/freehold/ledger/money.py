"""What a month of requests costs here and at an API, and where the lines cross."""

from __future__ import annotations

import functools
import re
from dataclasses import asdict, dataclass
from typing import Any

from freehold.errors import UsageError

HOURS_PER_MONTH = 730.0


@dataclass(frozen=True)
class ApiPrice:
    """US dollars per million tokens, and where the figure comes from."""

    model: str
    input_per_million: float
    output_per_million: float
    source: str

    def per_request(self, prompt_tokens: float, answer_tokens: float) -> float:
        """Dollars for one request."""
        return (prompt_tokens * self.input_per_million + answer_tokens * self.output_per_million) / 1e6


@dataclass(frozen=True)
class Hardware:
    """What the own machine costs while it runs: dollars per hour, or a price spread over years, plus electricity."""

    per_hour: float
    note: str


@functools.lru_cache(maxsize=8)
def api_price(name: str) -> ApiPrice:
    """List price of ``provider:model`` from genai-prices' shipped data. Raises UsageError for an unknown model."""
    import importlib.metadata
    from pathlib import Path

    import genai_prices
    from genai_prices import Usage, calc_price

    provider, _, model = name.rpartition(":")
    million = 1_000_000
    try:
        into = calc_price(
            Usage(input_tokens=million, output_tokens=0), model_ref=model, provider_id=provider or None
        )
        out = calc_price(
            Usage(input_tokens=0, output_tokens=million), model_ref=model, provider_id=provider or None
        )
    except LookupError as error:
        raise UsageError(
            f"genai-prices knows no model {name!r}",
            "write provider:model, e.g. --api-model openai:gpt-5-mini",
        ) from error
    data = (Path(genai_prices.__file__).parent / "data.py").read_text()
    newest = max(re.findall(r"verified on (20\d\d-\d\d-\d\d)", data), default="no date given")
    version = importlib.metadata.version("genai-prices")
    source = f"genai-prices {version}, data shipped with the package (latest check it mentions: {newest})"
    return ApiPrice(
        f"{into.provider.id}:{into.model.id}", float(into.total_price), float(out.total_price), source
    )


def hardware(hourly: float | None, price: float, years: float, kwh_price: float, watts: float) -> Hardware:
    """The hourly cost of the machine: as given, or price over lifetime plus electricity at the metered power."""
    if hourly is not None:
        return Hardware(hourly, f"{hourly:.4g} $/h as given (--hardware-per-hour)")
    per_hour = price / (years * 365 * 24) + watts / 1000 * kwh_price
    return Hardware(
        per_hour,
        f"{price:.0f} $ over {years:g} years plus {watts:.0f} W at {kwh_price:g} $/kWh (settings --hardware-price, --hardware-years, --kwh-price)",
    )


@dataclass(frozen=True)
class BreakEven:
    """Costs per month. The machine is paid whether it is used or not; ``requests`` is where the API becomes dearer.

    ``capacity``: requests a month the machine can answer at the measured speed. ``requests`` None: never within it.
    """

    api_per_request: float
    own_per_month: float
    requests: float | None
    capacity: float
    note: str

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


def break_even(
    api: ApiPrice, own: Hardware, prompt_tokens: float, answer_tokens: float, requests_per_second: float
) -> BreakEven:
    """Monthly volume above which owning is cheaper. Further machines are bought when one is full."""
    per_request = api.per_request(prompt_tokens, answer_tokens)
    per_month = own.per_hour * HOURS_PER_MONTH
    capacity = requests_per_second * 3600 * HOURS_PER_MONTH
    volume = per_month / per_request if per_request else float("inf")
    if volume <= capacity:
        return BreakEven(
            per_request, per_month, volume, capacity, "owning is cheaper above this volume, on one machine"
        )
    return BreakEven(
        per_request, per_month, None, capacity, "one machine is full before it becomes cheaper than the API"
    )
