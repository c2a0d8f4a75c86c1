"""Every model that genai-prices knows: our price of a mean request beside the package's own, and what
asking for a million tokens gives.

Run: python benchmarks/prices.py
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider

from freehold.core.errors import UsageError
from freehold.costs.prices import RequestTokens, request_price

#: Tokens of a prompt and of an answer: a short request, a long one, and one beyond every threshold.
SIZES = ((300, 10), (4_000, 400), (300_000, 1_000))
MILLION = 1_000_000


def own(provider: Provider, model: ModelInfo, tokens: tuple[int, int], at: datetime) -> float:
    """The package's price of one request to this very model, in dollars."""
    usage = Usage(input_tokens=tokens[0], output_tokens=tokens[1])
    return float(model.calc_price(usage, provider, genai_request_timestamp=at).total_price)


def by_the_million(provider: Provider, model: ModelInfo, tokens: tuple[int, int], at: datetime) -> float:
    """The price by rates that were found with a million tokens in one request, as it was reckoned before."""
    into = own(provider, model, (MILLION, 0), at) / MILLION
    out = own(provider, model, (0, MILLION), at) / MILLION
    return tokens[0] * into + tokens[1] * out


def main() -> None:
    """Print how many models agree, and how far off the old way was."""
    at = datetime.now(UTC)
    counts: Counter[str] = Counter()
    off: dict[str, float] = {}
    for provider in providers:
        for model in provider.models:
            counts["models"] += 1
            name = f"{provider.id}:{model.id}"
            try:
                label = request_price(name, RequestTokens(*SIZES[0]), at=at).model
            except UsageError as error:
                counts["not by the token" if "per token" in error.message else "not found by its own id"] += 1
                continue
            if label != name:
                counts["its id is another model's first"] += 1
                continue
            counts["compared"] += 1
            for size in SIZES:
                ours, theirs = (
                    request_price(name, RequestTokens(*size), at=at).dollars,
                    own(provider, model, size, at),
                )
                counts["equal prices"] += abs(ours - theirs) <= 1e-12 * max(theirs, 1)
                counts["prices"] += 1
            right = own(provider, model, SIZES[0], at)
            if right:
                off[name] = by_the_million(provider, model, SIZES[0], at) / right
            counts["with a date of its own"] += (
                "no date" not in request_price(name, RequestTokens(*SIZES[0]), at=at).dated
            )
    for what, count in counts.items():
        print(f"{what:35} {count:,}")
    dearer = {name: factor for name, factor in off.items() if factor > 1.01}
    print(f"a million tokens in one request made {len(dearer)} of {len(off):,} models dearer:")
    for name, factor in sorted(dearer.items(), key=lambda pair: -pair[1])[:5]:
        print(f"  {name}: {factor:.2f} times")


if __name__ == "__main__":
    main()
