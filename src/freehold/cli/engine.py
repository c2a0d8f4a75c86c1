"""freehold engine: show, build"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json, say

if TYPE_CHECKING:
    from freehold.core.engine_build import EngineBuild

app = typer.Typer(
    no_args_is_help=True,
    help="The text engine, llama.cpp: which build is used, and one for this machine.\n\n"
    "Example: freehold engine build",
)


@app.command("show")
def show(json: Json = False) -> None:
    """Show which build of llama.cpp is used, its instruction sets, and the others that are installed.

    Example: freehold engine show
    """
    from freehold.core import engine_build
    from freehold.inference.llama import library

    loaded = library()
    others = [build for build in engine_build.available() if build != loaded.build]
    if json:
        print_json(
            {
                "used": _fields(loaded.build) | {"instructions": loaded.instructions.split()},
                "others": [_fields(build) for build in others],
            }
        )
        return
    print(f"used      {loaded.build}")
    print(f"          {loaded.instructions}")
    for build in others:
        print(f"also here {build}; to use it: {engine_build.VARIABLE}={build.kind}")


def _fields(build: EngineBuild) -> dict[str, object]:
    return {"kind": build.kind, "package": build.package, "version": build.version, "cards": build.cards}


@app.command("build")
def build(
    gpu: Annotated[
        str,
        typer.Option(
            help="Kind of card: cuda, vulkan or metal; auto: the one that is here with its tools; none."
        ),
    ] = "auto",
    wheels: Annotated[
        Path | None,
        typer.Option(help="Folder that also gets the built wheel, for machines without a compiler."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Build even if it was built before.")] = False,
    json: Json = False,
) -> None:
    """Build llama.cpp for this machine's processor and card; it is used from the next start on.

    Takes some minutes and needs a C++ compiler. Downloads the source from your package registry.

    Example: freehold engine build --gpu cuda
    """
    from freehold.core import progress, settings
    from freehold.workflows import engine

    settings.go_quiet()
    built = engine.build(gpu, again=again, wheels=wheels, sink=progress.for_stream())
    if json:
        print_json(_fields(built))
    else:
        say(f"the text engine from the next start on: {built}")
