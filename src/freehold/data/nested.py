"""Columns of objects opened: their fields become columns of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from freehold.data.draft import quoted
from freehold.data.table import Row, Table
from freehold.data.values import is_missing, parsed

_DEEPEST = 4
#: Fields whose name says nothing without that of the object they are in.
_BARE = frozenset({"name", "value", "id", "key", "type"})

Path = tuple[str, ...]


def opened(table: Table) -> Table:
    """The table with the fields of its objects as columns, and a note; the same table where there are none.

    A field has its own name where no other column has it, else its path with points between.
    """
    objects = [column for column in table.columns if _holds_objects(table, column)]
    if not objects:
        return table
    flat = [_flat(row, objects) for row in table.rows]
    paths = list(dict.fromkeys(path for cells in flat for path in cells))
    leaves = Counter(path[-1] for path in paths)
    called = {path: path[-1] if _is_clear(path, leaves) else ".".join(path) for path in paths}
    rows = tuple(
        Row(row.place, {called[path]: value for path, value in cells.items()})
        for row, cells in zip(table.rows, flat, strict=True)
    )
    inside = [called[path] for path in paths if len(path) > 1]
    note = f"Columns hold objects ({quoted(objects)}): their fields are read as columns: {quoted(inside)}."
    return replace(table, columns=tuple(called.values()), rows=rows, notes=(*table.notes, note))


def _holds_objects(table: Table, column: str) -> bool:
    cells = [row.fields.get(column) for row in table.rows]
    present = [parsed(cell) for cell in cells if not is_missing(cell)]
    return bool(present) and all(isinstance(cell, dict) for cell in present)


def _is_clear(path: Path, leaves: Counter[str]) -> bool:
    return leaves[path[-1]] == 1 and (len(path) == 1 or path[-1].casefold() not in _BARE)


def _flat(row: Row, objects: list[str]) -> dict[Path, Any]:
    cells: dict[Path, Any] = {}
    for column, value in row.fields.items():
        _take((column,), parsed(value) if column in objects else value, column in objects, cells)
    return cells


def _take(path: Path, value: Any, is_object: bool, cells: dict[Path, Any]) -> None:
    if not is_object or not isinstance(value, dict) or len(path) > _DEEPEST:
        if not (is_object and len(path) == 1):
            cells[path] = value
        return
    for key, inner in value.items():
        _take((*path, str(key)), inner, True, cells)
