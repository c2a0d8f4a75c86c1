"""freehold usage"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from freehold.costs.usage import Sum

NAME = "usage"
NEEDS_ARGUMENTS = False


@dataclass(frozen=True)
class PricedUsage:
    """What a key has used of a model, and what an API would have charged for it."""

    usage: Sum
    api_dollars: float

    def as_row(self) -> tuple[str, ...]:
        """A row of the table."""
        usage = self.usage
        energy = "not counted" if usage.joules is None else f"{usage.joules / 3600:,.3f} Wh"
        return (
            usage.key or "(none)",
            usage.model,
            f"{usage.requests:,}",
            f"{usage.prompt_tokens:,}",
            f"{usage.reused:,}",
            f"{usage.answer_tokens:,}",
            f"{usage.engine_s:,.0f} s",
            energy,
            f"${self.api_dollars:.4f}",
        )


_COLUMNS = (
    "key",
    "model",
    "requests",
    "prompt tokens",
    "of them reused",
    "answer tokens",
    "engine time",
    "energy",
    "API price",
)


def command(
    days: Annotated[
        float, typer.Option(help="Show the usage of the last DAYS days; 0: of all time.", min=0)
    ] = 0.0,
    api_model: Annotated[
        str, typer.Option(help="API model whose price is shown for comparison.")
    ] = "openai:gpt-5-mini",
    json: Json = False,
) -> None:
    """Show how much each key has used each model of 'freehold serve', and what an API would charge for it.

    Example: freehold usage --days 30
    """
    from freehold.costs.prices import RequestTokens, request_price
    from freehold.costs.usage import UsageLog
    from freehold.models.store import Store

    price = request_price(api_model, RequestTokens(1000, 100))
    rows = [_priced(usage, api_model) for usage in UsageLog(Store()).sums(days)]
    if json:
        usage = [asdict(row.usage) | {"api_dollars": row.api_dollars} for row in rows]
        print_json({"api": asdict(price), "usage": usage})
        return
    if not rows:
        print("no requests yet; start a server: freehold serve NAME")
        return
    print_table(_COLUMNS, [row.as_row() for row in rows])
    print(
        f"API: {price.model}, ${price.input_per_million:g} and ${price.output_per_million:g} "
        "per million tokens of prompts and answers, for a request of 1,000 and 100 tokens "
        f"({price.dated}; {price.source})"
    )


def _priced(usage: Sum, api_model: str) -> PricedUsage:
    """What an API would charge for all requests, by the price of a request of mean size."""
    from freehold.costs.prices import RequestTokens, request_price

    mean = RequestTokens(usage.prompt_tokens / usage.requests, usage.answer_tokens / usage.requests)
    return PricedUsage(usage, request_price(api_model, mean).dollars * usage.requests)
