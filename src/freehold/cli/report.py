"""freehold report"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "report"


def command(
    id: Annotated[str, typer.Argument(help="Id of the trial, or the beginning of it.")],
    open: Annotated[bool, typer.Option("--open", help="Also open the report in the browser.")] = False,
    json: Json = False,
) -> None:
    """Show the verdict of a trial again, or open its report.

    Example: freehold report 3f2a --open
    """
    from freehold.core import settings
    from freehold.core.errors import NotFound
    from freehold.trial import report

    folders = sorted((settings.home() / "trials").glob(f"{id}*"))
    if len(folders) != 1 or not id.isalnum():
        raise NotFound(
            f"{len(folders) if id.isalnum() and folders else 'no'} trials have an id that begins with {id!r}",
            "see 'freehold trials'",
        )
    result = report.read(folders[0] / "report.json")
    if json:
        print_json(result.as_json())
    else:
        print(report.ten_lines(result, folders[0]))
    if open:
        import webbrowser

        webbrowser.open((folders[0] / "report.html").as_uri())
