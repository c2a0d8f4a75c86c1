"""Rows in spreadsheets: the first sheet that holds any, or the one that was named."""

from __future__ import annotations

import contextlib
import datetime
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freehold.data.bounds import BYTES_PER_VALUE, Bound
from freehold.data.draft import Draft, distinct_names, quoted
from freehold.data.header import has_header, made_up_names, no_header_note
from freehold.data.sheet_process import Page
from freehold.errors import BadData, DoesNotFit, FreeholdError, NotFound

#: Seconds that a spreadsheet may take to be read.
LONGEST_READING_S = 600.0
_SNIFFED_ROWS = 500


def read_sheets(name: str, content: Path | bytes, sheet: str = "") -> Draft:
    """Rows of an .xlsx, .xlsm, .xlsb, .xls or .ods file. Raises BadData, NotFound, DoesNotFit."""
    page = _page(name, content, sheet)
    if page.fault:
        raise _explained(name, sheet, page)
    draft = Draft(name)
    draft.notes.append(f'The rows are in the sheet "{page.sheet}".')
    others = [other for other in page.filled if other != page.sheet]
    if others:
        draft.notes.append(f"Sheets that are not used: {quoted(others)}. Choose one with {name}#{others[0]}.")
    _fill(draft, page.sheet, page.rows)
    return draft


def _page(name: str, content: Path | bytes, sheet: str) -> Page:
    """What a process of its own reads, with half of the memory that is free. Raises DoesNotFit."""
    bound = Bound(name)
    with contextlib.ExitStack() as stack:
        if isinstance(content, bytes):
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="freehold-sheet-"))
            file.write(content)
            file.flush()
            path = file.name
        else:
            path = str(content)
        memory_bytes = bound.free_bytes // 2
        words = [sys.executable, "-P", "-m", "freehold.data.sheet_process", path, sheet, str(memory_bytes)]
        try:
            done = subprocess.run(words, capture_output=True, timeout=LONGEST_READING_S, check=False)
        except subprocess.TimeoutExpired:
            raise DoesNotFit(
                f"{name} was not read within {LONGEST_READING_S:g} s", "Save the sheet with the rows as CSV"
            ) from None
    if done.returncode:
        raise _ended(name, done.returncode, done.stderr.decode("utf-8", "replace"), bound)
    bound.check(len(done.stdout))
    page = Page(*pickle.loads(done.stdout))
    bound.more(sum(map(len, page.rows)) * BYTES_PER_VALUE // 4)
    return page


def _ended(name: str, status: int, complaint: str, bound: Bound) -> FreeholdError:
    """Why the process ended before it had read: memory, or a file that its library cannot stand."""
    if status < 0 or "MemoryError" in complaint or "memory allocation" in complaint:
        return DoesNotFit(
            f"{name} takes more than {bound.free_bytes / 2e9:.1f} GB of memory when all of its cells are laid out",
            "Save the sheet with the rows as CSV, without empty rows and columns",
        )
    reason = complaint.strip().splitlines()[-1][:200] if complaint.strip() else "it cannot be read"
    return _damaged(name, reason)


def _explained(name: str, sheet: str, page: Page) -> FreeholdError:
    if page.fault == "password":
        return BadData(f"{name} is protected by a password", "Save it without a password")
    if page.fault == "no sheet":
        there = quoted(page.filled)
        return NotFound(f'{name} has no sheet "{sheet}"; it has {there}', "Write one of these after #")
    if page.fault == "no rows":
        return BadData(f"{name} has no rows in any sheet", "Pass a file with rows")
    return _damaged(name, page.fault)


def _damaged(name: str, reason: str) -> BadData:
    return BadData(
        f"{name} cannot be read as a spreadsheet; it is damaged or is another kind of file ({reason})",
        "Save it again",
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
