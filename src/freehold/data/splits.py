"""Three splits that do not leak into each other and hold every label where its rows allow.

Rows are ordered by the hash of what they hold, so the same file is split alike on every machine and in any
order. Near-duplicates (:mod:`freehold.data.duplicates`) stay together. Each label gives its share to every
split, a rare one to training first, then to the test rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from freehold.data.duplicates import SIMILAR, compared_text, group, similar_pairs
from freehold.data.examples import Example
from freehold.errors import BadData

FEWEST_TEST_ROWS = 20
_TEST_SHARE, _VALID_SHARE = 0.2, 0.1
#: Small files give up to this share for testing, so that :data:`FEWEST_TEST_ROWS` are reached.
_MOST_TEST_SHARE = 0.4
#: Without tuning, what examples in prompts, labels and baselines are taken from.
_KNOWN_SHARE, _FEWEST_KNOWN = 0.3, 8
#: Values of which more than this share of the rows have one of their own are not labels to split by.
_MOST_SINGLE = 0.5


@dataclass(frozen=True)
class Splits:
    """Train, valid and test rows, and pairs (training or validation row id, test row id, similarity) that
    leak.

    ``notes``: sentences on how near-duplicates were told. ``similar``: the similarity they were told by.
    """

    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    test: tuple[Example, ...]
    leaks: tuple[tuple[str, str, float], ...]
    repeats: int
    notes: tuple[str, ...] = ()
    similar: float = SIMILAR

    @property
    def leaked_test_ids(self) -> frozenset[str]:
        """Test rows that have a near-duplicate in training or validation."""
        return frozenset(test for _, test, _ in self.leaks)


@dataclass(frozen=True)
class _Group:
    """Rows that stay together. ``key`` orders groups; ``label`` is the one that most of its rows have."""

    key: str
    label: str
    rows: tuple[Example, ...]


@dataclass
class _Parts:
    """The rows of each split while they are dealt out."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]


def split(
    train: Sequence[Example],
    valid: Sequence[Example] | None,
    test: Sequence[Example] | None,
    *,
    tune: bool = True,
) -> Splits:
    """Take the given splits, and cut the missing ones off the training rows. Raises BadData when a split
    stays too small.

    Without tuning most rows are test rows; the others hold every label where possible, and validation rows
    are cut off only to be tuned with.
    """
    repeats, notes, similar = 0, (), SIMILAR
    given = len(train)
    if (valid is None and tune) or test is None:
        unique = list({example.digest: example for example in train}.values())
        repeats = given - len(unique)
        shares = _shares(len(unique), valid is None, test is None, tune)
        parts, similar, notes = _cut(unique, *shares)
        train = parts.train
        valid = parts.valid if valid is None else valid
        test = parts.test if test is None else test
    valid = valid or []
    if len(test) < FEWEST_TEST_ROWS:
        raise _too_small(len(train), len(valid), len(test), repeats)
    leaks = find_leaks([*train, *valid], test, similar)
    return Splits(tuple(train), tuple(valid), tuple(test), tuple(leaks), repeats, notes, similar)


def cut_validation(
    examples: Sequence[Example], share: float = _VALID_SHARE
) -> tuple[list[Example], list[Example]]:
    """(training, validation) rows: each once, near-duplicates together, labels in both. Raises BadData."""
    unique = list({example.digest: example for example in examples}.values())
    parts, _, _ = _cut(unique, share, 0.0)
    if not parts.train or not parts.valid:
        raise BadData(
            f"{len(unique)} different rows are too few to keep some for validation",
            "Add rows, or pass a file of validation rows with --valid",
        )
    return parts.train, parts.valid


def find_leaks(
    known: Sequence[Example], test: Sequence[Example], similar: float = SIMILAR
) -> list[tuple[str, str, float]]:
    """Triples (known id, test id, similarity) of rows at least ``similar`` alike; the closest known row per
    test row.
    """
    texts = [compared_text(example) for example in [*known, *test]]
    best: dict[int, tuple[str, str, float]] = {}
    for first, second, alike in similar_pairs(texts, boundary=len(known), similar=similar):
        if second not in best or best[second][2] < alike:
            best[second] = (known[first].id, test[second - len(known)].id, round(alike, 3))
    return sorted(best.values(), key=lambda leak: (-leak[2], leak[1]))


def _shares(rows: int, cut_valid: bool, cut_test: bool, tune: bool) -> tuple[float, float]:
    """(validation, test) shares of the rows to cut."""
    if not tune:
        known = max(_KNOWN_SHARE, min(1.0, _FEWEST_KNOWN / max(rows, 1)))
        return 0.0, 1.0 - known if cut_test else 0.0
    small = min(_MOST_TEST_SHARE, (FEWEST_TEST_ROWS + 1) / max(rows, 1))
    return _VALID_SHARE if cut_valid else 0.0, max(_TEST_SHARE, small) if cut_test else 0.0


def _too_small(train: int, valid: int, test: int, repeats: int) -> BadData:
    left_out = f"; {repeats} repeated rows are left out" if repeats else ""
    rows = f"of {train + valid + test} different rows, {train} are for training and {valid} for validation"
    return BadData(
        f"the test split has {test} row{'' if test == 1 else 's'} ({rows}{left_out}); "
        f"at least {FEWEST_TEST_ROWS} are needed for a result",
        "Add rows until there are about 60 different ones, or pass test rows with --test",
    )


def _cut(examples: list[Example], valid: float, test: float) -> tuple[_Parts, float, tuple[str, ...]]:
    """(the parts, the similarity of near-duplicates, notes)."""
    numbers = group([compared_text(example) for example in examples])
    members: dict[int, list[Example]] = defaultdict(list)
    for example, number in zip(examples, numbers.of, strict=True):
        members[number].append(example)
    labels = _labels(examples)
    if test:
        _check_largest(list(members.values()), len(examples))
    groups = [_grouped(rows, labels) for rows in _without_giants(members, len(examples))]
    strata: dict[str, list[_Group]] = defaultdict(list)
    for each in sorted(groups, key=lambda group: group.key):
        strata[each.label].append(each)
    notes = ()
    if numbers.similar > SIMILAR:
        notes = (
            f"The rows are very alike, so rows count as near-duplicates only where {numbers.similar:.0%} of "
            f"their word pairs are equal; at {SIMILAR:.0%}, more than half of them would be one group.",
        )
    return _dealt(list(strata.values()), valid, test), numbers.similar, notes


def _labels(examples: list[Example]) -> dict[str, str]:
    """Digest -> label; nothing where values are not repeated, as with numbers."""
    labels = {example.digest: example.reference.get("label", "") for example in examples}
    counts = Counter(labels.values())
    single = sum(counts[label] == 1 for label in labels.values())
    return labels if single <= _MOST_SINGLE * len(examples) else {}


def _grouped(rows: list[Example], labels: dict[str, str]) -> _Group:
    digests = [row.digest for row in rows]
    counts = Counter(labels.get(digest, "") for digest in digests)
    label = min(counts, key=lambda each: (-counts[each], each))
    return _Group(hashlib.sha256(min(digests).encode()).hexdigest(), label, tuple(rows))


def _check_largest(groups: list[list[Example]], rows: int) -> None:
    """Raises BadData where a test split is pointless: most rows ask the same."""
    largest = max(groups, key=len, default=[])
    if rows >= 4 and len(largest) * 2 > rows:
        raise BadData(
            f"{len(largest)} of {rows} different rows have the same question "
            f"(for example {largest[0].id} and {largest[1].id}), "
            "so training and test rows cannot be separated",
            "Check which column is the question (--columns), or pass test rows with --test",
        )


def _without_giants(members: dict[int, list[Example]], rows: int) -> list[list[Example]]:
    """Groups, where one of more than half of the rows is taken apart: nothing could be cut off otherwise."""
    groups: list[list[Example]] = []
    for group_rows in members.values():
        groups += [[row] for row in group_rows] if len(group_rows) * 2 > rows else [group_rows]
    return groups


def _dealt(strata: list[list[_Group]], valid: float, test: float) -> _Parts:
    """Each label's groups to the splits; what rounding owes a split is carried from label to label."""
    parts = _Parts([], [], [])
    owed_test = owed_valid = 0.0
    for groups in sorted(strata, key=lambda groups: groups[0].key):
        size = sum(len(each.rows) for each in groups)
        wanted_test, wanted_valid = size * test + owed_test, size * valid + owed_valid
        rest = groups
        if len(groups) == 2 and wanted_valid > wanted_test:
            rest, for_valid = _taken(groups, max(1.0, wanted_valid))
            for_test: list[_Group] = []
        else:
            rest, for_test = _taken(rest, max(1.0, wanted_test) if test else 0.0)
            rest, for_valid = _taken(rest, wanted_valid)
        for target, chosen in ((parts.train, rest), (parts.valid, for_valid), (parts.test, for_test)):
            target += [row for each in chosen for row in each.rows]
        owed_test = max(-1.0, min(1.0, wanted_test - sum(len(each.rows) for each in for_test)))
        owed_valid = max(-1.0, min(1.0, wanted_valid - sum(len(each.rows) for each in for_valid)))
    return parts


def _taken(groups: list[_Group], rows: float) -> tuple[list[_Group], list[_Group]]:
    """(the rest, groups that together hold about ``rows`` rows); one group is always left."""
    taken: list[_Group] = []
    count = 0
    for each in groups:
        if len(taken) + 1 < len(groups) and count + len(each.rows) / 2 <= rows:
            taken.append(each)
            count += len(each.rows)
    if not taken and rows >= 1 and len(groups) > 1:
        taken = [min(groups, key=lambda each: (len(each.rows), each.key))]
    chosen = {each.key for each in taken}
    return [each for each in groups if each.key not in chosen], taken
