"""How verbs print: JSON or a table, colour only on a terminal, errors as cause and remedy."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from freehold.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_secret(text: str, what: str) -> None:
    """Print what cannot be shown again, at once.

    Raises UsageError where nobody can have got it: standard output is closed or full.
    """
    if sys.stdout is None:  # it was closed when this process began
        raise UsageError(
            f"{what} cannot be shown: standard output is closed", "run it where its output is read"
        )
    try:
        print(text, flush=True)
    except OSError as error:
        # what could not be written would be tried again when the process ends, with a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(
            f"{what} could not be shown ({error.strerror}), so there is none",
            "run it where its output is read",
        ) from error


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last may be any length."""
    rows = [[seen(str(cell)) for cell in row] for row in rows]
    widths = [max(len(str(row[i])) for row in [headings, *rows]) for i in range(len(headings))]
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    for index, row in enumerate([headings, *rows]):
        cells = [str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)]
        print((bold if index == 0 else "") + "  ".join(cells).rstrip() + (plain if index == 0 else ""))


def seen(text: str) -> str:
    """Text from elsewhere as a terminal may show it: a character that moves its cursor, or turns the text around, as its code."""
    return "".join(
        ascii(sign)[1:-1]
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign not in "\n\t\u200c\u200d"
        else sign
        for sign in text
    )


def say(text: str) -> None:
    """A remark for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def fail(message: str, remedy: str) -> None:
    """An error for people, on standard error."""
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    say(f"{red}error:{plain} {seen(message)}")
    if remedy:
        say(f"  what to do: {seen(remedy)}")
