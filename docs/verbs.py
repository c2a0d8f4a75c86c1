"""Write one page per verb from its own help. Run: python docs/verbs.py"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from freehold.cli.main import app

FOLDER = Path(__file__).parent / "verbs"


def verbs(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every verb there is, groups before what is in them. ``group``: as typer makes it for click."""
    for name, command in group.commands.items():
        yield (*before, name)
        if hasattr(command, "commands"):
            yield from verbs(command, (*before, name))


def page(words: tuple[str, ...]) -> Path:
    """Where a verb's page is."""
    return FOLDER / f"{'-'.join(words)}.md"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    every = list(verbs(typer.main.get_command(app)))
    for words in every:
        done = subprocess.run(
            [sys.executable, "-m", "freehold.cli.main", *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        page(words).write_text(f"# freehold {' '.join(words)}\n\n```\n{done.stdout.strip()}\n```\n")
        print(f"wrote {page(words).relative_to(FOLDER.parent.parent)}")
    for left in set(FOLDER.glob("*.md")) - {page(words) for words in every}:
        left.unlink()
