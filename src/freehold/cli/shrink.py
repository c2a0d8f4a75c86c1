"""freehold shrink"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table
from freehold.cli.rows import Columns, TrustCode

NAME = "shrink"


def command(
    model: Annotated[
        str, typer.Argument(help="Name of a model in the store: GGUF, safetensors or an adapter.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Rows that show what the model is for; half choose the quantization mix, half measure it."
        ),
    ],
    memory: Annotated[str, typer.Option(help="Memory for the running model, e.g. 4GiB.")] = "",
    bits: Annotated[
        float, typer.Option(help="Bits per weight to reach, e.g. 3.5, instead of --memory.")
    ] = 0.0,
    keep_quality: Annotated[
        float,
        typer.Option(
            help="Share of positions whose most likely token must not change, e.g. 0.99, instead of --memory."
        ),
    ] = 0.0,
    context: Annotated[
        int, typer.Option(help="Number of tokens of context that must fit into --memory as well.")
    ] = 2048,
    time: Annotated[
        str,
        typer.Option(
            help="Time to measure what quantization costs; with more time, smaller groups of layers are "
            "measured."
        ),
    ] = "10m",
    name: Annotated[str, typer.Option("--as", help="Name of the result; the default is MODEL-small.")] = "",
    columns: Columns = "",
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Quantize a model to a size, with the least loss on your rows, and measure that loss.

    Example: freehold shrink tickets/smollm2-q8_0 --bits 4.5 --data tickets.jsonl
    """
    from freehold.cli.rows import options_of, say_read
    from freehold.core import progress, settings
    from freehold.core.errors import UsageError
    from freehold.core.units import parse_bytes, parse_seconds
    from freehold.data.examples import read_dataset
    from freehold.models.store import Store
    from freehold.sources.datasets import local_source
    from freehold.workflows.quantize import QuantizeOptions, shrink

    settings.go_quiet(online=data.startswith("hf:"))
    if sum(map(bool, (memory, bits, keep_quality))) != 1:
        raise UsageError("give exactly one of --memory, --bits and --keep-quality", "for example --bits 4.5")
    if not (0 <= bits <= 16 and 0 <= keep_quality < 1):
        raise UsageError(
            "--bits must be between 0 and 16, and --keep-quality between 0 and 1",
            "for example --keep-quality 0.99",
        )
    store = Store()
    source = store.find(model)
    dataset = read_dataset(local_source(data), options_of(columns))
    say_read({"train": dataset})
    examples = list(dataset.examples)
    options = QuantizeOptions(
        parse_bytes(memory, "--memory", positive=True) if memory else 0,
        bits,
        keep_quality,
        context,
        parse_seconds(time, "--time", positive=True),
        trust_code,
    )
    stored, points = shrink(
        store, source, examples, options, name or f"{source.name}-small", progress.for_stream()
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
        f"unquantized perplexity {points[0].loss.reference_perplexity:.2f}; all over "
        f"{points[0].loss.positions} positions of rows that were set aside"
    )
    print(
        f"stored as {stored.name}: "
        + ", ".join(f"{share:.0%} of the weights in {kind}" for kind, share in points[0].kinds.items())
    )
