"""Counts in sentences: ``1 row has``, ``2 rows have``."""

from __future__ import annotations

import re

_CHOICE = re.compile(r"\[([^\[\]|]*)\|([^\[\]|]*)\]")


def counted(count: int, one: str, many: str = "") -> str:
    """The count with its noun; ``many``: the plural, with its verb where ``one`` has it; by default with
    s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def agreeing(template: str, count: int) -> str:
    """The template with ``{n}`` as the count, and of each ``[one|many]`` the form that agrees with it."""
    chosen = _CHOICE.sub(lambda match: match[1 if count == 1 else 2], template)
    return chosen.replace("{n}", f"{count:,}")
