"""What a month of requests costs here and at an API, and where the lines cross: a band, since most inputs
are known only roughly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from freehold.core.errors import UsageError
from freehold.costs.prices import RequestPrice

HOURS_PER_MONTH = 730.0
HOURS_PER_YEAR = 8760.0
#: Random draws of all inputs together, and the shares of them that lie below and above the band.
DRAWS, TAILS = 20_000, (0.025, 0.975)
#: A power that is estimated from the processor's rated power is taken to be right within this factor.
POWER_FACTOR = 2.0


@dataclass(frozen=True)
class Range:
    """A figure with the least and the most it may be. ``measured``: an interval of a measured mean; else an
    assumption or a setting.
    """

    low: float
    central: float
    high: float
    measured: bool = False


def exactly(value: float) -> Range:
    """A range of one figure, which is taken as known."""
    return Range(value, value, value)


def parse_range(text: str, option: str) -> Range:
    """``0.3`` (taken as exact), ``0.2-0.4`` or ``0.2-0.3-0.4``. Raises UsageError."""
    pieces = re.fullmatch(r"(\d*\.?\d+)(?:-(\d*\.?\d+))?(?:-(\d*\.?\d+))?", text.strip())
    values = [float(piece) for piece in pieces.groups() if piece is not None] if pieces else []
    if not values or values != sorted(values):
        raise UsageError(
            f"{option} {text}: expects one figure or a range", f"write for example {option} 0.2-0.4"
        )
    central = values[1] if len(values) == 3 else sum(values) / len(values)
    return Range(values[0], central, values[-1])


@dataclass(frozen=True)
class CostOptions:
    """What costs rest on besides what is measured. Dollars, hours, years, tokens. The defaults with a range
    are assumptions.

    ``api_reasoning_tokens``: hidden tokens of an answer, where none were measured. ``hardware_per_hour``
    replaces price, years and electricity.
    """

    api_model: str = "openai:gpt-5-mini"
    api_batch: bool = False
    api_cached_share: float = 0.0
    api_reasoning_tokens: float = 0.0
    hardware_per_hour: Range | None = None
    hardware_price: Range = Range(700.0, 1000.0, 1500.0)
    hardware_years: Range = Range(3.0, 4.0, 6.0)
    kwh_price: Range = Range(0.15, 0.30, 0.45)
    person_hours_per_month: Range = Range(0.0, 0.0, 0.0)
    person_hour_price: Range = Range(40.0, 60.0, 90.0)


@dataclass(frozen=True)
class Input:
    """Something the break-even rests on. ``source`` says where the figure is from, and what option changes
    it.
    """

    name: str
    range: Range
    source: str


@dataclass(frozen=True)
class Measured:
    """What was measured of the variant: power in watts, requests a second at ``parallel`` at once, tokens
    of a mean request.
    """

    watts: Range
    watts_source: str
    requests_per_second: Range
    parallel: int
    prompt_tokens: Range
    answer_tokens: Range
    tokens_source: str


@dataclass(frozen=True)
class Effect:
    """An input with the break-even (requests a month) where only this input takes its low or its high end;
    None: never.
    """

    name: str
    low: float
    central: float
    high: float
    source: str
    requests_at_low: float | None
    requests_at_high: float | None


@dataclass(frozen=True)
class BreakEven:
    """Dollars per month and requests per month. The machine is paid whether it is used or not.

    ``requests``: where the API becomes dearer, by the central inputs; None: one machine is full before.
    ``low`` and ``high``: 95% of random draws of all inputs lie between; None: never. ``never_share``: draws
    in which the API stays cheaper. ``capacity``: requests a month that the machine can answer at the measured
    speed, ``parallel`` at once. ``moves_most``: the input whose range moves it most; "" where none does.
    """

    api_per_request: float
    own_per_month: float
    person_per_month: float
    requests: float | None
    low: float | None
    high: float | None
    never_share: float
    capacity: float
    parallel: int
    note: str
    effects: tuple[Effect, ...]
    moves_most: str


Values = dict[str, Any]  # the name of an input to a figure, or to an array of draws


def inputs(options: CostOptions, api: RequestPrice, measured: Measured) -> list[Input]:
    """Everything the break-even rests on, in the order a reader would ask for it."""
    rates = Range(api.low / api.dollars, 1.0, api.high / api.dollars) if api.dollars else exactly(1.0)
    return [
        *_machine(options, measured),
        *_person(options),
        Input("API price relative to today's", rates, "other hours and announced prices, from genai-prices"),
        Input("tokens per prompt", measured.prompt_tokens, measured.tokens_source),
        Input("tokens per answer", measured.answer_tokens, measured.tokens_source),
        Input(
            "requests per second",
            measured.requests_per_second,
            f"measured, {measured.parallel} requests at once",
        ),
    ]


def _machine(options: CostOptions, measured: Measured) -> list[Input]:
    if options.hardware_per_hour is not None:
        return [Input("machine per hour, $", options.hardware_per_hour, "--hardware-per-hour")]
    return [
        Input("price of the machine, $", options.hardware_price, "assumed, or set by --hardware-price"),
        Input("years of use", options.hardware_years, "assumed, or set by --hardware-years"),
        Input("electricity, $/kWh", options.kwh_price, "assumed, or set by --kwh-price"),
        Input("power while answering, W", measured.watts, measured.watts_source),
    ]


def _person(options: CostOptions) -> list[Input]:
    if not options.person_hours_per_month.high:
        return []
    return [
        Input("hours of a person per month", options.person_hours_per_month, "--person-hours-per-month"),
        Input("a person's hour, $", options.person_hour_price, "assumed, or set by --person-hour-price"),
    ]


def _own_per_month(values: Values) -> Any:
    """Dollars a month of machine, electricity and persons."""
    if "machine per hour, $" in values:
        hourly = values["machine per hour, $"]
    else:
        spread = values["price of the machine, $"] / (values["years of use"] * HOURS_PER_YEAR)
        hourly = spread + values["power while answering, W"] / 1000 * values["electricity, $/kWh"]
    return hourly * HOURS_PER_MONTH + _person_per_month(values)


def _person_per_month(values: Values) -> Any:
    return values.get("hours of a person per month", 0.0) * values.get("a person's hour, $", 0.0)


def _api_per_request(values: Values, api: RequestPrice) -> Any:
    return (
        api.at(values["tokens per prompt"], values["tokens per answer"])
        * values["API price relative to today's"]
    )


def _capacity(values: Values) -> Any:
    return values["requests per second"] * 3600 * HOURS_PER_MONTH


def _volume(values: Values, api: RequestPrice) -> float | None:
    """Requests a month above which owning is cheaper; None where one machine is full before."""
    per_request = _api_per_request(values, api)
    volume = _own_per_month(values) / per_request if per_request else math.inf
    return volume if volume <= _capacity(values) else None


def break_even(options: CostOptions, api: RequestPrice, measured: Measured) -> BreakEven:
    """Monthly volume above which owning is cheaper, with its band. Further machines are bought when one is
    full.
    """
    every = inputs(options, api, measured)
    central = {entry.name: entry.range.central for entry in every}
    low, high, never = _band(every, api)
    effects = tuple(_effect(entry, central, api) for entry in every)
    requests = _volume(central, api)
    return BreakEven(
        api_per_request=_api_per_request(central, api),
        own_per_month=_own_per_month(central),
        person_per_month=_person_per_month(central),
        requests=requests,
        low=low,
        high=high,
        never_share=never,
        capacity=_capacity(central),
        parallel=measured.parallel,
        note="owning is cheaper above this volume, on one machine"
        if requests is not None
        else "one machine is full before it becomes cheaper than the API",
        effects=effects,
        moves_most=_moves_most(effects, api, central),
    )


def _band(every: Sequence[Input], api: RequestPrice) -> tuple[float | None, float | None, float]:
    """Low and high end of the volume over random draws of all inputs, and the share of draws without one."""
    import numpy as np

    rng = np.random.default_rng(0)  # the same report for the same figures
    values = {entry.name: _drawn(entry.range, rng) for entry in every}
    with np.errstate(divide="ignore", invalid="ignore"):
        volumes = _own_per_month(values) / _api_per_request(values, api)
    volumes = np.where(volumes <= _capacity(values), volumes, np.inf)
    low, high = (float(np.quantile(volumes, share, method="inverted_cdf")) for share in TAILS)
    return _finite(low), _finite(high), float(np.mean(np.isinf(volumes)))


def _drawn(span: Range, rng: Any) -> Any:
    """Draws of an input: normal with the interval as 95% where it was measured, else triangular."""
    import numpy as np

    if span.low == span.high:
        return np.full(DRAWS, span.central)
    if not span.measured:
        return rng.triangular(span.low, span.central, span.high, DRAWS)
    floor = max(span.low / 4, 1e-9)  # a mean of tokens or a speed is not negative
    return np.maximum(rng.normal(span.central, (span.high - span.low) / 3.92, DRAWS), floor)


def _finite(volume: float) -> float | None:
    return volume if math.isfinite(volume) else None


def _effect(entry: Input, central: Values, api: RequestPrice) -> Effect:
    ends = [_volume(central | {entry.name: end}, api) for end in (entry.range.low, entry.range.high)]
    span = entry.range
    return Effect(entry.name, span.low, span.central, span.high, entry.source, ends[0], ends[1])


def _moves_most(effects: Sequence[Effect], api: RequestPrice, central: Values) -> str:
    """The input whose range moves the volume by the largest factor; of inputs that decide whether there is
    one at all, the first.
    """
    if _volume(central, api) is None and all(
        effect.requests_at_low is None and effect.requests_at_high is None for effect in effects
    ):
        return ""

    def factor(effect: Effect) -> float:
        a, b = effect.requests_at_low, effect.requests_at_high
        if a is None or b is None:
            return 0.0 if a is b else math.inf
        return abs(math.log(a / b)) if a > 0 and b > 0 else math.inf if a != b else 0.0

    most = max(effects, key=factor)
    return most.name if factor(most) > 0 else ""


def power(watts: float, measured: bool) -> Range:
    """The power as a range: as it is where a meter was read, else within :data:`POWER_FACTOR`."""
    if measured:
        return exactly(watts)
    return replace(exactly(watts), low=watts / POWER_FACTOR, high=watts * POWER_FACTOR)
