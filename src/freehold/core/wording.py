"""Counts in sentences (``1 row has``, ``2 rows have``), and the term that a person may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_CHOICE = re.compile(r"\[([^\[\]|]*)\|([^\[\]|]*)\]")


def counted(count: int, one: str, many: str = "") -> str:
    """The count with its noun; ``many``: the plural, with its verb where ``one`` has it; by default with
    s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def agreeing(template: str, count: int) -> str:
    """The template with ``{n}`` as the count, and of each ``[one|many]`` the form that agrees with it."""
    chosen = _CHOICE.sub(lambda match: match[1 if count == 1 else 2], template)
    return chosen.replace("{n}", f"{count:,}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean TERM? `` for the known term most like a word, a space at its end; '' where none is."""
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"did you mean {near[0]}? " if near else ""
