"""Rows in spreadsheets: the first sheet that holds any, or the one that was named."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from pathlib import Path
from typing import IO, Any

from freehold.data.bounds import BYTES_PER_VALUE, Bound
from freehold.data.draft import Draft, distinct_names, quoted
from freehold.data.header import has_header, made_up_names, no_header_note
from freehold.errors import BadData, NotFound

_SNIFFED_ROWS = 500
_BLOCK_BYTES = 1 << 20
#: The start of a cell in a sheet's XML: its column's letters and its row. Blocks overlap by more than its
#: length.
_CELL, _LONGEST_CELL = re.compile(rb'[<:]c r="([A-Z]{1,3})(\d{1,7})"'), 24


def read_sheets(name: str, content: Path | bytes, sheet: str = "") -> Draft:
    """Rows of an .xlsx, .xlsm, .xlsb, .xls or .ods file. Raises BadData, NotFound, DoesNotFit."""
    import python_calamine as calamine

    bound = Bound(name)
    try:
        data = content if isinstance(content, bytes) else content.read_bytes()
        _check_extent(data, bound)
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        chosen, filled = _choose(name, book, sheet)
        rows = _rows(book, chosen)
    except calamine.PasswordError:
        raise BadData(f"{name} is protected by a password", "Save it without a password") from None
    except (calamine.CalamineError, OSError) as error:
        raise BadData(
            f"{name} cannot be read as a spreadsheet; it is damaged or is another kind of file ({error})",
            "Save it again",
        ) from error
    draft = Draft(name)
    draft.notes.append(f'The rows are in the sheet "{chosen}".')
    others = [other for other in filled if other != chosen]
    if others:
        draft.notes.append(f"Sheets that are not used: {quoted(others)}. Choose one with {name}#{others[0]}.")
    _fill(draft, chosen, rows)
    return draft


def _check_extent(data: bytes, bound: Bound) -> None:
    """Raises DoesNotFit where a sheet's first and last cell span more cells than memory takes: all of them
    would be laid out.
    """
    if not data.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                with archive.open(name) as sheet:
                    rows, columns = _extent(sheet)
                bound.check(rows * columns * BYTES_PER_VALUE // 4)


def _extent(sheet: IO[bytes]) -> tuple[int, int]:
    """(the number of the last row, the number of the last column) that hold a cell."""
    rows, letters, tail = 0, {b"A"}, b""
    while block := sheet.read(_BLOCK_BYTES):
        cells = _CELL.findall(tail + block)
        rows = max(rows, max((int(row) for _, row in cells), default=0))
        letters |= {column for column, _ in cells}
        tail = block[-_LONGEST_CELL:]
    return rows, max(_column_number(column) for column in letters)


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _choose(name: str, book: Any, sheet: str) -> tuple[str, list[str]]:
    """(the sheet to read, all sheets that hold something)."""
    import python_calamine as calamine

    if sheet and sheet not in book.sheet_names:
        raise NotFound(
            f'{name} has no sheet "{sheet}"; it has {quoted(book.sheet_names)}', "Write one of these after #"
        )
    filled: list[str] = []
    for each in book.sheet_names:
        page = book.get_sheet_by_name(each)
        if page.height:
            filled.append(each)
    if not filled:
        raise BadData(f"{name} has no rows in any sheet", "Pass a file with rows")
    hidden = {page.name for page in book.sheets_metadata if page.visible != calamine.SheetVisibleEnum.Visible}
    return sheet or next((each for each in filled if each not in hidden), filled[0]), filled


def _rows(book: Any, sheet: str) -> list[list[Any]]:
    """Cells by row from the sheet's first row on; merged cells repeat their value downwards."""
    page = book.get_sheet_by_name(sheet)
    rows = [list(row) for row in page.to_python(skip_empty_area=False)]
    for (top, left), (bottom, right) in page.merged_cell_ranges or []:
        if left == right:
            for row in range(top + 1, min(bottom + 1, len(rows))):
                rows[row][left] = rows[top][left]
    return rows


def _fill(draft: Draft, sheet: str, rows: list[list[Any]]) -> None:
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
    """A cell as text or number: dates in ISO form, whole numbers without a fraction, empty cells and errors
    as missing.
    """
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(sep=" ") if cell.time() != datetime.time() else cell.date().isoformat()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return str(cell)
    if isinstance(cell, str):
        return (
            None if cell in ("", "#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!") else cell
        )
    return cell
