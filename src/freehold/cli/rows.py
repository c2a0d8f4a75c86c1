"""Options of verbs that read rows, what they print about the rows, and the question about unclear columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import say
from freehold.core.wording import counted

if TYPE_CHECKING:
    from freehold.data.examples import Dataset, RowOptions
    from freehold.data.guess import Ask

Columns = Annotated[
    str,
    typer.Option(
        help="Which column holds what, e.g. text=subject+body,label=team; the default is to guess and show "
        "it."
    ),
]
Encoding = Annotated[
    str, typer.Option(help="Encoding of the file of rows, e.g. cp1252; the default is to detect it.")
]
BadRow = Annotated[
    str,
    typer.Option(
        help="What to do with rows that cannot be used: skip (up to half of all rows) or stop; the default "
        "is to skip up to 1%."
    ),
]
MergeLabels = Annotated[
    bool,
    typer.Option(
        "--merge-labels",
        help="Treat labels that differ only in case, spaces or Unicode form as the same label.",
    ),
]

Group = Annotated[
    str,
    typer.Option(
        help="Column that groups rows, such as patient_id: rows with the same value stay in one split, and "
        "the "
        "intervals take it into account."
    ),
]

TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run answers that are code without a sandbox, with your rights; needed only where no sandbox "
        "works.",
    ),
]


def options_of(
    columns: str,
    encoding: str = "",
    on_bad_row: str = "",
    merge_labels: bool = False,
    group: str = "",
) -> RowOptions:
    """The options of a verb for reading rows. Raises UsageError."""
    from freehold.data.examples import RowOptions, parse_columns

    return RowOptions(
        parse_columns(columns) if columns else None, encoding, on_bad_row, merge_labels, asker(), group
    )


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
