"""Options of verbs that read rows, what they print about the rows, and the question about unclear columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import say
from freehold.core.wording import counted
from freehold.data import row_settings

if TYPE_CHECKING:
    from freehold.data.examples import Dataset, RowOptions
    from freehold.data.guess import Ask

Columns = Annotated[str, typer.Option(help=row_settings.COLUMNS)]


def options_of(columns: str) -> RowOptions:
    """The options of a verb for reading rows. Raises UsageError."""
    from freehold.data.examples import RowOptions, parse_columns

    return RowOptions(parse_columns(columns) if columns else None, ask=asker())


def say_read(datasets: Mapping[str, Dataset]) -> None:
    """Says how many rows of which table were read, with which columns, and what was decided or left out."""
    notes: dict[str, None] = {}
    for dataset in datasets.values():
        say(f"{counted(len(dataset.examples), 'row')} of {dataset.name}; columns {dataset.mapping}")
        notes |= dict.fromkeys(dataset.notes)
    for note in notes:
        say(f"  {note}")


def asker() -> Ask | None:
    """What asks a person to choose; None where nobody sits at a terminal."""
    return ask_choice if sys.stdin.isatty() and sys.stderr.isatty() else None


def ask_choice(question: str, choices: Sequence[str]) -> int:
    """The index of the choice a person types the number of; asks again until it is one. Ctrl-C and Ctrl-D end
    the program.
    """
    say(question)
    for number, choice in enumerate(choices, 1):
        say(f"  {number}  {choice}")
    while True:
        sys.stderr.write(f"1 to {len(choices)}: ")
        sys.stderr.flush()
        typed = sys.stdin.readline()
        if not typed:
            raise KeyboardInterrupt
        if typed.strip().isdecimal() and 1 <= int(typed) <= len(choices):
            return int(typed) - 1
