"""Read a sheet of a spreadsheet: .xlsx, .xlsm, .xlsb, .xls, .ods.

Its library lays out all cells, however few bytes name them, so it runs in a process with limits.
"""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core import limited_process
from freehold.core.errors import BadData, DoesNotFit, FreeholdError, NotFound
from freehold.data.bounds import BYTES_PER_VALUE, Bound
from freehold.data.draft import Draft, distinct_names, quoted
from freehold.data.header import has_header, made_up_names, no_header_note

#: Seconds that a spreadsheet may take to be read.
LONGEST_READING_S = 600.0
_SNIFFED_ROWS = 500


@dataclass(frozen=True)
class _Page:
    """``sheet``: the one read; ``filled``: those with something in them; ``rows``: from the first on."""

    sheet: str
    filled: list[str]
    rows: list[list[Any]]


def read_sheets(name: str, content: Path | bytes, sheet: str = "") -> Draft:
    """Rows of an .xlsx, .xlsm, .xlsb, .xls or .ods file. Raises BadData, NotFound, DoesNotFit."""
    page = _page(name, content, sheet)
    draft = Draft(name)
    draft.notes.append(f'The rows are in the sheet "{page.sheet}".')
    others = [other for other in page.filled if other != page.sheet]
    if others:
        draft.notes.append(f"Sheets that are not used: {quoted(others)}. Choose one with {name}#{others[0]}.")
    _fill(draft, page.sheet, page.rows)
    return draft


def _page(name: str, content: Path | bytes, sheet: str) -> _Page:
    """What a process reads with half of the memory that is free. Raises BadData, NotFound, DoesNotFit."""
    bound = Bound(name)
    memory_bytes = bound.free_bytes // 2
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size > memory_bytes // 4:  # it lies there several times while it is read
        raise _too_large(name, bound, f"the file itself has {size / 1e9:.1f} GB")
    request = json.dumps({"name": name, "sheet": sheet, "free_bytes": bound.free_bytes}).encode()
    data = b"\n".join((request, content if isinstance(content, bytes) else content.read_bytes()))
    bounds = limited_process.Bounds(
        LONGEST_READING_S, LONGEST_READING_S, memory_bytes, bound.most + (1 << 20)
    )
    try:
        answer = limited_process.run("freehold.data.sheets:laid_out", data, bounds)
    except limited_process.Exceeded as error:
        raise _too_large(name, bound, f"it {error.reason}") from error
    head, *rows = answer.decode().split("\n")
    read, filled = json.loads(head)
    return _Page(read, filled, [json.loads(row) for row in rows])


def _too_large(name: str, bound: Bound, why: str) -> DoesNotFit:
    return DoesNotFit(
        f"{name} takes more than {bound.free_bytes / 2e9:.1f} GB of memory when all of its cells are "
        f"laid out, or more than {LONGEST_READING_S:g} s ({why})",
        "Save the sheet with the rows as CSV, without empty rows and columns",
    )


def _fill(draft: Draft, sheet: str, rows: Sequence[Sequence[Any]]) -> None:
    widths = [sum(cell != "" for cell in row) for row in rows]
    usual = max(widths, default=0)
    top = next((number for number, width in enumerate(widths) if width > 1 and width * 2 >= usual), None)
    if top is None:
        top = next(number for number, width in enumerate(widths) if width)
    skipped = [number for number in range(top) if widths[number]]
    if skipped:
        shown = "; ".join(
            str(next(cell for cell in rows[number] if cell != ""))[:60] for number in skipped[:3]
        )
        draft.notes.append(f"Rows above the header are left out: {shown}.")
    used = [n for n in range(len(rows[top])) if any(n < len(row) and row[n] != "" for row in rows[top:])]
    table = [[as_value(row[n]) if n < len(row) else None for n in used] for row in rows[top:]]
    texts = [
        ["" if cell is None else str(cell) for cell in row]
        for row in table[:_SNIFFED_ROWS]
        if any(c is not None for c in row)
    ]
    if has_header(texts):
        draft.columns = distinct_names(texts[0], draft)
        first = 1
    else:
        draft.columns = made_up_names(len(used))
        draft.notes.append(no_header_note(draft.columns))
        first = 0
    _take(draft, sheet, table[first:], top + first + 1)


def _take(draft: Draft, sheet: str, table: list[list[Any]], number: int) -> None:
    """``number`` is the first row's number in the sheet."""
    for cells in table:
        if any(cell is not None for cell in cells):
            draft.add(
                f'{draft.name}, sheet "{sheet}", row {number}', dict(zip(draft.columns, cells, strict=True))
            )
        number += 1


def as_value(cell: Any) -> Any:
    """A cell as text or number: whole numbers without a fraction, empty cells and errors as missing."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, str):
        return (
            None if cell in ("", "#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!") else cell
        )
    return cell


# -- in the process ---------------------------------------------------------------------------------


def laid_out(data: bytes) -> bytes:
    """A line with the sheet and all that hold something, then a line for each row, all in JSON.

    ``data``: a line with what is asked, then the file. Raises BadData, NotFound, DoesNotFit.
    """
    head, content = data.split(b"\n", 1)
    request = json.loads(head)
    page = _opened(request["name"], io.BytesIO(content), request["sheet"])
    bound = Bound(request["name"], request["free_bytes"])
    bound.check(sum(map(len, page.rows)) * BYTES_PER_VALUE // 4, least=True)
    written = json.JSONEncoder(ensure_ascii=False, default=_moment).encode
    lines = [json.dumps([page.sheet, page.filled]).encode()]
    for row in page.rows:
        lines.append(written(row).encode())
        bound.more(len(lines[-1]))
    return b"\n".join(lines)


def _opened(name: str, file: io.BytesIO, sheet: str) -> _Page:
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_filelike(file)
        if sheet and sheet not in book.sheet_names:
            there = quoted(book.sheet_names)
            raise NotFound(f'{name} has no sheet "{sheet}"; it has {there}', "Write one of these after #")
        pages = {each: book.get_sheet_by_name(each) for each in book.sheet_names}
        filled = [each for each, page in pages.items() if page.height]
        if not filled:
            raise BadData(f"{name} has no rows in any sheet", "Pass a file with rows")
        visible = calamine.SheetVisibleEnum.Visible
        hidden = {page.name for page in book.sheets_metadata if page.visible != visible}
        chosen = sheet or next((each for each in filled if each not in hidden), filled[0])
        return _Page(chosen, filled, _rows(pages[chosen]))
    except calamine.PasswordError:
        raise BadData(f"{name} is protected by a password", "Save it without a password") from None
    except (FreeholdError, MemoryError):
        raise
    except BaseException as error:  # a panic of the library is not an Exception
        raise BadData(
            f"{name} cannot be read as a spreadsheet; it is damaged or is another kind of file "
            f"({str(error)[:200] or type(error).__name__})",
            "Save it again",
        ) from None


def _rows(page: Any) -> list[list[Any]]:
    """Cells from the first row on; merged cells repeat their value downwards."""
    rows = page.to_python(skip_empty_area=False)
    for (top, left), (bottom, right) in page.merged_cell_ranges or []:
        if left == right and top < len(rows) and left < len(rows[top]):
            for row in rows[top + 1 : bottom + 1]:
                row[left] = rows[top][left]
    return rows


def _moment(cell: Any) -> str:
    """A date, a time or both in ISO form, or a time span."""
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(sep=" ") if cell.time() != datetime.time() else cell.date().isoformat()
    return str(cell) if isinstance(cell, datetime.timedelta) else cell.isoformat()
