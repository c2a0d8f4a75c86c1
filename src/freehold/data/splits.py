"""Three splits that do not leak into each other and hold every label where its rows allow.

Rows are ordered by the hash of what they hold, so the same file is split alike on every machine and in any
order. Near-duplicates (:mod:`freehold.data.duplicates`) and rows of one group stay together. Each label gives
its share to every split, a rare one to training first, then to the test rows. Test rows that have a
near-duplicate, or a row of their group, among the rows that are learnt from are leaks and do not judge.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from freehold.core.errors import BadData
from freehold.core.wording import counted
from freehold.data import grouped
from freehold.data.alike import SIMILAR
from freehold.data.duplicates import compared_text, group, joined, similar_pairs
from freehold.data.examples import Example

FEWEST_TEST_ROWS = 20
_TEST_SHARE, _VALID_SHARE = 0.2, 0.1
#: Small files give up to this share for testing, so that :data:`FEWEST_TEST_ROWS` are reached.
_MOST_TEST_SHARE = 0.4
#: Without tuning, what examples in prompts, labels and baselines are taken from.
_KNOWN_SHARE, _FEWEST_KNOWN = 0.3, 8
#: Groups that a split needs, and the share of the rows that near-duplicates may make one block of groups.
_FEWEST_BLOCKS, _MOST_BLOCK = 3, 0.1
#: Values of which more than this share of the rows have one of their own are not labels to split by.
_MOST_SINGLE = 0.5


@dataclass(frozen=True)
class Splits:
    """Train, valid and test rows. ``test`` are the rows that judge; ``leaked`` are test rows that do not.

    ``leaks``: (training or validation row id, test row id, similarity). ``group_leaks``: (training or
    validation row id, test row id, their group). ``repeats``: repeated rows left out of the rows that were
    split, ``test_repeats``: of a given test file. ``notes``: sentences on how near-duplicates were told.
    ``similar``: the similarity they were told by.
    """

    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    test: tuple[Example, ...]
    leaks: tuple[tuple[str, str, float], ...]
    repeats: int
    notes: tuple[str, ...] = ()
    similar: float = SIMILAR
    leaked: tuple[Example, ...] = ()
    group_leaks: tuple[tuple[str, str, str], ...] = ()
    test_repeats: int = 0

    @property
    def leaked_test_ids(self) -> frozenset[str]:
        """Test rows that have a near-duplicate or a row of their group in training or validation."""
        return frozenset(leak[1] for leak in (*self.leaks, *self.group_leaks))

    def judging(self) -> Splits:
        """The same splits, with the test rows that leak moved to ``leaked``."""
        gone = self.leaked_test_ids
        leaked = (*self.leaked, *(example for example in self.test if example.id in gone))
        clean = tuple(example for example in self.test if example.id not in gone)
        return replace(self, test=clean, leaked=leaked) if len(clean) < len(self.test) else self


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
    are cut off only to be tuned with. Repeated rows of given validation and test rows count once.
    """
    cut = (valid is None and tune) or test is None
    given_valid, valid_repeats = different(valid or [])
    given_test, test_repeats = different(test or [])
    repeats, notes, similar = 0, (), SIMILAR
    parts = _Parts(list(train), given_valid, given_test)
    if cut:
        unique, repeats = different(train)
        shares = _shares(len(unique), valid is None, test is None, tune)
        parts, similar, notes = _cut(unique, *shares)
        parts.valid = parts.valid if valid is None else given_valid
        parts.test = parts.test if test is None else given_test
    if len(parts.test) < FEWEST_TEST_ROWS:
        raise _too_small(parts, repeats + test_repeats)
    if valid_repeats:
        notes = (
            *notes,
            (
                f"{counted(valid_repeats, 'repeated validation row is', 'repeated validation rows are')} left"
                " out."
            ),
        )
    known = [*parts.train, *parts.valid]
    return Splits(
        tuple(parts.train),
        tuple(parts.valid),
        tuple(parts.test),
        tuple(find_leaks(known, parts.test, similar)),
        repeats,
        notes,
        similar,
        (),
        tuple(find_group_leaks(known, parts.test)),
        test_repeats,
    ).judging()


def different(examples: Sequence[Example]) -> tuple[list[Example], int]:
    """(each row once, how many repeat an earlier one's prompt and answer; white space does not count)."""
    unique: dict[tuple[tuple[str, str], ...], Example] = {}
    for example in examples:
        unique.setdefault(_content(example), example)
    return list(unique.values()), len(examples) - len(unique)


def _content(example: Example) -> tuple[tuple[str, str], ...]:
    return tuple((role, " ".join(content.split())) for role, content in example.messages)


def cut_validation(
    examples: Sequence[Example], share: float = _VALID_SHARE
) -> tuple[list[Example], list[Example]]:
    """(training, validation) rows: each once, near-duplicates together, labels in both. Raises BadData."""
    unique, _ = different(examples)
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
    rows = [*known, *test]
    texts, answers = [compared_text(example) for example in rows], [example.answer for example in rows]
    best: dict[int, tuple[str, str, float]] = {}
    for first, second, alike in similar_pairs(texts, len(known), similar, answers):
        if second not in best or best[second][2] < alike:
            best[second] = (known[first].id, test[second - len(known)].id, round(alike, 3))
    return sorted(best.values(), key=lambda leak: (-leak[2], leak[1]))


def find_group_leaks(known: Sequence[Example], test: Sequence[Example]) -> list[tuple[str, str, str]]:
    """Triples (known id, test id, group) for test rows whose group has a known row."""
    first = {example.group: example.id for example in reversed(known) if example.group}
    return [(first[example.group], example.id, example.group) for example in test if example.group in first]


def _shares(rows: int, cut_valid: bool, cut_test: bool, tune: bool) -> tuple[float, float]:
    """(validation, test) shares of the rows to cut."""
    if not tune:
        known = max(_KNOWN_SHARE, min(1.0, _FEWEST_KNOWN / max(rows, 1)))
        return 0.0, 1.0 - known if cut_test else 0.0
    small = min(_MOST_TEST_SHARE, (FEWEST_TEST_ROWS + 1) / max(rows, 1))
    return _VALID_SHARE if cut_valid else 0.0, max(_TEST_SHARE, small) if cut_test else 0.0


def _too_small(parts: _Parts, repeats: int) -> BadData:
    train, valid, test = len(parts.train), len(parts.valid), len(parts.test)
    left_out = f"; {counted(repeats, 'repeated row is', 'repeated rows are')} left out" if repeats else ""
    rows = f"of {train + valid + test} different rows, {train} are for training and {valid} for validation"
    return BadData(
        f"the test split has {counted(test, 'row')} ({rows}{left_out}); "
        f"at least {FEWEST_TEST_ROWS} are needed for a result",
        "Add rows until there are about 60 different ones, or pass test rows with --test",
    )


def _cut(examples: list[Example], valid: float, test: float) -> tuple[_Parts, float, tuple[str, ...]]:
    """(the parts, the similarity of near-duplicates, notes)."""
    texts, answers = [compared_text(each) for each in examples], [each.answer for each in examples]
    numbers = group(texts, answers)
    notes: list[str] = []
    if numbers.similar > SIMILAR:
        notes.append(
            f"The rows are very similar, so they count as near-duplicates only from a similarity of "
            f"{numbers.similar:.0%}; at {SIMILAR:.0%}, more than half of them would be one group."
        )
    labels = _labels(examples)
    if any(example.group for example in examples):
        blocks = _blocks(examples, numbers.of, notes)
        return _dealt_blocks(blocks, labels, valid, test), numbers.similar, tuple(notes)
    members = _by_number(examples, numbers.of)
    if test:
        _check_largest(members, len(examples))
    groups = [_grouped(rows, labels) for rows in _without_giants(members, len(examples))]
    strata: dict[str, list[_Group]] = defaultdict(list)
    for each in sorted(groups, key=lambda group: group.key):
        strata[each.label].append(each)
    return _dealt(list(strata.values()), valid, test), numbers.similar, tuple(notes)


def _by_number(examples: Sequence[Example], numbers: Sequence[int]) -> list[list[Example]]:
    members: dict[int, list[Example]] = defaultdict(list)
    for example, number in zip(examples, numbers, strict=True):
        members[number].append(example)
    return list(members.values())


def _blocks(examples: list[Example], alike: Sequence[int], notes: list[str]) -> list[list[Example]]:
    """Rows of a group together, and near-duplicates of other groups with them where that leaves enough
    blocks. Raises BadData where the groups cannot be split.
    """
    first: dict[str, int] = {}
    by_group = [
        (first.setdefault(example.group, index), index)
        for index, example in enumerate(examples)
        if example.group
    ]
    blocks = _by_number(examples, joined(len(examples), by_group))
    _check_groups(blocks, len(examples))
    largest = max(map(len, blocks))
    both = _by_number(examples, joined(len(examples), [*by_group, *((n, i) for i, n in enumerate(alike))]))
    if max(map(len, both)) <= max(largest, _MOST_BLOCK * len(examples)) and len(both) >= _FEWEST_BLOCKS:
        return both
    notes.append(
        "Rows of many different groups are near-duplicates of each other, so only the groups are kept "
        "together; test rows that are near-duplicates of other rows are left out."
    )
    return blocks


def _check_groups(blocks: list[list[Example]], rows: int) -> None:
    """Raises BadData where no split keeps the groups whole."""
    largest = max(blocks, key=len)
    if len(blocks) < _FEWEST_BLOCKS:
        raise BadData(
            f"all {rows} rows belong to {counted(len(blocks), 'group')} of the --group "
            f"column; at least {_FEWEST_BLOCKS} are needed to keep groups whole",
            "add rows of other groups, or leave --group out",
        )
    if len(largest) * 2 > rows:
        raise BadData(
            f"{len(largest)} of {rows} rows belong to the same group ({largest[0].group!r}), so a split "
            "that keeps groups whole is not possible",
            "check which column --group names, add rows of other groups, or pass test rows with --test",
        )


def _dealt_blocks(blocks: list[list[Example]], labels: dict[str, str], valid: float, test: float) -> _Parts:
    by_key = {_key(rows): rows for rows in blocks}
    labels_by_key = {key: [labels.get(row.digest, "") for row in rows] for key, rows in by_key.items()}
    keys = grouped.dealt(labels_by_key, (1 - valid - test, valid, test))
    return _Parts(*([row for key in part for row in by_key[key]] for part in keys))


def _key(rows: Sequence[Example]) -> str:
    return hashlib.sha256(min(row.digest for row in rows).encode()).hexdigest()


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
    return _Group(_key(rows), label, tuple(rows))


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


def _without_giants(members: list[list[Example]], rows: int) -> list[list[Example]]:
    """Groups, where one of more than half of the rows is taken apart: nothing could be cut off otherwise."""
    groups: list[list[Example]] = []
    for group_rows in members:
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
