"""Rows that belong together: the column that says so, splits that keep groups whole, groups that leak."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import BadData, UsageError
from freehold.data.belonging import clusters
from freehold.data.examples import Example, RowOptions, read_dataset, read_splits
from freehold.data.grouped import dealt
from freehold.data.splits import cut_validation, find_group_leaks, split

WORDS = [f"word{n}" for n in range(3000)]


def rows_of(sizes: list[int], labels: str = "aaab", seed: int = 1) -> list[Example]:
    """Rows of groups of these sizes, each row with a label of its own choosing."""
    rng = random.Random(seed)
    rows: list[Example] = []
    for group, size in enumerate(sizes):
        for number in range(size):
            label = rng.choice(labels)
            messages = (("user", " ".join(rng.choices(WORDS, k=9))), ("assistant", label))
            rows.append(Example(f"{group}-{number}", messages, {"label": label}, f"patient {group}"))
    return rows


def write(path: Path, header: str, lines: list[str]) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def notes_of(path: Path, group: str = "") -> str:
    return " ".join(read_dataset(path, RowOptions(group=group)).notes)


LINES = [f"{n // 3},patient number {n} said {n * 7} things today,{'ab'[n % 2]}" for n in range(60)]


# -- the column -----------------------------------------------------------------------------------


def test_each_row_carries_the_value_of_the_group_column(tmp_path: Path) -> None:
    file = write(tmp_path / "notes.csv", "Patient ID,note,label", LINES)
    read = read_dataset(file, RowOptions(group="patient_id"))
    assert [example.group for example in read.examples[:4]] == ["0", "0", "0", "1"]
    assert "rows grouped by Patient ID" in str(read.mapping)
    assert "Patient ID" not in read.mapping.unused
    assert '60 rows belong to 20 groups by the column "Patient ID"' in " ".join(read.notes)


def test_an_empty_cell_is_a_group_of_its_own_and_said(tmp_path: Path) -> None:
    file = write(
        tmp_path / "notes.csv", "patient,note,label", [*LINES, ",lonely row one,a", " ,lonely row two,b"]
    )
    read = read_dataset(file, RowOptions(group="patient"))
    assert [example.group for example in read.examples[-2:]] == ["", ""]
    assert "2 rows have no value" in " ".join(read.notes)
    names = clusters(read.examples)
    assert names is not None
    assert len(set(names)) == 22


def test_an_unknown_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path / "notes.csv", "patient_id,note,label", LINES)
    with pytest.raises(BadData, match=r"no column 'patent_id'.*did you mean 'patient_id'"):
        read_dataset(file, RowOptions(group="patent_id"))


def test_a_test_file_without_the_column_is_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "patient_id,note,label", LINES)
    test = write(tmp_path / "test.csv", "note,label", [line.partition(",")[2] for line in LINES])
    with pytest.raises(BadData, match=r"test.csv has no column 'patient_id'"):
        read_splits(train, None, test, RowOptions(group="patient_id"))


def test_the_answer_is_no_group(tmp_path: Path) -> None:
    file = write(tmp_path / "notes.csv", "patient_id,note,label", LINES)
    with pytest.raises(UsageError, match="--group label: this column is the label"):
        read_dataset(file, RowOptions(group="label"))


def test_numbers_of_a_table_and_of_text_are_the_same_group(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    values = ["7", "7.0", '"7"']
    lines = [
        f'{{"patient": {value}, "text": "note {n} of {n * 3}", "label": "{"ab"[n % 2]}"}}'
        for n, value in enumerate(values * 10)
    ]
    file.write_text("\n".join(lines))
    read = read_dataset(file, RowOptions(group="patient"))
    assert {example.group for example in read.examples} == {"7"}


def test_a_field_inside_an_object_may_be_the_group(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [
        f'{{"text": "note {n} of {n * 3}", "label": "{"ab"[n % 2]}", "meta": {{"author": "w{n // 4}"}}}}'
        for n in range(24)
    ]
    file.write_text("\n".join(lines))
    read = read_dataset(file, RowOptions(group="author"))
    assert [example.group for example in read.examples[:5]] == ["w0", "w0", "w0", "w0", "w1"]


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("patient_id", True),
        ("Author", True),
        ("docId", True),
        ("thread", True),
        ("created", False),
        ("x", False),
    ],
)
def test_a_column_that_looks_like_groups_is_suggested_not_used(
    tmp_path: Path, name: str, suggested: bool
) -> None:
    file = write(tmp_path / "notes.csv", f"{name},note,label", [f"p{line}" for line in LINES])
    assert (f"pass --group {name}" in notes_of(file)) is suggested
    assert all(not example.group for example in read_dataset(file).examples)


def test_an_id_without_repeats_is_not_suggested(tmp_path: Path) -> None:
    lines = [f"{n},{line.partition(',')[2]}" for n, line in enumerate(LINES)]
    assert "--group" not in notes_of(write(tmp_path / "notes.csv", "patient_id,note,label", lines))


# -- splits ---------------------------------------------------------------------------------------


def test_no_group_is_cut_in_two_and_labels_keep_their_shares() -> None:
    rng = random.Random(2)
    rows = rows_of([rng.randint(1, 12) for _ in range(80)], "aaaabbc")
    parts = split(rows, None, None)
    groups = [{example.group for example in part} for part in (parts.train, parts.valid, parts.test)]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    every = Counter(example.answer for example in rows)
    tested = Counter(example.answer for example in parts.test)
    for label, count in every.items():
        assert tested[label] == pytest.approx(0.2 * count, abs=3)
    assert len(parts.test) == pytest.approx(0.2 * len(rows), abs=3)


def test_validation_rows_are_cut_by_groups_too() -> None:
    train, valid = cut_validation(rows_of([5] * 40))
    assert not {example.group for example in train} & {example.group for example in valid}
    assert len(valid) == 20


def test_near_duplicates_of_two_groups_stay_together() -> None:
    rows = rows_of([4] * 30)
    copy = Example(
        "copy", (("user", rows[0].question.upper()), rows[0].messages[1]), rows[0].reference, "patient 29"
    )
    parts = split([*rows, copy], None, None)
    assert not parts.leaks
    assert not parts.leaked


def test_one_group_of_most_rows_is_refused() -> None:
    with pytest.raises(BadData, match=r"80 of 120 rows belong to the same group \('patient 0'\)"):
        split(rows_of([80, *[4] * 10]), None, None)


def test_two_groups_are_too_few() -> None:
    with pytest.raises(BadData, match=r"all 80 rows belong to 2 groups"):
        split(rows_of([40, 40]), None, None)


def test_a_group_in_a_given_test_file_and_in_training_leaks() -> None:
    train, test = rows_of([5] * 10), rows_of([5] * 10, seed=2)
    test = [
        example if n < 5 else Example(example.id, example.messages, example.reference, f"other {n}")
        for n, example in enumerate(test)
    ]
    parts = split(train, [], test)
    assert {leak[2] for leak in find_group_leaks(train, test)} == {"patient 0"}
    assert [example.group for example in parts.leaked] == ["patient 0"] * 5
    assert len(parts.test) == 45


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=6, max_size=60), st.integers(0, 9))
def test_every_block_goes_to_one_split(sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    blocks = {str(n): [rng.choice("abc") for _ in range(size)] for n, size in enumerate(sizes)}
    chosen = dealt(blocks, (0.7, 0.1, 0.2))
    assert sorted(key for part in chosen for key in part) == sorted(blocks)
    assert all(chosen)
    assert dealt(dict(reversed(list(blocks.items()))), (0.7, 0.1, 0.2)) == chosen


# -- repeated rows --------------------------------------------------------------------------------


def test_repeated_rows_of_a_given_test_file_count_once() -> None:
    train, test = rows_of([1] * 40), [replace(e, group="") for e in rows_of([1] * 30, seed=3)]
    again = [
        Example(f"again {e.id}", (("user", f" {e.question}  "), e.messages[1]), e.reference) for e in test[:9]
    ]
    parts = split(train, [], [*test, *again])
    assert [example.id for example in parts.test] == [example.id for example in test]
    assert parts.test_repeats == 9
