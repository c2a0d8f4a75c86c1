"""Deals blocks of rows that belong together to splits, so that sizes and labels come out as near as they can.

Blocks go largest first, each to the split whose counts come nearest to their targets by it: for every label
and for all rows together, the squared distance from the target, divided by how many rows there are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

Block = Sequence[str]


def dealt(blocks: Mapping[str, Block], shares: Sequence[float]) -> list[list[str]]:
    """The blocks' keys for each split. ``blocks``: key -> the label of each of its rows; keys settle ties.

    ``shares`` add up to one; a split of share 0 gets nothing, every other one at least one block where there
    are enough. Earlier splits win ties.
    """
    counts = {key: Counter(labels) for key, labels in blocks.items()}
    totals = Counter(label for labels in blocks.values() for label in labels)
    dealing = _Dealing(totals, shares)
    chosen: list[list[str]] = [[] for _ in shares]
    for key in sorted(counts, key=lambda key: (-counts[key].total(), key)):
        chosen[dealing.take(counts[key])].append(key)
    _fill_empty(chosen, shares, counts)
    return chosen


class _Dealing:
    """What each split has so far, and what it should have in the end."""

    def __init__(self, totals: Counter[str], shares: Sequence[float]) -> None:
        self._totals, self._rows = totals, totals.total()
        self._shares = shares
        self._held: list[defaultdict[str, int]] = [defaultdict(int) for _ in shares]
        self._sizes = [0] * len(shares)

    def take(self, block: Counter[str]) -> int:
        """The split that a block goes to."""
        allowed = [split for split, share in enumerate(self._shares) if share > 0]
        best = min(allowed, key=lambda split: (round(self._cost(split, block), 9), split))
        for label, count in block.items():
            self._held[best][label] += count
        self._sizes[best] += block.total()
        return best

    def _cost(self, split: int, block: Counter[str]) -> float:
        """By how much the distance from the targets grows."""
        share, held = self._shares[split], self._held[split]
        size = block.total()
        cost = size * (size + 2 * (self._sizes[split] - share * self._rows)) / self._rows
        for label, count in block.items():
            total = self._totals[label]
            cost += count * (count + 2 * (held[label] - share * total)) / total
        return cost


def _fill_empty(chosen: list[list[str]], shares: Sequence[float], counts: Mapping[str, Counter[str]]) -> None:
    """A split that got nothing takes the smallest block of the one with most blocks."""
    for split, share in enumerate(shares):
        richest = max(chosen, key=len)
        if share > 0 and not chosen[split] and len(richest) > 1:
            smallest = min(richest, key=lambda key: (counts[key].total(), key))
            richest.remove(smallest)
            chosen[split].append(smallest)
