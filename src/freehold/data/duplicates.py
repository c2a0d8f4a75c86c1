"""Near-duplicates among rows: what many rows share is left out, hashes find candidates, and words decide.

Compared is the whole conversation before the answer. An instruction, a system text, a template's fixed
words: whatever stands in many rows as a run of several words tells no two rows apart and is not compared.
Candidates are rows whose words are equal but for one or two (their hashes without each of them), and rows
with many runs of letters in common (MinHash with banding, Broder 1997). :mod:`freehold.data.alike` decides.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from freehold.data.alike import SIMILAR, likeness, weight, without_shared_lines
from freehold.data.candidates import Frames, Sides, candidates
from freehold.data.examples import Example
from freehold.data.small_words import without_courtesy
from freehold.data.words import names, tokens

#: Tried in this order where more than half of the rows would be one group; beyond the last only equal ones
#: are alike.
_FINER = (0.97, 0.99, 1.0)
#: A word pair is common from this share of the rows on, and a run of so many common pairs is left out.
_COMMON_SHARE, _FEWEST_ROWS, _RUN = 0.02, 10, 5
#: In few rows a smaller number counts, but at least this one and this share.
_FEW, _FEW_SHARE = 3, 0.3
#: Where less than this weight of a row is its own, the rest of it is compared too.
_LEAST_OWN = 4.0
#: Copies of rows of so many different words, and the share of them that a copy has at least.
_MANY_WORDS, _MANY_SHARED = 24, 0.7
#: Words are shared by chance where so many rows, or more, would hold them all if words were independent.
_CHANCE = 0.05
#: In fewer rows than this a word is taken for as rare as it would be among so many.
_LEAST_COUNT = 1000


@dataclass(frozen=True)
class Groups:
    """``of``: a group's number for each row. ``similar``: the similarity that made two rows one group."""

    of: tuple[int, ...]
    similar: float


def compared_text(example: Example) -> str:
    """The conversation before the answer."""
    return "\n".join(content for _, content in example.prompt)


class Rows:
    """Texts as words: ``wholes``, and ``own`` without the runs that many texts share."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._hashes: dict[str, int] = {}
        lines = [[tokens(line) for line in text.split("\n")] for text in texts]
        self.lines = [tuple(tuple(line) for line in row if line) for row in lines]
        self.names = [names(text) for text in texts]
        self.wholes = [tuple(word for line in row for word in line) for row in lines]
        pairs = [self._pairs(row) for row in lines]
        common = _common(pairs)
        self.own = [
            _kept_words(words, row, _distinctive(hashes, common))
            for words, row, hashes in zip(self.wholes, lines, pairs, strict=True)
        ]

    def hashes(self, words: Sequence[str]) -> list[int]:
        """A 64-bit number for each word."""
        return [self._hash(word) for word in words]

    def _pairs(self, lines: list[list[str]]) -> np.ndarray:
        """The hashes of neighbouring words of each line, in order; of a word that is alone in its line."""
        return np.concatenate([self._line(words) for words in lines])

    def _line(self, words: list[str]) -> np.ndarray:
        hashes = np.array(self.hashes(words), dtype=np.uint64)
        if len(hashes) < 2:
            return hashes
        return hashes[:-1] * np.uint64(0x9E3779B97F4A7C15) ^ (hashes[1:] >> np.uint64(1))

    def _hash(self, word: str) -> int:
        known = self._hashes.get(word)
        if known is None:
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known = self._hashes[word] = int.from_bytes(digest, "big")
        return known


def _common(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(the word pairs that many rows hold, sorted; how many rows hold each)."""
    few = max(_FEW, int(np.ceil(len(rows) * _FEW_SHARE)))
    fewest = max(min(_FEWEST_ROWS, few), int(len(rows) * _COMMON_SHARE))
    if len(rows) <= fewest:
        return np.array([], dtype=np.uint64), np.array([], dtype=np.int64)
    pairs, counts = np.unique(np.concatenate([np.unique(row) for row in rows]), return_counts=True)
    return pairs[counts >= fewest], counts[counts >= fewest]


def _distinctive(row: np.ndarray, common: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Which of a row's pairs are in no long run of common ones.

    Where a run goes on into words that far fewer rows hold, these are kept: they are the row's own.
    """
    pairs, counts = common
    keep = np.ones(len(row), dtype=bool)
    if len(row) < _RUN or not len(pairs):
        return keep
    at = np.minimum(np.searchsorted(pairs, row), len(pairs) - 1)
    held = np.where(pairs[at] == row, counts[at], 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], held > 0, [0]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2):
        if end - start >= _RUN:
            shared = held[start:end] * 2 >= np.median(held[start:end])
            keep[start:end] = ~shared if shared.sum() >= _RUN else True
    return keep


def _kept_words(words: tuple[str, ...], lines: list[list[str]], keep: np.ndarray) -> tuple[str, ...]:
    """The words of a row that are in a pair that is kept; all of them where none is."""
    if keep.all():
        return words
    kept_words: list[str] = []
    at = 0
    for line in lines:
        pairs = keep[at : at + max(len(line) - 1, min(len(line), 1))]
        at += len(pairs)
        if len(line) == 1:
            kept_words += line if pairs[0] else []
            continue
        kept_words += [
            word
            for position, word in enumerate(line)
            if (position and pairs[position - 1]) or (position < len(pairs) and pairs[position])
        ]
    return tuple(kept_words) or words


def similar_pairs(
    texts: Sequence[str],
    boundary: int | None = None,
    similar: float = SIMILAR,
    answers: Sequence[str] | None = None,
) -> list[tuple[int, int, float]]:
    """Index pairs that are at least ``similar`` alike; with ``boundary`` only pairs across it.

    ``answers``: the rows' answers; a word that is replaced makes another row where the label is another one.
    Of many texts that are alike, each is paired with some of the others, not with all.
    """
    pairs = _pairs(texts, boundary, answers)
    return sorted((first, second, alike) for (first, second), alike in pairs.items() if alike >= similar)


def group(texts: Sequence[str], answers: Sequence[str] | None = None) -> Groups:
    """Near-duplicates as groups, compared more finely where more than half of the rows would be one."""
    pairs = _pairs(texts, None, answers)
    of: list[int] = []
    for similar in (SIMILAR, *_FINER):
        of = joined(len(texts), [pair for pair, alike in pairs.items() if alike >= similar])
        if len(texts) < 4 or max(np.bincount(of)) * 2 <= len(texts):
            return Groups(tuple(of), similar)
    return Groups(tuple(of), 1.0)


def joined(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
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
    """Rows with the same words: ``own`` are those that not many rows share. ``labels``: their answers, where
    answers are labels.
    """

    own: tuple[str, ...]
    whole: tuple[str, ...]
    members: list[int]
    labels: set[str]
    lines: tuple[tuple[str, ...], ...]
    names: frozenset[str]

    @property
    def shortened(self) -> bool:
        """Whether so little of the row is its own that the rest counts too."""
        return len(self.own) < len(self.whole) and sum(map(weight, self.own)) < _LEAST_OWN


def _pairs(
    texts: Sequence[str], boundary: int | None, answers: Sequence[str] | None
) -> dict[tuple[int, int], float]:
    """Likeness by pair of rows that are candidates."""
    rows = Rows(texts)
    kinds = _kinds(rows, _labels(answers))
    pairs: dict[tuple[int, int], float] = {}
    for kind in kinds:
        pairs |= dict.fromkeys(_star(kind.members, boundary), 1.0)
    frames = Frames([np.array(rows.hashes(_content(kind.own)), dtype=np.uint64) for kind in kinds])
    sides = [_sides(kind.members, boundary) for kind in kinds]
    judge = _Judge(kinds, rows, frames)
    for first, second, alike in candidates(frames, ["".join(kind.own) for kind in kinds], sides, judge.alike):
        pairs |= dict.fromkeys(_across(kinds[first].members, kinds[second].members, boundary), alike)
    return pairs


def _labels(answers: Sequence[str] | None) -> list[str]:
    """The answers that several rows have, "" for the others."""
    counts = Counter(answers or ())
    return [answer if counts[answer] > 1 else "" for answer in answers or ()]


def _kinds(rows: Rows, labels: Sequence[str]) -> list[_Kind]:
    by_whole: dict[tuple[str, ...], _Kind] = {}
    for index, (words, whole) in enumerate(zip(rows.own, rows.wholes, strict=True)):
        if whole:
            kind = by_whole.get(whole)
            if kind is None:
                kind = by_whole[whole] = _Kind(words, whole, [], set(), rows.lines[index], rows.names[index])
            kind.members.append(index)
            if labels:
                kind.labels.add(labels[index])
    return list(by_whole.values())


def _content(words: Sequence[str]) -> list[str]:
    """The words of content; all words where there are hardly any."""
    content = [word for word in without_courtesy(words) if weight(word) == 1.0]
    return content if len(content) >= 2 else list(words)


class _Judge:
    """Says how alike two kinds of rows are."""

    def __init__(self, kinds: list[_Kind], rows: Rows, frames: Frames) -> None:
        self._kinds, self._rows, self._frames = kinds, rows, frames
        self._content = [frozenset(_content(kind.own)) for kind in kinds]
        self._holders = Counter(word for words in self._content for word in words)
        self._numbers = [frozenset(word for word in kind.own if word[0] == "#") for kind in kinds]

    def alike(self, first: int, second: int) -> float:
        """The likeness of two kinds; 0 where it is below :data:`SIMILAR`."""
        a, b = self._kinds[first], self._kinds[second]
        numbers, other = self._numbers[first], self._numbers[second]
        if numbers != other and numbers - other and other - numbers and len(a.own) < 60:
            return 0.0
        few = min(len(self._content[first]), len(self._content[second]))
        least = few / 2 - 1 if few < _MANY_WORDS else few * _MANY_SHARED
        if len(self._content[first] & self._content[second]) < least:
            return 0.0

        def tells(replaced: list[str], by: list[str]) -> bool:
            if replaced and by and self._another(first, second, replaced, by):
                return True
            return self._by_chance(first, second)

        if a.own == a.whole and b.own == b.whole and len(a.lines) > 1 and len(b.lines) > 1:
            alike = likeness(*without_shared_lines(a.lines, b.lines), tells)
        else:
            alike = likeness(a.own, b.own, tells)
        if alike >= SIMILAR and (a.shortened or b.shortened):
            alike = min(alike, likeness(a.whole, b.whole, tells))
        return alike if alike >= SIMILAR else 0.0

    def _another(self, first: int, second: int, replaced: list[str], by: list[str]) -> bool:
        """Whether words that stand for others make another row: a name, another label, a template's place."""
        a, b = self._kinds[first], self._kinds[second]
        if a.labels and b.labels and "" not in a.labels | b.labels and not a.labels & b.labels:
            return True
        if not a.names.isdisjoint(replaced) and not b.names.isdisjoint(by):
            return True
        return self._frames.is_slot(first, self._rows.hashes(replaced))

    def _by_chance(self, first: int, second: int) -> bool:
        """Whether rows as frequent as their words say would share these words without one being a copy."""
        shared = self._content[first] & self._content[second]
        count = max(len(self._kinds), _LEAST_COUNT)
        surprise = sum(math.log(count / self._holders[word]) for word in shared)
        return surprise < math.log(count / _CHANCE)


def _sides(members: list[int], boundary: int | None) -> Sides:
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


def _across(first: list[int], other: list[int], boundary: int | None) -> Iterator[tuple[int, int]]:
    """Pairs between two kinds of rows: their first ones, or each behind the boundary with the first before
    it.
    """
    if boundary is None:
        yield (min(first[0], other[0]), max(first[0], other[0]))
        return
    for known, tested in ((first, other), (other, first)):
        if known[0] < boundary:
            yield from ((known[0], index) for index in tested if index >= boundary)
