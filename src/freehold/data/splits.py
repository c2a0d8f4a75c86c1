"""Three splits that do not leak into each other.

Rows are split by the hash of their content, so the same row lands in the same split on every
machine. Near-duplicates are found by MinHash with banding (Broder 1997) and confirmed by the exact
Jaccard similarity of word pairs; where Freehold splits, near-duplicates stay together.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freehold.data.examples import Example
from freehold.errors import BadData

SIMILAR = 0.8
_BANDS, _ROWS_PER_BAND = 16, 4
FEWEST_TEST_ROWS = 20


@dataclass(frozen=True)
class Splits:
    """Train, valid and test rows, and pairs (training or validation row id, test row id, similarity) that leak."""

    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    test: tuple[Example, ...]
    leaks: tuple[tuple[str, str, float], ...]
    repeats: int

    @property
    def leaked_test_ids(self) -> frozenset[str]:
        """Test rows that have a near-duplicate in training or validation."""
        return frozenset(test for _, test, _ in self.leaks)


def split(train: Sequence[Example], valid: Sequence[Example] | None, test: Sequence[Example] | None, *, tune: bool = True) -> Splits:
    """Take the given splits, and cut the missing ones off the training rows. Raises BadData when a split stays too small.

    Without tuning every row but eight (for few-shot prompts) is a test row.
    """
    repeats = 0
    if valid is None or test is None:
        unique = list({example.digest: example for example in train}.values())
        repeats = len(train) - len(unique)
        wanted_test = 0.0 if test is not None else 0.2
        wanted_valid = 0.0 if valid is not None else 0.1
        if not tune and test is None:
            order = sorted(unique, key=lambda example: example.digest)
            train, valid, test = order[:8], [], order[8:]
        else:
            parts = _by_hash(unique, wanted_valid, wanted_test)
            train = parts[0]
            valid = parts[1] if valid is None else valid
            test = parts[2] if test is None else test
    if len(test) < FEWEST_TEST_ROWS:
        raise BadData(f"the test split has {len(test)} rows; fewer than {FEWEST_TEST_ROWS} can decide nothing", "add rows, or give more with --test")
    leaks = find_leaks([*train, *valid], test)
    return Splits(tuple(train), tuple(valid), tuple(test), tuple(leaks), repeats)


def cut_validation(examples: Sequence[Example], share: float = 0.1) -> tuple[list[Example], list[Example]]:
    """(training, validation) rows: each row once, near-duplicates together, by the hash of what they hold. Raises BadData."""
    unique = list({example.digest: example for example in examples}.values())
    train, valid, _ = _by_hash(unique, share, 0.0)
    if not train or not valid:
        raise BadData(f"{len(unique)} different rows are too few to keep some for validation", "add rows, or give some with --valid")
    return train, valid


def _by_hash(examples: list[Example], valid: float, test: float) -> tuple[list[Example], list[Example], list[Example]]:
    """Groups of near-duplicates go where the hash of their first member says."""
    texts = [example.question for example in examples]
    parent = list(range(len(examples)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second, _ in similar_pairs(texts):
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    key: dict[int, str] = {}
    for index, example in enumerate(examples):
        key[root(index)] = min(key.get(root(index), "g"), example.digest)
    parts: tuple[list[Example], list[Example], list[Example]] = ([], [], [])
    for index, example in enumerate(examples):
        at = int(hashlib.sha256(key[root(index)].encode()).hexdigest()[:12], 16) / 16**12
        parts[2 if at < test else 1 if at < test + valid else 0].append(example)
    return parts


def find_leaks(known: Sequence[Example], test: Sequence[Example]) -> list[tuple[str, str, float]]:
    """Pairs (known id, test id, similarity) of questions at least :data:`SIMILAR` alike; the closest known row per test row."""
    texts = [example.question for example in [*known, *test]]
    best: dict[str, tuple[str, str, float]] = {}
    for first, second, similarity in similar_pairs(texts, boundary=len(known)):
        pair = (known[first].id, test[second - len(known)].id, round(similarity, 3))
        if pair[1] not in best or best[pair[1]][2] < similarity:
            best[pair[1]] = pair
    return sorted(best.values(), key=lambda pair: (-pair[2], pair[1]))


def shingles(text: str) -> frozenset[str]:
    """Pairs of neighbouring words in lower case; the words themselves if there are fewer than three."""
    words = re.findall(r"\w+", text.lower())
    return frozenset(itertools.pairwise(words)) if len(words) > 2 else frozenset(words)  # type: ignore[arg-type]


def similar_pairs(texts: Sequence[str], boundary: int | None = None) -> list[tuple[int, int, float]]:
    """Index pairs with Jaccard similarity of at least :data:`SIMILAR`; with ``boundary`` only pairs across it."""
    sets = [shingles(text) for text in texts]
    signatures = _signatures(sets)
    found: dict[tuple[int, int], float] = {}
    for band in range(_BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        part = np.ascontiguousarray(signatures[:, band * _ROWS_PER_BAND : (band + 1) * _ROWS_PER_BAND])
        for index, row in enumerate(part):
            if sets[index]:
                buckets[row.tobytes()].append(index)
        for members in buckets.values():
            for place, first in enumerate(members[:-1]):
                for second in members[place + 1 :]:
                    if (boundary is not None and not first < boundary <= second) or (first, second) in found:
                        continue
                    shared = len(sets[first] & sets[second])
                    found[first, second] = shared / (len(sets[first]) + len(sets[second]) - shared)
    return [(first, second, similarity) for (first, second), similarity in sorted(found.items()) if similarity >= SIMILAR]


def _signatures(sets: list[frozenset[str]]) -> np.ndarray:
    """MinHash signatures (rows, bands * rows per band)."""
    count = _BANDS * _ROWS_PER_BAND
    random = np.random.default_rng(7)
    multiply = random.integers(1, 1 << 31, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    add = random.integers(0, 1 << 62, count, dtype=np.uint64)
    out = np.zeros((len(sets), count), dtype=np.uint64)
    hashes: dict[object, int] = {}
    for index, members in enumerate(sets):
        if members:
            known = np.array(
                [hashes.setdefault(m, int.from_bytes(hashlib.blake2b(repr(m).encode(), digest_size=8).digest(), "big")) for m in members],
                dtype=np.uint64,
            )
            mixed = known[:, None] * multiply[None] + add[None]
            out[index] = (mixed ^ (mixed >> np.uint64(29))).min(axis=0)
    return out
