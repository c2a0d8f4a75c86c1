"""freehold shrink"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.options import with_options
from freehold.cli.output import Json, print_json, print_table
from freehold.workflows.quantize_settings import QuantizeSettings

NAME = "shrink"


@with_options(QuantizeSettings)
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
    settings: QuantizeSettings,
    json: Json = False,
) -> None:
    """Quantize a model to a size, with the least loss on your rows, and measure that loss.

    Example: freehold shrink tickets/smollm2-q8_0 --bits 4.5 --data tickets.jsonl
    """
    from freehold.cli.rows import asker, say_read
    from freehold.core import progress
    from freehold.workflows.quantize_settings import quantize_on_rows

    stored, points = quantize_on_rows(
        model, data, settings, sink=progress.for_stream(), ask=asker(), say_read=say_read
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
