"""Write one page per verb from its own help. Run: python docs/verbs.py"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from freehold.cli.main import app

FOLDER = Path(__file__).parent / "verbs"
#: Columns of the help in a page.
WIDTH = "80"


def verbs(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every verb, groups before their verbs. ``group``: as typer makes it for click."""
    for name, command in group.commands.items():
        yield (*before, name)
        if hasattr(command, "commands"):
            yield from verbs(command, (*before, name))


def help_of(words: tuple[str, ...]) -> str:
    """What ``freehold WORDS --help`` prints on a terminal of 80 columns."""
    out = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(out):
            app([*words, "--help"], prog_name="freehold", standalone_mode=False)
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return out.getvalue()


def page(words: tuple[str, ...]) -> Path:
    """Where a verb's page is."""
    return FOLDER / f"{'-'.join(words)}.md"


def text(words: tuple[str, ...]) -> str:
    """A verb's page."""
    return f"# freehold {' '.join(words)}\n\n```\n{help_of(words).strip()}\n```\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    every = list(verbs(typer.main.get_command(app)))
    for words in every:
        page(words).write_text(text(words))
        print(f"wrote {page(words).relative_to(FOLDER.parent.parent)}")
    for stale in set(FOLDER.glob("*.md")) - {page(words) for words in every}:
        stale.unlink()
