"""freehold shrink"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table
from freehold.cli.rows import Columns, TrustCode

NAME = "shrink"


def command(
    model: Annotated[str, typer.Argument(help="A model in the store: GGUF, safetensors or an adapter.")],
    data: Annotated[
        str,
        typer.Option(
            help="Rows that show what the model is for: half decide the quantization mix, half measure it."
        ),
    ],
    memory: Annotated[str, typer.Option(help="Memory for the running model, e.g. 4GiB.")] = "",
    bits: Annotated[float, typer.Option(help="Or bits per weight, e.g. 3.5.")] = 0.0,
    keep_quality: Annotated[
        float, typer.Option(help="Or the share of positions whose likeliest token must stay, e.g. 0.99.")
    ] = 0.0,
    context: Annotated[
        int, typer.Option(help="Tokens of context that --memory must hold beside the weights.")
    ] = 2048,
    time: Annotated[
        str,
        typer.Option(
            help="Time for measuring what errors cost; more time looks at smaller groups of layers."
        ),
    ] = "10m",
    name: Annotated[str, typer.Option("--as", help="Name of the result; MODEL-small if left out.")] = "",
    columns: Columns = "",
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Give each matrix of a model the type that costs your rows least within a size, and measure what that
    size costs.

    Example: freehold shrink tickets/smollm2-q8_0 --bits 4.5 --data tickets.jsonl
    """
    from freehold.cli.rows import options_of, say_read
    from freehold.core import progress, settings
    from freehold.core.errors import UsageError
    from freehold.data.examples import read_dataset
    from freehold.models.store import Store
    from freehold.sources.datasets import local_source
    from freehold.trial.requirements import parse_bytes, parse_seconds
    from freehold.workflows.quantize import QuantizeOptions, shrink

    settings.go_quiet(online=data.startswith("hf:"))
    if sum(map(bool, (memory, bits, keep_quality))) != 1:
        raise UsageError(
            "exactly one of --memory, --bits and --keep-quality decides the size", "for example --bits 4.5"
        )
    if not (0 <= bits <= 16 and 0 <= keep_quality < 1):
        raise UsageError(
            "--bits must be between 0 and 16, and --keep-quality between 0 and 1",
            "for example --keep-quality 0.99",
        )
    store = Store()
    found = store.find(model)
    dataset = read_dataset(local_source(data), options_of(columns))
    say_read({"train": dataset})
    examples = list(dataset.examples)
    options = QuantizeOptions(
        parse_bytes(memory) if memory else 0, bits, keep_quality, context, parse_seconds(time), trust_code
    )
    stored, points = shrink(
        store, found, examples, options, name or f"{found.name}-small", progress.for_stream()
    )
    if json:
        print_json(
            {
                "name": stored.name,
                "revision": stored.revision,
                "digest": stored.digest,
                "points": [point.as_dict() for point in points],
            }
        )
        return
    print_table(
        (
            "file",
            "MB",
            "bits",
            "KL mean",
            "KL p99",
            "same token",
            "perplexity",
            "score, 95% interval",
            "prompt tok/s",
            "answer tok/s",
        ),
        [
            (
                p.name,
                f"{p.size_bytes / 1e6:.1f}",
                f"{p.bits_per_weight:.2f}",
                f"{p.loss.kl_mean:.4f}",
                f"{p.loss.kl_p99:.3f}",
                f"{p.loss.same_top:.3f}",
                f"{p.loss.perplexity:.2f}",
                f"{p.score['value']:.3f} ({p.score['low']:.3f} to {p.score['high']:.3f})",
                f"{p.prompt_tokens_per_second:.0f}",
                f"{p.answer_tokens_per_second:.0f}",
            )
            for p in points
        ],
    )
    print(
        f"unquantized perplexity {points[0].loss.reference_perplexity:.2f}; all measured over "
        f"{points[0].loss.positions} positions of held-out rows"
    )
    print(
        f"stored as {stored.name}: "
        + ", ".join(f"{share:.0%} of the weights in {kind}" for kind, share in points[0].kinds.items())
    )
