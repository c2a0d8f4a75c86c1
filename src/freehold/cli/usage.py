"""freehold usage"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from freehold.cli.output import Json, print_json, print_table

NAME = "usage"
NEEDS_ARGUMENTS = False


def command(
    days: Annotated[float, typer.Option(help="Of the last so many days; 0: of all time.", min=0)] = 0.0,
    api_model: Annotated[
        str, typer.Option(help="API whose price the tokens are reckoned at.")
    ] = "openai:gpt-5-mini",
    json: Json = False,
) -> None:
    """Show what each key has used of each model of 'freehold serve', and what an API would have charged for it.

    Example: freehold usage --days 30
    """
    from freehold.costs.prices import RequestTokens, request_price
    from freehold.costs.usage import UsageLog
    from freehold.models.store import Store

    price = request_price(api_model, RequestTokens(1000, 100))
    rows: list[dict[str, Any]] = []
    for row in UsageLog(Store()).sums(days):
        # prices go by the size of a request, so that of the mean one counts
        mean = RequestTokens(row.prompt_tokens / row.requests, row.answer_tokens / row.requests)
        rows.append(asdict(row) | {"api_dollars": request_price(api_model, mean).dollars * row.requests})
    if json:
        print_json({"api": asdict(price), "usage": rows})
        return
    if not rows:
        print("nothing was asked yet; start a server: freehold serve NAME")
        return
    print_table(
        ("key", "model", "requests", "prompt tokens", "of them reused", "answer tokens", "engine time", "energy", "at the API"),
        [(row["key"] or "(none)", row["model"], f"{row['requests']:,}", f"{row['prompt_tokens']:,}", f"{row['reused']:,}", f"{row['answer_tokens']:,}",
          f"{row['engine_s']:,.0f} s", "not counted" if row["joules"] is None else f"{row['joules'] / 3600:,.3f} Wh", f"${row['api_dollars']:.4f}")
         for row in rows],
    )  # fmt: skip
    print(
        f"API: {price.model}, ${price.input_per_million:g} and ${price.output_per_million:g} per million tokens of "
        f"prompts and answers for a request of 1,000 and 100 tokens ({price.dated}; {price.source})"
    )
