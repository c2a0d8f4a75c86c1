"""Whether a column can hold the labels: by the head of its name and by its values."""

from __future__ import annotations

from freehold.data import names
from freehold.data.names import Rank
from freehold.data.profile import Profile

#: Longer texts on average are not labels.
MOST_LABEL_WORDS = 8


def is_label(column: Profile, fit: Rank) -> bool:
    """Whether the values of a column whose name fits can be labels."""
    if column.kind in ("messages", "object") or (
        column.kind in ("id", "date") and (fit.tier > 0 or fit.word > 0)
    ):
        return False
    if column.kind == "text":
        few = column.rows < 6 and column.words <= 4
        return (
            fit.tier == 0 and fit.word == 0
            if column.words > MOST_LABEL_WORDS
            else few or (fit.tier < 2 and fit.word == 0)
        )
    if fit.word == 2:
        return column.kind in ("label", "boolean")
    return column.kind != "number" or fit.tier < 2 or fit.word == 0


def repeats_as_label(column: Profile) -> bool:
    """Whether the values of a column repeat as labels do, whatever its name."""
    words = names.words_of(column.column)
    if not column.repeats or any(word in names.ABOUT for word in words):
        return False
    return column.kind in ("label", "boolean") or (column.kind == "number" and column.distinct <= 10)
