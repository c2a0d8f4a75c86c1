"""Near-duplicates among rows: what many rows share is left out, then MinHash finds candidates and Jaccard
decides.

Compared is the whole conversation before the answer. An instruction, a system text, a template's fixed
words: whatever stands in many rows as a run of several words tells no two rows apart and is not compared.
Candidates come from MinHash with banding (Broder 1997); a pair counts by the exact Jaccard similarity of
what is left of both.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from freehold.data.examples import Example

#: Two rows are near-duplicates from this share of common word pairs on.
SIMILAR = 0.8
#: Tried in this order where more than half of the rows would be one group; beyond the last only equal ones
#: are alike.
_FINER = (0.9, 0.95, 1.0)
_BANDS, _ROWS_PER_BAND = 16, 4
#: A word pair is common from this share of the rows on, and a run of so many common pairs is left out.
_COMMON_SHARE, _FEWEST_ROWS, _RUN = 0.02, 10, 5
#: Within a bucket a row is compared with so many that differ from each other.
_LEADERS = 32
_BLOCK = 1 << 16

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
#: A word, a character of a script without spaces, an operator, or a sign such as an emoji.
_TOKEN = re.compile(
    rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[+*/=<>^%&|~\\]|-(?=[\s\d])"
    r"|[^\w\s\x00-\xbf\u2000-\u206f\u3000-\u303f\ufe00-\ufe0f\uff00-\uff0f]"
)


@dataclass(frozen=True)
class Groups:
    """``of``: a group's number for each row. ``similar``: the similarity that made two rows one group."""

    of: tuple[int, ...]
    similar: float


def compared_text(example: Example) -> str:
    """The conversation before the answer."""
    return "\n".join(content for _, content in example.prompt)


def tokens(text: str) -> list[str]:
    """Words in one case and normal form; characters where a script has no spaces; a text of neither as its
    own characters.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return _TOKEN.findall(text) or [character for character in text if not character.isspace()]


class Shingles:
    """Texts as sets of hashed word pairs: ``wholes``, and ``sets`` without the runs that many texts share."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words: dict[str, int] = {}
        rows = [self._pairs(text) for text in texts]
        common = _common(rows)
        self.sets = [frozenset(_distinctive(row, common).tolist()) for row in rows]
        self.wholes = [frozenset(row.tolist()) for row in rows]

    def _pairs(self, text: str) -> np.ndarray:
        """The hashes of neighbouring words of each line, in order; of a word that is alone in its line."""
        lines = [tokens(line) for line in text.split("\n")] if "\n" in text else [tokens(text)]
        return np.concatenate([self._line(words) for words in lines])

    def _line(self, words: list[str]) -> np.ndarray:
        hashes = np.array([self._hash(word) for word in words], dtype=np.uint64)
        if len(hashes) < 2:
            return hashes
        return hashes[:-1] * np.uint64(0x9E3779B97F4A7C15) ^ (hashes[1:] >> np.uint64(1))

    def _hash(self, word: str) -> int:
        known = self._words.get(word)
        if known is None:
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known = self._words[word] = int.from_bytes(digest, "big")
        return known


def _common(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(the word pairs that many rows hold, sorted; how many rows hold each)."""
    fewest = max(_FEWEST_ROWS, int(len(rows) * _COMMON_SHARE))
    if len(rows) <= fewest:
        return np.array([], dtype=np.uint64), np.array([], dtype=np.int64)
    pairs, counts = np.unique(np.concatenate([np.unique(row) for row in rows]), return_counts=True)
    return pairs[counts >= fewest], counts[counts >= fewest]


def _distinctive(row: np.ndarray, common: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A row's pairs without long runs of common ones; all of them where nothing else is left.

    Where a run goes on into words that far fewer rows hold, these are kept: they are the row's own.
    """
    pairs, counts = common
    if len(row) < _RUN or not len(pairs):
        return row
    at = np.minimum(np.searchsorted(pairs, row), len(pairs) - 1)
    held = np.where(pairs[at] == row, counts[at], 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], held > 0, [0]]).astype(np.int8)))
    keep = np.ones(len(row), dtype=bool)
    for start, end in edges.reshape(-1, 2):
        if end - start >= _RUN:
            shared = held[start:end] * 2 >= np.median(held[start:end])
            keep[start:end] = ~shared if shared.sum() >= _RUN else True
    return row[keep] if keep.any() else row


def similar_pairs(
    texts: Sequence[str], boundary: int | None = None, similar: float = SIMILAR
) -> list[tuple[int, int, float]]:
    """Index pairs with a Jaccard similarity of at least ``similar``; with ``boundary`` only pairs across it.

    Of many texts that are alike, each is paired with some of the others, not with all.
    """
    pairs = _pairs(Shingles(texts), boundary)
    return sorted((first, second, alike) for (first, second), alike in pairs.items() if alike >= similar)


def group(texts: Sequence[str]) -> Groups:
    """Near-duplicates as groups, compared more finely where more than half of the rows would be one."""
    pairs = _pairs(Shingles(texts), None)
    of: list[int] = []
    for similar in (SIMILAR, *_FINER):
        of = joined(len(texts), [pair for pair, alike in pairs.items() if alike >= similar])
        if len(texts) < 4 or max(np.bincount(of)) * 2 <= len(texts):
            return Groups(tuple(of), similar)
    return Groups(tuple(of), 1.0)


def joined(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """For each of ``count`` rows the lowest row that pairs lead to."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return [root(index) for index in range(count)]


@dataclass(frozen=True)
class _Kind:
    """Rows with the same word pairs: ``rest`` are those that not many rows share."""

    rest: frozenset[int]
    whole: frozenset[int]
    members: list[int]

    def alike(self, other: _Kind) -> float:
        """The similarity of two kinds: that of the rest, and no more than that of the whole."""
        return min(_jaccard(self.rest, other.rest), _jaccard(self.whole, other.whole))


def _pairs(shingles: Shingles, boundary: int | None) -> dict[tuple[int, int], float]:
    """Similarity by pair of rows that share a bucket."""
    pairs: dict[tuple[int, int], float] = {}
    by_whole: dict[frozenset[int], _Kind] = {}
    for index, (rest, whole) in enumerate(zip(shingles.sets, shingles.wholes, strict=True)):
        if whole:
            by_whole.setdefault(whole, _Kind(rest, whole, [])).members.append(index)
    kinds = list(by_whole.values())
    for kind in kinds:
        pairs |= dict.fromkeys(_star(kind.members, boundary), 1.0)
    for one, other in _candidates(kinds, [_sides(kind.members, boundary) for kind in kinds]):
        alike = kinds[one].alike(kinds[other])
        if alike >= SIMILAR:
            pairs |= dict.fromkeys(_across(kinds[one].members, kinds[other].members, boundary), alike)
    return pairs


def _jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def _sides(members: list[int], boundary: int | None) -> tuple[bool, bool]:
    """Whether rows lie before the boundary, and whether some lie behind it."""
    return (True, True) if boundary is None else (members[0] < boundary, members[-1] >= boundary)


def _star(members: list[int], boundary: int | None) -> Iterator[tuple[int, int]]:
    """Pairs that tie equal rows together: the first with each other one, across the boundary where there is
    one.
    """
    first = members[0]
    if boundary is None:
        yield from ((first, other) for other in members[1:])
    elif first < boundary:
        yield from ((first, other) for other in members if other >= boundary)


def _across(one: list[int], other: list[int], boundary: int | None) -> Iterator[tuple[int, int]]:
    """Pairs between two kinds of rows: their first ones, or each behind the boundary with the first before
    it.
    """
    if boundary is None:
        yield (min(one[0], other[0]), max(one[0], other[0]))
        return
    for known, tested in ((one, other), (other, one)):
        if known[0] < boundary:
            yield from ((known[0], index) for index in tested if index >= boundary)


def _candidates(kinds: list[_Kind], sides: list[tuple[bool, bool]]) -> Iterator[tuple[int, int]]:
    """Pairs of different sets that share a bucket; in a large one each with the first few that are not alike
    among each other.
    """
    signatures = _signatures([kind.rest for kind in kinds])
    seen: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        part = np.ascontiguousarray(signatures[:, band * _ROWS_PER_BAND : (band + 1) * _ROWS_PER_BAND])
        for index, row in enumerate(part):
            buckets[row.tobytes()].append(index)
        for members in buckets.values():
            for pair in _in_bucket(members, kinds, sides):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _in_bucket(
    members: list[int], kinds: list[_Kind], sides: list[tuple[bool, bool]]
) -> Iterator[tuple[int, int]]:
    """Pairs within a bucket; those before the boundary come first, as leaders."""
    leaders: list[int] = []
    for index in sorted(members, key=lambda each: not sides[each][0]):
        facing = [
            leader
            for leader in leaders
            if (sides[leader][0] and sides[index][1]) or (sides[leader][1] and sides[index][0])
        ]
        yield from ((leader, index) for leader in facing)
        few = len(leaders) < _LEADERS
        if few and (
            len(members) <= _LEADERS or all(kinds[leader].alike(kinds[index]) < SIMILAR for leader in leaders)
        ):
            leaders.append(index)


def _signatures(sets: list[frozenset[int]]) -> np.ndarray:
    """MinHash signatures (sets, bands * rows per band)."""
    count = _BANDS * _ROWS_PER_BAND
    rng = np.random.default_rng(7)
    multiply = rng.integers(1, 1 << 31, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    add = rng.integers(0, 1 << 62, count, dtype=np.uint64)
    signatures = np.zeros((len(sets), count), dtype=np.uint64)
    for start, end in _blocks([len(each) for each in sets]):
        flat = np.fromiter((pair for each in sets[start:end] for pair in each), dtype=np.uint64)
        starts = np.concatenate([[0], np.cumsum([len(each) for each in sets[start:end]])[:-1]])
        for column in range(count):
            mixed = flat * multiply[column] + add[column]
            signatures[start:end, column] = np.minimum.reduceat(mixed ^ (mixed >> np.uint64(29)), starts)
    return signatures


def _blocks(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Ranges of sets that hold about :data:`_BLOCK` elements together."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        total += size
        if total >= _BLOCK:
            yield start, index + 1
            start, total = index + 1, 0
    if start < len(sizes):
        yield start, len(sizes)
