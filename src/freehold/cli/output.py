"""How verbs print: JSON or a table, colour only on a terminal, errors as cause and remedy."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from freehold.core import terminal
from freehold.core.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(terminal.in_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_answer(text: str, end: str = "\n") -> None:
    """Print what a model wrote: as it is where another program reads it, safely on a terminal."""
    stream = sys.stdout if sys.stdout.isatty() else terminal.raw(sys.stdout)
    print(text, end=end, file=stream, flush=True)


def print_secret(text: str, what: str) -> None:
    """Print what cannot be shown again, at once.

    Raises UsageError where nobody can have got it: standard output is closed or full.
    """
    if sys.stdout is None:  # it was closed when this process began
        raise UsageError(
            f"{what} cannot be shown: standard output is closed",
            "run the command where you can read its output",
        )
    try:
        print(text, flush=True)
    except OSError as error:
        discard_output()
        raise UsageError(
            f"{what} could not be shown ({error.strerror}), so it was not kept",
            "run the command where you can read its output",
        ) from error


def discard_output() -> None:
    """Write nothing more: what could not be written would be tried again at the end, with a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last may be any length."""
    table = [[terminal.line(str(cell)) for cell in row] for row in [headings, *rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    for index, row in enumerate(table):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        text = "  ".join(cells).rstrip()
        print(f"{bold}{text}{plain}" if index == 0 else text, file=terminal.raw(sys.stdout))


def say(text: str) -> None:
    """A remark for people, on standard error."""
    print(terminal.shown(text), file=sys.stderr, flush=True)


def fail(message: str, remedy: str) -> None:
    """An error for people, on standard error."""
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}error:{plain} {terminal.shown(message)}", file=terminal.raw(sys.stderr), flush=True)
    if remedy:
        say(f"  what to do: {remedy}")
