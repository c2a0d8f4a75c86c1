"""Rows in CSV and its relatives: the delimiter is the one that gives every row as many fields as the header."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from freehold.data.draft import Draft, distinct_names, quoted
from freehold.errors import BadData

NAMES = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "vertical bars",
    "^": "carets",
    "\x01": "control characters",
}
_SNIFFED_RECORDS = 300
_MOST_FAULTS = 10_000


@dataclass(frozen=True)
class Dialect:
    """``escape`` is the character before a quote inside a quoted field; nothing where such a quote is doubled."""

    delimiter: str
    escape: str = ""


@dataclass(frozen=True)
class Record:
    """``line`` and ``last`` are the numbers of the lines it spans; ``wrong`` says why it has no fields."""

    line: int
    last: int
    fields: list[str]
    wrong: str = ""


def read_delimited(name: str, text: str, suffix: str) -> Draft:
    """Rows of a text with delimiters. Raises BadData where there is none."""
    draft = Draft(name)
    lines = list(io.StringIO(text, newline=""))
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    dialect, start = _declared(lines, first)
    if dialect is None:
        dialect = sniff(lines[first:], suffix)
    if dialect is None:
        return _single_column(draft, lines, first, suffix)
    if dialect.delimiter != ("\t" if suffix == ".tsv" else ","):
        draft.notes.append(
            f"Fields are separated by {NAMES.get(dialect.delimiter, repr(dialect.delimiter))}."
        )
    if dialect.escape:
        draft.notes.append("Quotes inside fields are written with a backslash.")
    _fill(draft, _records(lines, start, dialect))
    _decimal_commas(draft, dialect)
    return draft


def _declared(lines: list[str], first: int) -> tuple[Dialect | None, int]:
    """The dialect of Excel's first line ``sep=;``, and where the records start."""
    match = re.fullmatch(r'"?sep=(.)"?\s*', lines[first], re.IGNORECASE) if lines else None
    return (Dialect(match[1]), first + 1) if match else (None, first)


def sniff(lines: list[str], suffix: str = ".csv") -> Dialect | None:
    """The dialect that splits the first records most evenly, or None where no delimiter does."""
    order = "\t,;|^\x01" if suffix == ".tsv" else ",;\t|^\x01"
    best: tuple[float, int, int] = (0.0, 0, 0)
    choice = None
    for place, delimiter in enumerate(order):
        for escape in ("", "\\"):
            if escape and not any('\\"' in line for line in lines[:_SNIFFED_RECORDS]):
                continue
            even, width = _evenness(lines, Dialect(delimiter, escape))
            score = (even, width, -place)
            if width > 1 and even > 0.5 and score > best:
                best, choice = score, Dialect(delimiter, escape)
    return choice


def _evenness(lines: list[str], dialect: Dialect) -> tuple[float, int]:
    """(share of records with as many fields as the first, that number of fields)."""
    widths: list[int] = []
    for record in _records(lines, 0, dialect):
        widths.append(0 if record.wrong else len(record.fields))
        if len(widths) == _SNIFFED_RECORDS:
            break
    if not widths:
        return 0.0, 0
    width = widths[0] or Counter(widths).most_common(1)[0][0]
    return widths.count(width) / len(widths), width


def _records(lines: list[str], start: int, dialect: Dialect) -> Iterator[Record]:
    """Records from line index ``start``; after one that is wrong, reading goes on with the line after its first."""
    previous = csv.field_size_limit(2**31 - 1)
    try:
        yield from _unlimited_records(lines, start, dialect)
    finally:
        csv.field_size_limit(previous)


def _unlimited_records(lines: list[str], start: int, dialect: Dialect) -> Iterator[Record]:
    while start < len(lines):
        reader = csv.reader(
            iter(lines[start:]) if start else iter(lines), delimiter=dialect.delimiter, strict=True,
            doublequote=not dialect.escape, escapechar=dialect.escape or None,
        )  # fmt: skip
        before = 0
        try:
            for fields in reader:
                line, before = start + before + 1, reader.line_num
                if any(map(str.strip, fields)):
                    yield Record(line, start + before, fields)
            return
        except csv.Error as error:
            yield Record(start + before + 1, start + reader.line_num, [], _wrong(str(error)))
            start += before + 1


def _wrong(error: str) -> str:
    if "unexpected end" in error:
        return "a quote is opened in this line and never closed"
    if "expected after" in error:
        return "a quote inside a quoted field is not doubled, or a quote opened in this line is not closed"
    return f"cannot be read ({error})"


def _fill(draft: Draft, records: Iterator[Record]) -> None:
    """Turn records into rows by the header, or by made-up names where the first record is a row."""
    first = next(records, None)
    if first is None:
        return
    if first.wrong:
        raise BadData(
            f"{draft.name}, line {first.line}: the header cannot be read, {first.wrong}", "Correct this line"
        )
    rest = list(records)
    names = header_names([first.fields, *(record.fields for record in rest[:500] if not record.wrong)], draft)
    rest = rest if names else [first, *rest]
    draft.columns = (
        distinct_names(first.fields, draft)
        if names
        else [f"column_{n}" for n in range(1, len(first.fields) + 1)]
    )
    _rows(draft, rest, first.fields)


def _rows(draft: Draft, records: list[Record], header: list[str]) -> None:
    columns, repeats = draft.columns, 0
    width = len(columns)
    for record in records:
        fields = record.fields
        if record.wrong:
            draft.fault(f"{draft.name}, line {record.line}", record.wrong)
        elif len(fields) != width:
            _misfit(draft, record, width)
        elif fields == header and record is not records[0]:
            repeats += 1
        elif "\0" in "".join(fields):
            column = next(column for column, text in zip(columns, fields, strict=True) if "\0" in text)
            draft.fault(
                f"{draft.name}, line {record.line}", f'column "{column}": the text holds a NUL character'
            )
        else:
            draft.add(f"{draft.name}, line {record.line}", dict(zip(columns, fields, strict=True)))
    if repeats:
        draft.notes.append(f"{repeats} further lines repeat the header and are left out.")


def _misfit(draft: Draft, record: Record, width: int) -> None:
    where = f"line {record.line}" if record.line == record.last else f"lines {record.line} to {record.last}"
    hint = "" if record.line == record.last else "; is a quote opened there and not closed?"
    draft.fault(
        f"{draft.name}, {where}", f"has {len(record.fields)} fields where the header has {width}{hint}"
    )


def header_names(records: list[list[str]], draft: Draft) -> bool:
    """Whether the first record names the columns; says so where it does not."""
    return True


def _decimal_commas(draft: Draft, dialect: Dialect) -> None:
    """Numbers with a decimal comma, where a whole column has them, get a point."""


def _single_column(draft: Draft, lines: list[str], first: int, suffix: str) -> Draft:
    raise BadData(
        f"{draft.name}: no delimiter splits its lines into columns",
        "Write a header and use commas, semicolons or tabs",
    )
