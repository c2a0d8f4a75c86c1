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
        str, typer.Argument(help="Words to look for in names, cards and tasks; everything if left out")
    ] = "",
    fits: Annotated[bool, typer.Option("--fits", help="Only what fits this machine, or --memory.")] = False,
    memory: Annotated[str, typer.Option(help="Memory of the device, e.g. 4GiB; means --fits.")] = "",
    context: Annotated[int, typer.Option(help="Tokens of context it must have room for.", min=1)] = 2048,
    licence: Annotated[
        str,
        typer.Option(help="any, commercial or unrestricted; what states no known licence is then left out."),
    ] = "any",
    max_params: Annotated[str, typer.Option(help="At most so many weights, e.g. 3B.")] = "",
    format: Annotated[str, typer.Option(help="gguf or safetensors.")] = "",
    sort: Annotated[
        str, typer.Option(help="measured (on the task most like yours first), downloads, size or modified.")
    ] = "measured",
    like: Annotated[
        str, typer.Option(help="Your own rows: what was measured on tasks like them comes first.")
    ] = "",
    hub: Annotated[
        list[str] | None, typer.Option(help="Ask another hub too: its address, or hf; may be repeated.")
    ] = None,
    token_env: Annotated[
        str, typer.Option(help="Environment variable that holds the token for that hub.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Rows to show.", min=1)] = 20,
    json: Json = False,
) -> None:
    """Find models by words, by what fits, by licence, and by what was measured here on tasks like yours. No
    other hub is asked unless named.

    Example: freehold find "bank intents" --fits --licence commercial --max-params 3B --like tickets.jsonl
    """
    from freehold.core import machine, progress, settings
    from freehold.core.errors import UsageError
    from freehold.data.examples import read_dataset
    from freehold.models.store import Store
    from freehold.trial import evidence
    from freehold.trial.requirements import parse_bytes
    from freehold.trust.licence import POLICIES
    from freehold.workflows import find

    settings.go_quiet(online=bool(hub))
    if sort not in find.SORTS or (format and format not in find.FORMATS) or licence not in POLICIES:
        raise UsageError(
            f"one of --sort {sort}, --format {format or 'gguf'}, --licence {licence} is not known",
            f"--sort is one of {', '.join(find.SORTS)}; --format gguf or safetensors; --licence any, commercial or unrestricted",
        )
    token = settings.secret(token_env, "token")
    limit_bytes = parse_bytes(memory) if memory else machine.look().usable_bytes if fits else 0
    options = find.SearchOptions(
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
    answer = find.find(Store(), options, tuple(hub or ()), token, progress.for_stream())
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
            f"nothing found in {', '.join(answer.searched)}; use fewer words or limits, or ask another hub: --hub hf"
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
        + (f"; the likest task measured here is {answer.task} ({answer.likeness:.2f})" if answer.task else "")
    )


def _count(parameters: int) -> str:
    return (
        f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M" if parameters else ""
    )
