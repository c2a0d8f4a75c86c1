"""Which column plays which part: given with ``--columns``, or guessed from names and values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from freehold.core.errors import BadData, UsageError
from freehold.core.wording import did_you_mean
from freehold.data import names
from freehold.data.guess import Ask, guess
from freehold.data.plan import NoColumn, Plan
from freehold.data.profile import Profile, profile
from freehold.data.table import Table

_ANSWERS = ("completion", "label", "labels")
_ASKS = ("text", "prompt", "instruction", "input")
_ALIASES = {"chosen": "completion"}


@dataclass(frozen=True)
class Mapping:
    """Which column plays which part, and whether that was guessed or given.

    A column's name may be several joined with ``+``. ``shape``: messages, prompt, text, code, preference or
    kto. ``unused`` are columns that play no part.
    """

    columns: dict[str, str]
    guessed: bool
    unused: tuple[str, ...] = ()
    shape: str = ""
    notes: tuple[str, ...] = ()
    #: The columns behind each part, where a name with ``+`` is taken apart.
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: The column of rows that belong together, "" for none.
    group: str = ""

    def __str__(self) -> str:
        pairs = ", ".join(f"{part}={column}" for part, column in self.columns.items())
        how = "guessed; override with --columns" if self.guessed else "given"
        unused = f"; not used: {', '.join(self.unused)}" if self.unused else ""
        grouped = f"; rows grouped by {self.group}" if self.group else ""
        return f"{pairs} ({how}){grouped}{unused}"


def parse_columns(text: str) -> dict[str, str]:
    """``text=subject+body,label=team`` -> parts and columns. Raises UsageError."""
    columns: dict[str, str] = {}
    for pair in re.split(r",(?=\s*\w+\s*=)", text):
        part, equals, column = (piece.strip() for piece in pair.partition("="))
        part = _ALIASES.get(part.casefold(), part.casefold())
        if not equals or not column:
            raise UsageError(
                f"--columns does not understand {pair!r}",
                f"write PART=COLUMN with PART one of {', '.join(names.PARTS)}",
            )
        if part not in names.PARTS:
            raise UsageError(
                f"--columns: unknown part {part!r}",
                f"{did_you_mean(part, names.PARTS)}The parts are {', '.join(names.PARTS)}",
            )
        if part in columns:
            raise UsageError(
                f"--columns names {part} twice", "join several columns with +, for example text=subject+body"
            )
        columns[part] = column
    return columns


#: Kinds of columns that say what a row belongs to; a longer text may be part of the prompt too.
_GROUP_KINDS = frozenset({"label", "id", "number", "date", "boolean", "constant"})


def map_columns(
    table: Table, given: dict[str, str] | None = None, ask: Ask | None = None, group: str = ""
) -> Mapping:
    """The mapping of a table. Raises BadData where columns are missing, or where two are equally good and
    nobody can be asked. ``group``: a column of what rows belong to, which is not guessed to be anything else.
    """
    profiles = {column: profile(table, column) for column in table.columns}
    if given:
        return _given(table, profiles, given, ask)
    plan = _guess_beside(group, table, profiles, ask)
    return _mapping(plan.columns, plan.shape, True, table.columns, tuple(plan.notes))


def _guess_beside(group: str, table: Table, profiles: dict[str, Profile], ask: Ask | None) -> Plan:
    """The guess without the column of groups; with it where a part is only found there."""
    rest = {
        column: profile
        for column, profile in profiles.items()
        if names.plain(column) != names.plain(group) or profile.kind not in _GROUP_KINDS
    }
    try:
        return guess(replace(table, columns=tuple(rest)), rest, ask)
    except NoColumn:
        if len(rest) == len(profiles):
            raise
        return guess(table, profiles, ask)


def _mapping(
    columns: dict[str, str], shape: str, guessed: bool, available: Sequence[str], notes: tuple[str, ...]
) -> Mapping:
    parts = {part: _apart(column, available) for part, column in columns.items()}
    used = {column for several in parts.values() for column in several}
    return Mapping(
        columns, guessed, tuple(column for column in available if column not in used), shape, notes, parts
    )


def _apart(column: str, available: Sequence[str]) -> tuple[str, ...]:
    """The columns behind ``subject+body``; a column that has such a name itself comes first."""
    return (column,) if column in available else tuple(piece.strip() for piece in column.split("+"))


def _given(table: Table, profiles: dict[str, Profile], given: dict[str, str], ask: Ask | None) -> Mapping:
    unknown = [part for part in given if part not in names.PARTS]
    if unknown:
        raise UsageError(f"unknown part {unknown[0]!r} of a row", f"the parts are {', '.join(names.PARTS)}")
    columns = {
        part: "+".join(existing(piece, table) for piece in _apart(column, table.columns))
        for part, column in given.items()
    }
    notes: list[str] = []
    if "completion" in columns and "label" in columns:
        if profiles[columns["label"]].kind != "boolean":
            raise BadData(
                f"--columns names two answers: completion={columns['completion']} and "
                f"label={columns['label']}",
                "keep one of them; with a completion, a label must be true or false and says whether the "
                "answer is good",
            )
        columns["good"] = columns.pop("label")
    for part, column in _completed(table, profiles, columns, ask).items():
        columns[part] = column
        notes.append(f'--columns does not say which column is the {part}: "{column}" is used.')
    return _mapping(columns, _shape_of(columns), False, table.columns, tuple(notes))


def existing(column: str, table: Table, option: str = "--columns") -> str:
    """The column as the table writes it. Raises BadData naming the nearest."""
    if column in table.columns:
        return column
    alike = [name for name in table.columns if names.plain(name) == names.plain(column)]
    if len(alike) == 1:
        return alike[0]
    close = difflib.get_close_matches(names.plain(column), [names.plain(name) for name in table.columns], 1)
    nearest = next((name for name in table.columns if close and names.plain(name) == close[0]), None)
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    raise BadData(
        f"{table.name} has no column {column!r}; it has {', '.join(table.columns)}{hint}", f"correct {option}"
    )


def _completed(
    table: Table, profiles: dict[str, Profile], columns: dict[str, str], ask: Ask | None
) -> dict[str, str]:
    """The part that a given mapping cannot do without and does not name, guessed."""
    if "messages" in columns:
        return {}
    asks = any(part in columns for part in _ASKS)
    answers = any(part in columns for part in (*_ANSWERS, "code"))
    if (asks and answers) or ("rejected" in columns and answers):
        return {}
    used = {piece for column in columns.values() for piece in _apart(column, table.columns)}
    rest = {name: profile for name, profile in profiles.items() if name not in used}
    if answers:
        part = "text" if "label" in columns or "labels" in columns else "prompt"
        plan = guess(table, rest, ask, need="text")
        return {part: plan.columns["text"]}
    if asks:
        plan = guess(table, rest, ask, need="completion" if "prompt" in columns else "label")
        return {part: column for part, column in plan.columns.items() if part in _ANSWERS}
    plan = guess(table, rest, ask)
    return {
        part: column
        for part, column in plan.columns.items()
        if part not in columns and part in ("messages", *_ASKS, *_ANSWERS)
    }


def _shape_of(columns: dict[str, str]) -> str:
    if "rejected" in columns:
        return "preference"
    if "messages" in columns:
        return "messages"
    if "code" in columns:
        return "code"
    if "completion" in columns:
        return "kto" if "good" in columns else "prompt"
    return "text"
