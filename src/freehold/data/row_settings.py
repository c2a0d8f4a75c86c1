"""The options of every verb that reads rows, in words; :func:`row_options` makes them those of the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from freehold.data.examples import RowOptions
    from freehold.data.guess import Ask

COLUMNS = "Which column holds what, e.g. text=subject+body,label=team; the default is to guess and show it."
ENCODING = "Encoding of the file of rows, e.g. cp1252; the default is to detect it."
BAD_ROW = (
    "What to do with rows that cannot be used: skip (up to half of all rows) or stop; the default is to skip "
    "up to 1%."
)
MERGE_LABELS = "Treat labels that differ only in case, spaces or Unicode form as the same label."
GROUP = (
    "Column that groups rows, such as patient_id: rows with the same value stay in one split, and the "
    "intervals take it into account."
)
TRUST_CODE = (
    "Run answers that are code without a sandbox, with your rights; needed only where no sandbox works."
)


class RowSettings(Protocol):
    """Options of a verb that say how rows are read, as they were typed."""

    @property
    def columns(self) -> str: ...
    @property
    def encoding(self) -> str: ...
    @property
    def on_bad_row(self) -> str: ...
    @property
    def merge_labels(self) -> bool: ...


def row_options(settings: RowSettings, ask: Ask | None = None, *, group: str = "") -> RowOptions:
    """How rows are read. ``ask``: called where a guess is in doubt. ``group``: column that joins rows.

    Raises UsageError.
    """
    from freehold.data.examples import RowOptions, parse_columns

    columns = parse_columns(settings.columns) if settings.columns else None
    return RowOptions(columns, settings.encoding, settings.on_bad_row, settings.merge_labels, ask, group)
