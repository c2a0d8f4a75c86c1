"""The process in which a spreadsheet is opened: its library lays out all cells, however few bytes name them.

Run as ``python -m freehold.data.sheet_process FILE SHEET MEMORY_BYTES``; writes the fields of a
:class:`Page`, pickled, to standard output. Where the library asks for more memory than is allowed, this process ends.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Page:
    """``sheet``: the sheet that was read; ``filled``: all that hold something; ``rows``: cells from the first
    row on; merged cells repeat their value downwards. ``fault``: why there are none: "password", "no sheet"
    (``filled`` are those there are), "no rows", or what the library says of a damaged file.
    """

    sheet: str = ""
    filled: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    fault: str = ""


def read_page(file: Any, sheet: str) -> Page:
    """The page of a workbook, in this process. ``file`` is open for reading bytes."""
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_filelike(file)
        if sheet and sheet not in book.sheet_names:
            return Page(filled=tuple(book.sheet_names), fault="no sheet")
        pages = {name: book.get_sheet_by_name(name) for name in book.sheet_names}
        filled = tuple(name for name, page in pages.items() if page.height)
        if not filled:
            return Page(fault="no rows")
        visible = calamine.SheetVisibleEnum.Visible
        hidden = {page.name for page in book.sheets_metadata if page.visible != visible}
        chosen = sheet or next((name for name in filled if name not in hidden), filled[0])
        return Page(chosen, filled, _rows(pages[chosen]))
    except calamine.PasswordError:
        return Page(fault="password")
    except (calamine.CalamineError, OSError) as error:
        return Page(fault=str(error) or type(error).__name__)


def _rows(page: Any) -> tuple[tuple[Any, ...], ...]:
    rows = [list(row) for row in page.to_python(skip_empty_area=False)]
    for (top, left), (bottom, right) in page.merged_cell_ranges or []:
        if left == right:
            for row in range(top + 1, min(bottom + 1, len(rows))):
                rows[row][left] = rows[top][left]
    return tuple(map(tuple, rows))


def main() -> None:
    """Limit this process, read, write."""
    path, sheet, memory_bytes = sys.argv[1:]
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(path, "rb") as file:
        page = read_page(file, sheet)
    fields = (page.sheet, page.filled, page.rows, page.fault)
    pickle.dump(fields, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
