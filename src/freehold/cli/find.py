"""freehold find"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

NAME = "find"
NEEDS_ARGUMENTS = False


def command(
    text: Annotated[
        str, typer.Argument(help="Words to look for in names, cards and tasks; the default is everything.")
    ] = "",
    fits: Annotated[
        bool,
        typer.Option(
            "--fits", help="Show only models that fit this machine, or the memory given with --memory."
        ),
    ] = False,
    memory: Annotated[str, typer.Option(help="Memory of the device, e.g. 4GiB; turns on --fits.")] = "",
    context: Annotated[
        int, typer.Option(help="Number of tokens of context that must fit as well.", min=1)
    ] = 2048,
    licence: Annotated[
        str,
        typer.Option(
            help="Use that the licence must allow: any, commercial or unrestricted; unknown licences pass "
            "only with any."
        ),
    ] = "any",
    max_params: Annotated[str, typer.Option(help="Largest number of parameters, e.g. 3B.")] = "",
    format: Annotated[
        str, typer.Option(help="File format to show: gguf or safetensors; the default is both.")
    ] = "",
    sort: Annotated[
        str, typer.Option(help="Order of the results: measured, downloads, size or modified.")
    ] = "measured",
    like: Annotated[
        str, typer.Option(help="File with your own rows; models measured on similar tasks come first.")
    ] = "",
    hub: Annotated[
        list[str] | None, typer.Option(help="Search this hub as well: its address, or hf; may be repeated.")
    ] = None,
    token_env: Annotated[
        str, typer.Option(help="Name of the environment variable that holds the token for that hub.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Largest number of results to show.", min=1)] = 20,
    json: Json = False,
) -> None:
    """Search models by words, size, licence, and results measured on this machine.

    Other hubs are searched only if you name them with --hub.

    Example: freehold find "bank intents" --fits --licence commercial --max-params 3B --like tickets.jsonl
    """
    from freehold.core import machine, progress, settings
    from freehold.core.errors import UsageError
    from freehold.core.units import parse_bytes
    from freehold.data.examples import read_dataset
    from freehold.models.store import Store
    from freehold.trial import evidence
    from freehold.trust.licence import POLICIES
    from freehold.workflows import find

    settings.go_quiet(online=bool(hub))
    if sort not in find.SORTS or (format and format not in find.FORMATS) or licence not in POLICIES:
        raise UsageError(
            f"--sort {sort}, --format {format or 'gguf'} or --licence {licence} has an unknown value",
            f"--sort is one of {', '.join(find.SORTS)}; --format gguf or safetensors; --licence any, "
            "commercial or unrestricted",
        )
    token = settings.secret(token_env, "token")
    limit_bytes = (
        parse_bytes(memory, "--memory", positive=True)
        if memory
        else machine.look().usable_bytes
        if fits
        else 0
    )
    query = find.SearchOptions(
        text,
        format,
        licence,
        find.parse_parameters(max_params) if max_params else 0,
        limit_bytes,
        context,
        sort,
        evidence.words_of(read_dataset(like).examples) if like else None,
        limit,
    )
    answer = find.find(Store(), query, tuple(hub or ()), token, progress.for_stream())
    if json:
        print_json(
            {
                "asked": answer.searched,
                "task": answer.task,
                "likeness": answer.likeness,
                "found": [asdict(row) for row in answer.hits],
            }
        )
        return
    if not answer.hits:
        print(
            f"nothing found in {', '.join(answer.searched)}; use fewer words or limits, or ask another hub: "
            "--hub hf"
        )
        return
    print_table(
        ("model", "where", "format", "params", "MB", "fits", "licence", "measured", "get it"),
        [
            (
                row.name + (f":{row.file}" if row.file and not row.name.endswith(row.file) else ""),
                row.where,
                row.format,
                _count(row.parameters),
                f"{row.size_bytes / 1e6:,.0f}" if row.size_bytes else "",
                row.verdict,
                row.licence or "none stated",
                str(row.evidence) if row.evidence else "",
                row.get,
            )
            for row in answer.hits
        ],
    )
    print(
        f"asked: {', '.join(answer.searched)}"
        + (
            f"; the most similar task measured here is {answer.task} ({answer.likeness:.2f})"
            if answer.task
            else ""
        )
    )


def _count(parameters: int) -> str:
    return (
        f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M" if parameters else ""
    )
