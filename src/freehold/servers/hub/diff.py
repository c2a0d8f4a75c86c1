"""What changed between two texts, line by line, in time that grows little more than their length.

Python's difflib takes the cube of the number of lines where many are alike: an hour for a file of 200 kB.
Here lines that each text has once are matched, in the longest order that both share, and what lies between
them again; what is left is shown as removed and added. Source: Bram Cohen's patience diff.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

#: How often what lies between matched lines is looked at again.
_DEPTH = 8

#: What SequenceMatcher calls an opcode: what happened, lines ``i1`` to ``i2`` of the first text, ``j1`` to
#: ``j2`` of the second.
Opcode = tuple[str, int, int, int, int]


def unified(before: Sequence[str], after: Sequence[str], old: str, new: str) -> Iterator[str]:
    """The lines of a unified difference, without ends of lines; none where the texts are equal."""
    codes = _opcodes(_matched(before, after), len(before), len(after))
    for number, group in enumerate(_Grouped(codes).get_grouped_opcodes(3)):
        if number == 0:
            yield f"--- {old}"
            yield f"+++ {new}"
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for what, i1, i2, j1, j2 in group:
            if what == "equal":
                yield from (" " + line for line in before[i1:i2])
            else:
                yield from ("-" + line for line in before[i1:i2])
                yield from ("+" + line for line in after[j1:j2])


class _Grouped(SequenceMatcher[str]):
    """Opcodes that were computed in another way, for their grouping into parts with lines around them."""

    def __init__(self, codes: list[Opcode]):
        super().__init__()
        self._codes = codes

    def get_opcodes(self) -> list[Opcode]:  # type: ignore[override]
        """See :class:`SequenceMatcher`."""
        return self._codes


def _range(start: int, end: int) -> str:
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _matched(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Lines of both texts that are the same, as pairs in order."""
    pairs: list[tuple[int, int]] = []
    left = [(0, len(before), 0, len(after), _DEPTH)]
    while left:
        i1, i2, j1, j2, depth = left.pop()
        while i1 < i2 and j1 < j2 and before[i1] == after[j1]:
            pairs.append((i1, j1))
            i1, j1 = i1 + 1, j1 + 1
        while i1 < i2 and j1 < j2 and before[i2 - 1] == after[j2 - 1]:
            i2, j2 = i2 - 1, j2 - 1
            pairs.append((i2, j2))
        anchors = _anchors(before, after, i1, i2, j1, j2) if depth and i1 < i2 and j1 < j2 else []
        if anchors:
            starts = [(i1, j1), *((i + 1, j + 1) for i, j in anchors)]
            left += [
                (*_across(start, end), depth - 1)
                for start, end in zip(starts, [*anchors, (i2, j2)], strict=True)
            ]
            pairs += anchors
    return sorted(pairs)


def _across(start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int, int, int]:
    return start[0], end[0], start[1], end[1]


def _anchors(
    before: Sequence[str], after: Sequence[str], i1: int, i2: int, j1: int, j2: int
) -> list[tuple[int, int]]:
    """Lines that each part has once: the longest run of pairs that is in order in both."""
    ours, theirs = Counter(before[i1:i2]), Counter(after[j1:j2])
    positions = {after[j]: j for j in range(j1, j2) if theirs[after[j]] == 1}
    pairs = [
        (i, positions[before[i]]) for i in range(i1, i2) if ours[before[i]] == 1 and before[i] in positions
    ]
    ends: list[int] = []  # the least end of a run of each length
    chain: list[int] = []  # which pair ends it
    previous: list[int] = []
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        previous.append(chain[length - 1] if length else -1)
        ends[length : length + 1], chain[length : length + 1] = [j], [number]
    run: list[tuple[int, int]] = []
    at = chain[-1] if chain else -1
    while at >= 0:
        run.append(pairs[at])
        at = previous[at]
    return run[::-1]


def _opcodes(pairs: list[tuple[int, int]], before: int, after: int) -> list[Opcode]:
    codes: list[Opcode] = []
    i = j = 0
    for at_i, at_j in [*pairs, (before, after)]:
        if i < at_i or j < at_j:
            what = "delete" if j == at_j else "insert" if i == at_i else "replace"
            codes.append((what, i, at_i, j, at_j))
        if at_i == before and at_j == after:
            break
        if codes and codes[-1][0] == "equal":
            _, i1, _, j1, _ = codes.pop()
            codes.append(("equal", i1, at_i + 1, j1, at_j + 1))
        else:
            codes.append(("equal", at_i, at_i + 1, at_j, at_j + 1))
        i, j = at_i + 1, at_j + 1
    return codes
