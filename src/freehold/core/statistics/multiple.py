"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm 1979), in the order given.

    The chance of one false claim is at most the level.
    """
    from statsmodels.stats.multitest import multipletests

    if not len(p_values):
        return []
    _, corrected, *_ = multipletests(np.asarray(p_values, dtype=float), method="holm")
    return np.asarray(corrected).tolist()
