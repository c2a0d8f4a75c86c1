"""Repeated looks at the same test rows.

Each look spends a part of the error that all of them together may make.

A person who is told "not yet" measures again on the same rows and some more. Looks at growing parts of the
same rows depend on each other in a way that nobody knows beforehand, so the parts are simply added
(Bonferroni; Slud and Wei 1982): the whole never exceeds 2.5%.
"""

from __future__ import annotations

#: One-sided error of all looks together, and the first look's part of it: most trials look once.
ALL_LOOKS, FIRST_LOOK = 0.025, 0.02


def alpha_of_look(look: int) -> float:
    """One-sided error that the ``look``-th look (1, 2, ...) may make.

    2%, then half of what is left each time.

    Raises ValueError for a look below 1.
    """
    if look < 1:
        raise ValueError(f"look {look}: looks are counted from 1")
    return FIRST_LOOK if look == 1 else (ALL_LOOKS - FIRST_LOOK) / 2.0 ** (look - 1)


def level_of_look(look: int) -> float:
    """Level of the interval whose ends each err with :func:`alpha_of_look`: 0.96 at the first look."""
    return 1 - 2 * alpha_of_look(look)
