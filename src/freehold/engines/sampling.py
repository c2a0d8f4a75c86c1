"""Drawing a token from logits."""

from __future__ import annotations

import numpy as np


def draw(logits: np.ndarray, temperature: float, top_p: float, random: np.random.Generator) -> int:
    """A token by temperature and nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751)."""
    scaled = logits.astype(np.float64) / temperature
    chance = np.exp(scaled - scaled.max())
    chance /= chance.sum()
    if top_p < 1.0:
        order = np.argsort(-chance)
        kept = order[: int(np.searchsorted(np.cumsum(chance[order]), top_p)) + 1]
        return int(random.choice(kept, p=chance[kept] / chance[kept].sum()))
    return int(random.choice(len(chance), p=chance))
