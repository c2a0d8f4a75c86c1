"""Which pairs of rows are worth comparing, among many.

Rows whose words are equal but for one or two share the hash of what is left without them. Rows that are
longer, or differ in more, share runs of letters, which MinHash with banding (Broder 1997) finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

#: Whether rows lie before the boundary, and whether some lie behind it.
Sides = tuple[bool, bool]
#: How alike two rows are, 0 for not alike.
Alike = Callable[[int, int], float]

#: Rows of so many words, from and to, are also sought without each one of them, and without each two.
_WITHOUT_ONE, _WITHOUT_TWO = (3, 24), (6, 12)
#: In a bucket each row is compared with so many, those before the boundary first.
_LEADERS = 32
#: So many rows with the same words but one or two make their place one that rows fill differently.
_SLOT = 3
_BANDS, _ROWS_PER_BAND, _GRAM = 24, 3, 4
#: Comparisons in vain after which a row is compared no more; half of it for one of so many letters.
_MOST_IN_VAIN, _LONG_TEXT = 40, 1000
_BLOCK = 1 << 18


class Frames:
    """Rows as sums of their words' hashes, with one and two words left out."""

    def __init__(self, rows: Sequence[np.ndarray]) -> None:
        self._rows = rows
        self._sums = np.array([row.sum(dtype=np.uint64) for row in rows], dtype=np.uint64)
        parts = [self._without(row_numbers, size) for size, row_numbers in _by_size(rows)]
        keys = np.concatenate([key for key, _ in parts]) if parts else np.zeros(0, np.uint64)
        owners = np.concatenate([owner for _, owner in parts]) if parts else np.zeros(0, np.int64)
        unique = np.unique(np.stack([keys, owners.astype(np.uint64)]), axis=1)
        self._keys, self._owners = unique[0], unique[1].astype(np.int64)

    def _without(self, numbers: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(keys, the rows they are of) of rows of the same number of words."""
        sums = self._sums[numbers]
        keys = [sums]
        if _WITHOUT_ONE[0] <= size <= _WITHOUT_ONE[1]:
            words = np.stack([self._rows[number] for number in numbers])
            keys += [sums - words[:, column] for column in range(size)]
            if _WITHOUT_TWO[0] <= size <= _WITHOUT_TWO[1]:
                keys += [sums - words[:, a] - words[:, b] for a, b in combinations(range(size), 2)]
        return np.concatenate(keys), np.tile(numbers, len(keys))

    def is_slot(self, row: int, words: Sequence[int]) -> bool:
        """Whether many rows are this one but for these words."""
        key = np.array([*words], dtype=np.uint64).sum(dtype=np.uint64, keepdims=True)
        key = self._sums[row : row + 1] - key
        start, end = (np.searchsorted(self._keys, key, side=side)[0] for side in ("left", "right"))
        return bool(end - start >= _SLOT)

    def buckets(self) -> Iterator[np.ndarray]:
        """Rows that are equal but for one or two words, the smallest buckets first."""
        yield from _runs(self._keys, self._owners)


def _by_size(rows: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    sizes = np.array([len(row) for row in rows])
    for size in np.unique(sizes):
        yield int(size), np.flatnonzero(sizes == size)


def _runs(keys: np.ndarray, owners: np.ndarray) -> Iterator[np.ndarray]:
    """The owners of each key that several have, the smallest first; ``keys`` are sorted."""
    starts = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, int)
    )
    ends = np.concatenate([starts[1:], [len(keys)]])
    sizes = ends - starts
    for column in np.argsort(sizes, kind="stable"):
        if sizes[column] > 1:
            yield owners[starts[column] : ends[column]]


def candidates(
    frames: Frames, letters: Sequence[str], sides: Sequence[Sides], alike: Alike
) -> Iterator[tuple[int, int, float]]:
    """(row, row, likeness) of rows that ``alike`` finds alike, on both sides of the boundary."""
    seen: set[tuple[int, int]] = set()
    for buckets in (frames.buckets(), _letter_buckets(letters)):
        patience = [_MOST_IN_VAIN / (1 + len(text) / _LONG_TEXT) for text in letters]
        for members in buckets:
            yield from _in_bucket(members.tolist(), sides, alike, seen, patience)


def _in_bucket(
    members: list[int],
    sides: Sequence[Sides],
    alike: Alike,
    seen: set[tuple[int, int]],
    patience: list[float],
) -> Iterator[tuple[int, int, float]]:
    """Pairs of a bucket that are alike; in a large one each row is compared with the first few."""
    leaders: list[int] = []
    for row in sorted(members, key=lambda each: not sides[each][0]):
        for leader in leaders:
            if patience[row] <= 0:
                break
            pair = (min(leader, row), max(leader, row))
            if pair in seen or not _facing(sides[leader], sides[row]):
                continue
            seen.add(pair)
            likeness = alike(*pair)
            if likeness:
                yield (*pair, likeness)
            else:
                patience[row] -= 1
        if len(leaders) < _LEADERS:
            leaders.append(row)


def _facing(first: Sides, second: Sides) -> bool:
    return (first[0] and second[1]) or (first[1] and second[0])


# -- runs of letters ------------------------------------------------------------------------------


def _letter_buckets(texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Rows that share a band of their signature, smallest buckets first in each band."""
    signatures = _signatures(texts)
    for band in range(_BANDS):
        part = signatures[:, band * _ROWS_PER_BAND : (band + 1) * _ROWS_PER_BAND]
        keys = part[:, 0].copy()
        for column in range(1, _ROWS_PER_BAND):
            keys = keys * np.uint64(0x9E3779B97F4A7C15) ^ part[:, column]
        order = np.argsort(keys, kind="stable")
        yield from _runs(keys[order], order)


def _signatures(texts: Sequence[str]) -> np.ndarray:
    """MinHash signatures of the runs of :data:`_GRAM` letters (texts, bands * rows per band)."""
    count = _BANDS * _ROWS_PER_BAND
    rng = np.random.default_rng(7)
    multiply = rng.integers(1, 1 << 31, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    add = rng.integers(0, 1 << 62, count, dtype=np.uint64)
    signatures = np.zeros((len(texts), count), dtype=np.uint64)
    for start, end in _blocks([len(text) for text in texts]):
        grams = [_grams(text) for text in texts[start:end]]
        flat = np.concatenate(grams)
        starts = np.concatenate([[0], np.cumsum([len(each) for each in grams])[:-1]])
        for column in range(count):
            mixed = flat * multiply[column] + add[column]
            signatures[start:end, column] = np.minimum.reduceat(mixed ^ (mixed >> np.uint64(29)), starts)
    return signatures


def _grams(text: str) -> np.ndarray:
    """A number for each run of letters; for the whole of a text that is shorter."""
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    size = min(_GRAM, len(letters))
    grams = np.zeros(len(letters) - size + 1, dtype=np.uint64)
    for column in range(size):
        grams = grams * np.uint64(0x100000001B3) ^ letters[column : column + len(grams)]
    return grams


def _blocks(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Ranges of texts that hold about :data:`_BLOCK` letters together."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        total += size
        if total >= _BLOCK:
            yield start, index + 1
            start, total = index + 1, 0
    if start < len(sizes):
        yield start, len(sizes)
