"""Exports whose rows are no examples: refused with what to do instead."""

from __future__ import annotations

from freehold.core.errors import BadData
from freehold.data.messages import ROLES
from freehold.data.names import plain
from freehold.data.profile import is_messages
from freehold.data.table import Table
from freehold.data.values import parsed

_LOOKED_AT = 200


def refuse_single_messages(table: Table) -> None:
    """Raises BadData where each row is one message of a conversation that spans several rows."""
    role = next((column for column in table.columns if plain(column) in ("role", "speaker")), None)
    if role is None or _holds_chats(table):
        return
    said = dict.fromkeys(str(row.fields.get(role)).strip() for row in table.rows)
    if len(said) > 1 and all(name.casefold() in ROLES for name in said):
        raise BadData(
            f'{table.name}: each row is one message of a conversation (column "{role}" holds '
            f"{' and '.join(said)}), so no row holds a question and its answer",
            'write each conversation as one row: {"messages": [{"role": ..., "content": ...}, ...]}; '
            "to classify single messages, pass --columns text=COLUMN,label=COLUMN",
        )


def _holds_chats(table: Table) -> bool:
    rows = table.rows[:_LOOKED_AT]
    return any(is_messages(parsed(value)) for row in rows for value in row.fields.values())


def refuse_whole_annotations(table: Table) -> None:
    """Raises BadData for the full export of Label Studio, whose labels lie deep in lists of results."""
    cells = [parsed(row.fields.get("annotations")) for row in table.rows[:_LOOKED_AT]]
    items = [item for cell in cells if isinstance(cell, list) for item in cell]
    if items and all(isinstance(item, dict) and "result" in item for item in items):
        raise BadData(
            f'{table.name}: the labels lie in lists of results (column "annotations"), as Label Studio '
            "exports them in full",
            "export as CSV or JSON-MIN there, which have a column for each label",
        )
