"""Rows in CSV and its relatives: the delimiter gives every row as many fields as the header has."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from freehold.core.errors import BadData
from freehold.core.wording import counted
from freehold.data.draft import Draft, check_columns, distinct_names, quoted
from freehold.data.header import COMMON, has_header, made_up_names, no_header_note
from freehold.data.values import without_unit

_NAMES = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "vertical bars",
    "^": "carets",
    "\x01": "control characters",
}
_SNIFFED_RECORDS = 300
#: A delimiter must split so many records like the first; of a file that is not called a table, more of them.
_EVEN, _EVEN_IN_TEXT = 0.3, 0.9
_MOST_TITLE_LINES = 10
_TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
#: Stands for the delimiter where there is one column.
_NEVER = "\x1f"


@dataclass(frozen=True)
class Dialect:
    """``escape`` is the character before a quote inside a quoted field; nothing where such a quote is
    doubled.
    """

    delimiter: str
    escape: str = ""
    skip_spaces: bool = False
    quote: str = '"'


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
    draft.bound.lines(text.count("\n") + text.count("\r"))
    lines = list(io.StringIO(text.rstrip("\x1a"), newline=""))
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    dialect, start = _declared(lines, first)
    if dialect is None:
        dialect, start = _found(draft, lines, first, suffix)
    _say(draft, dialect, suffix)
    _fill(draft, lines, start, dialect)
    if dialect.delimiter != ",":
        _decimal_commas(draft)
    return draft


def _found(draft: Draft, lines: list[str], first: int, suffix: str) -> tuple[Dialect, int]:
    """(the dialect, the index of the header's line). Raises BadData for a text without columns."""
    sample = lines[first : first + 50 * _SNIFFED_RECORDS]
    dialect = sniff(sample, suffix)
    if dialect is not None:
        return dialect, first
    for title in range(1, min(_MOST_TITLE_LINES, len(sample) - 3)):
        dialect = sniff(sample[title:], "", 1.0) if sample[title].strip() else None
        if dialect is not None and sample[0].strip().lower() not in COMMON:
            left_out = [line.strip()[:60] for line in sample[:title] if line.strip()]
            draft.notes.append(f"Lines above the header are left out: {quoted(left_out)}.")
            return dialect, first + title
    if suffix not in _TABLE_SUFFIXES:
        raise BadData(
            f"{draft.name} is plain text: no delimiter splits the lines into columns",
            "Add a header and separate the fields with commas, semicolons or tabs, or write JSONL",
        )
    in_header = max(_NAMES, key=sample[0].count) if sample else _NEVER
    return Dialect(in_header if sample[0].count(in_header) else _NEVER), first


def _declared(lines: list[str], first: int) -> tuple[Dialect | None, int]:
    """The dialect of Excel's first line ``sep=;``, and where the records start."""
    match = re.fullmatch(r'"?sep=(.)"?\s*', lines[first], re.IGNORECASE) if lines else None
    return (Dialect(match[1]), first + 1) if match else (None, first)


def _say(draft: Draft, dialect: Dialect, suffix: str) -> None:
    usual = "\t" if suffix in (".tsv", ".tab") else ","
    if dialect.delimiter == _NEVER:
        draft.notes.append("The file has one column.")
    elif dialect.delimiter != usual:
        named = _NAMES.get(dialect.delimiter, repr(dialect.delimiter))
        draft.notes.append(f"Fields are separated by {named}.")
    if dialect.escape:
        draft.notes.append("Quotes inside fields are written with a backslash.")
    if dialect.quote != '"':
        draft.notes.append("Fields are quoted with apostrophes.")
    if dialect.skip_spaces:
        draft.notes.append("Spaces after the separators are left out.")


def sniff(lines: list[str], suffix: str = ".csv", even_at_least: float = 0.0) -> Dialect | None:
    """The dialect that splits the first records most evenly, or None where no delimiter does."""
    order = "\t,;|^\x01" if suffix in (".tsv", ".tab") else ",;\t|^\x01"
    least = even_at_least or (_EVEN if suffix in _TABLE_SUFFIXES else _EVEN_IN_TEXT)
    best: tuple[float, int, int] = (0.0, 0, 0)
    choice = None
    for rank, delimiter in enumerate(order):
        for dialect in _variants(lines, delimiter):
            even, width = _evenness(lines, dialect)
            score = (even, width, -rank)
            if width > 1 and even >= least and score > best:
                best, choice = score, dialect
    if choice is not None and not choice.skip_spaces and _spaced(lines, choice):
        choice = replace(choice, skip_spaces=True)
    return choice


def _variants(lines: list[str], delimiter: str) -> Iterator[Dialect]:
    """Ways to quote with a delimiter that the lines give reason to try, the usual one first."""
    head = lines[:_SNIFFED_RECORDS]
    escapes = ("", "\\") if any('\\"' in line for line in head) else ("",)
    spaces = (False, True) if any(f'{delimiter} "' in line for line in head) else (False,)
    yield from (Dialect(delimiter, escape, skip) for escape in escapes for skip in spaces)
    opened = sum(line.startswith("'") or f"{delimiter}'" in line for line in head)
    if opened * 2 > len(head):
        yield Dialect(delimiter, quote="'")


def _evenness(lines: list[str], dialect: Dialect) -> tuple[float, int]:
    """(share of records with as many fields as the first, that number of fields)."""
    widths: list[int] = []
    for record in _records(lines, 0, dialect):
        over = bool(widths) and len(record.fields) == widths[0] + 1 and not record.fields[-1]
        widths.append(0 if record.wrong else len(record.fields) - over)
        if len(widths) == _SNIFFED_RECORDS:
            break
    if not widths:
        return 0.0, 0
    width = widths[0] or Counter(widths).most_common(1)[0][0]
    return widths.count(width) / len(widths), width


def _spaced(lines: list[str], dialect: Dialect) -> bool:
    """Whether a space follows every separator, tabs aside."""
    if dialect.delimiter == "\t":
        return False
    fields: list[str] = []
    for number, record in enumerate(_records(lines, 0, dialect)):
        if number == _SNIFFED_RECORDS:
            break
        fields += [field for field in record.fields[1:] if field]
    return bool(fields) and all(field.startswith(" ") for field in fields)


def _records(lines: list[str], start: int, dialect: Dialect, width: int = 0) -> Iterator[Record]:
    """Records from line index ``start``; after one that is wrong, reading goes on with the line after its
    first.
    """
    previous = csv.field_size_limit(2**31 - 1)
    try:
        yield from _unlimited_records(lines, start, dialect, width)
    finally:
        csv.field_size_limit(previous)


def _unlimited_records(lines: list[str], start: int, dialect: Dialect, width: int) -> Iterator[Record]:
    after_fault = False
    while start < len(lines):
        reader = csv.reader(
            map(lines.__getitem__, range(start, len(lines))),
            delimiter=dialect.delimiter,
            strict=True,
            quotechar=dialect.quote,
            doublequote=not dialect.escape,
            escapechar=dialect.escape or None,
            skipinitialspace=dialect.skip_spaces,
        )
        before, wrong = 0, ""
        try:
            for fields in reader:
                line, spanned = start + before, reader.line_num - before
                if after_fault and lines[line].count(dialect.quote) % 2 and spanned == 1:
                    wrong = "comes after a line with unmatched quotes, and has an unmatched quote itself"
                elif (
                    width
                    and spanned > 1
                    and len(fields) != width
                    and _swallowed(lines, line + 1, spanned - 1, dialect, width)
                ):
                    wrong = "a quote is opened in this line but not closed in it"
                if wrong:
                    break
                before, after_fault = reader.line_num, after_fault and len(fields) != width
                if any(map(str.strip, fields)):
                    yield Record(line + 1, start + before, fields)
        except csv.Error as error:
            wrong = _wrong(str(error))
        if not wrong:
            return
        yield Record(start + before + 1, start + reader.line_num, [], wrong)
        start, after_fault = start + before + 1, True


def _swallowed(lines: list[str], start: int, count: int, dialect: Dialect, width: int) -> bool:
    """Whether the lines that a quoted field seems to span are rows themselves."""
    taken = lines[start : start + min(count, _SNIFFED_RECORDS)]
    rows = sum(line.count(dialect.delimiter) >= width - 1 for line in taken)
    return rows * 2 >= len(taken)


def _wrong(error: str) -> str:
    if "unexpected end" in error:
        return "a quote is opened in this line but never closed"
    if "expected after" in error:
        return (
            "a quote inside a quoted field must be written twice, or a quote opened in this line is not "
            "closed"
        )
    return f"cannot be read ({error})"


def _fill(draft: Draft, lines: list[str], start: int, dialect: Dialect) -> None:
    """Turn records into rows by the header, or by made-up names where the first record is a row."""
    first = next(_records(lines, start, dialect), None)
    if first is None:
        return
    if first.wrong:
        raise BadData(
            f"{draft.name}, line {first.line}: the header cannot be read: {first.wrong}",
            "Fix the quotes in this line",
        )
    check_columns(draft.name, len(first.fields))
    records = list(_records(lines, start, dialect, len(first.fields)))
    titles = _title_rows(records)
    if titles:
        shown = [" ".join(filter(None, map(str.strip, record.fields)))[:60] for record in records[:titles]]
        draft.notes.append(f"Lines above the header are left out: {quoted(shown)}.")
        records = records[titles:]
        first = records[0]
    if has_header([record.fields for record in records[:500] if not record.wrong]):
        draft.columns = distinct_names(first.fields, draft)
        records = records[1:]
    else:
        draft.columns = made_up_names(len(first.fields))
        draft.notes.append(no_header_note(draft.columns))
    _rows(draft, records, first.fields)


def _title_rows(records: list[Record]) -> int:
    """How many of the first records are titles above the header: one cell filled where others fill several.

    A first cell that is empty, or named as columns are, begins a header whose other columns have no names.
    """
    head = [record.fields for record in records[:_SNIFFED_RECORDS] if not record.wrong]
    filled = [sum(bool(field.strip()) for field in fields) for fields in head]
    usual = Counter(filled[1:]).most_common(1)[0][0] if len(filled) > 2 else 0
    if usual < 2:
        return 0
    if 1 < filled[0] < filled[1] and sum(field.strip().lower() in COMMON for field in head[1]) > 1:
        return 1
    if filled[0] > 1:
        return 0
    top = next(number for number, count in enumerate(filled) if count > 1)
    named = all(fields[0].strip() and fields[0].strip().lower() not in COMMON for fields in head[:top])
    return top if named and top <= _MOST_TITLE_LINES and has_header(head[top:]) else 0


def _rows(draft: Draft, records: list[Record], header: list[str]) -> None:
    columns, repeats, ended = draft.columns, 0, 0
    named = columns != made_up_names(len(columns))
    for record in records:
        fields, where = record.fields, f"{draft.name}, line {record.line}"
        if len(fields) == len(columns) + 1 and not fields[-1]:
            fields = fields[:-1]
            ended += 1
        if record.wrong:
            draft.fault(where, record.wrong)
        elif len(fields) != len(columns):
            _misfit(draft, record)
        elif named and fields == header:
            repeats += 1
        elif "\0" in "".join(fields):
            column = next(column for column, text in zip(columns, fields, strict=True) if "\0" in text)
            draft.fault(where, f'column "{column}": the text contains a NUL character')
        else:
            draft.add(where, dict(zip(columns, fields, strict=True)))
    if ended:
        draft.notes.append(f"{ended} lines end with an extra separator; it is ignored.")
    _drop_empty(draft, header)
    if repeats:
        draft.notes.append(
            f"{repeats} more line{'s repeat' if repeats > 1 else ' repeats'} the header and are not rows."
        )


def _drop_empty(draft: Draft, header: list[str]) -> None:
    """Leave a last column out that has no name and no values: lines that end in a separator make one."""
    if header[-1].strip() or len(header) < 2 or any(row.fields[draft.columns[-1]] for row in draft.rows):
        return
    column = draft.columns.pop()
    for row in draft.rows:
        del row.fields[column]
    draft.notes = [note for note in draft.notes if f'"{column}"' not in note]


def _misfit(draft: Draft, record: Record) -> None:
    where = f"line {record.line}" if record.line == record.last else f"lines {record.line} to {record.last}"
    hint = "" if record.line == record.last else "; is a quote opened there and not closed?"
    width = len(draft.columns)
    count = len(record.fields)
    reason = f"has {counted(count, 'field')} but the header has {width}{hint}"
    draft.fault(f"{draft.name}, {where}", reason)


_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+")


def _decimal_commas(draft: Draft) -> None:
    """Numbers with a decimal comma get a point, where a whole column is such numbers and no other reading is
    as likely.
    """
    for column in draft.columns:
        values = [row.fields[column].strip() for row in draft.rows if row.fields[column].strip()]
        numbers = [without_unit(value)[0] for value in values]
        commas = [value for value, number in zip(values, numbers, strict=True) if "," in number]
        if (
            len(values) < 2
            or not commas
            or not all(map(_NUMBER.fullmatch, numbers))
            or all(_THOUSANDS.fullmatch(number) for number in numbers if "," in number)
        ):
            continue
        for row in draft.rows:
            row.fields[column] = _with_point(row.fields[column].strip())
        draft.notes.append(
            f'Column "{column}" has numbers with a decimal comma; they are read with a decimal point '
            f'("{commas[0]}" as {_with_point(commas[0])}).'
        )


def _with_point(number: str) -> str:
    return number.replace(".", "").replace(",", ".")
