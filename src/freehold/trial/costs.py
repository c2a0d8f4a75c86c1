"""What a variant costs beside an API: what was measured of it becomes the inputs of the break-even."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from freehold.core.errors import UsageError
from freehold.core.json_types import JsonObject
from freehold.costs import money, prices
from freehold.evaluation.measurement import Answer, Measurement
from freehold.trial.results import AtOnce, TimingResult
from freehold.trial.variant import Variant


def from_texts(ranges: Mapping[str, str], options: money.CostOptions) -> money.CostOptions:
    """The options with ranges as they were typed, those left empty as they are; checked before hours are
    spent, not after.

    Raises UsageError for a range that cannot be read, and for an API without a price as it is to be paid.
    """
    given = {
        name: money.parse_range(text, f"--{name.replace('_', '-')}") for name, text in ranges.items() if text
    }
    options = replace(options, **given)
    if not options.hardware_years.low > 0:
        raise UsageError("--hardware-years must be more than 0", "leave it out, or write for example 3-5")
    prices.request_price(options.api_model, prices.RequestTokens(100, 10), batch=options.api_batch)
    return options


def money_of(
    options: money.CostOptions,
    variant: Variant,
    answers: Sequence[Answer],
    reasoning_tokens: float | None = None,
) -> JsonObject:
    """The report's ``money`` of a timed variant. ``reasoning_tokens``: of a rival's answer, where one was
    asked and said how many.

    Raises UsageError for an API without a price.
    """
    assert variant.running is not None
    hidden = options.api_reasoning_tokens if reasoning_tokens is None else reasoning_tokens
    measured = _measured(variant.running, answers, variant.title)
    tokens = prices.RequestTokens(
        measured.prompt_tokens.central, measured.answer_tokens.central, hidden, options.api_cached_share
    )
    api = prices.request_price(options.api_model, tokens, batch=options.api_batch)
    even = money.break_even(options, api, measured)
    ways = prices.other_ways(options.api_model, tokens)
    source = "measured with the rival" if reasoning_tokens is not None else _set(options)
    return {
        "api": asdict(api),
        "reasoning": source,
        "other_ways": ways,
        "break_even": asdict(even),
    }


def _set(options: money.CostOptions) -> str:
    if options.api_reasoning_tokens:
        return "set by --api-reasoning-tokens"
    return "none were measured, so none are counted; to count them, pass --api-reasoning-tokens"


def _measured(running: TimingResult, answers: Sequence[Answer], title: str) -> money.Measured:
    assert running.energy is not None
    assert running.at_once is not None
    metered = running.energy.measured
    how = (
        "measured while it was timed"
        if metered
        else f"estimated while it was timed, assumed to be right within a factor of {money.POWER_FACTOR:g}"
    )
    speed = running.at_once.requests_per_second
    low, high = (speed.value if end is None else end for end in (speed.low, speed.high))
    return money.Measured(
        watts=money.power(running.watts, metered),
        watts_source=how,
        requests_per_second=money.Range(low, speed.value, high, measured=True),
        parallel=running.at_once.parallel,
        prompt_tokens=mean_range([answer.prompt_tokens for answer in answers]),
        answer_tokens=mean_range([answer.answer_tokens for answer in answers]),
        tokens_source=f"mean of {len(answers):,} rows, in the tokens of {title}",
    )


def mean_range(values: Sequence[float]) -> money.Range:
    """The mean with its 95% interval by Student's t; one figure where there is one row or all are equal."""
    from scipy.stats import t

    mean = plain.fmean(values)
    if len(values) < 2:
        return money.Range(mean, mean, mean, measured=True)
    half = float(t.ppf(0.975, len(values) - 1)) * plain.stdev(values) / math.sqrt(len(values))
    return money.Range(max(mean - half, 0.0), mean, mean + half, measured=True)


def at_once(waits: Sequence[float], seconds: float, parallel: int) -> AtOnce:
    """Requests a second and waiting times of the same requests, ``parallel`` at once: a capacity and the wait
    that belongs to it.

    ``waits``: seconds of each from its admission to its end; ``seconds``: of all together. The interval of
    the speed follows from that of the mean wait, as the requests under way are as many as come a second times
    their mean wait (Little 1961).
    """
    import numpy as np

    span, speed = mean_range(waits), len(waits) / seconds
    how = f"{parallel} at once; interval from the spread of the waits of these requests"
    low, high = (speed * span.central / end for end in (span.high, max(span.low, span.central / 4)))
    return AtOnce(
        parallel,
        Measurement(speed, low, high, len(waits), how, unit="requests/s"),
        p50_ms=float(np.quantile(waits, 0.5)) * 1000,
        p95_ms=float(np.quantile(waits, 0.95)) * 1000,
    )
