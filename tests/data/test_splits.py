"""Splits: the same for the same rows, near-duplicates together, labels in every part where rows allow."""

import random
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freehold.core.errors import BadData
from freehold.data.examples import Example
from freehold.data.splits import Splits, cut_validation, find_leaks, split

WORDS = [f"word{n}" for n in range(3000)]


def example(name: str, question: str, label: str = "") -> Example:
    return Example(
        name, (("user", question), ("assistant", label or "yes")), {"label": label} if label else {}
    )


def numbered(i: int) -> str:
    return f"the customer number {i} asks about item {i * 7} and place {i * 13} today"


def labelled(counts: dict[str, int], seed: int = 1) -> list[Example]:
    rng = random.Random(seed)
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [example(f"r{n}", " ".join(rng.choices(WORDS, k=9)), label) for n, label in enumerate(labels)]


def sizes(parts: Splits) -> tuple[int, int, int]:
    return len(parts.train), len(parts.valid), len(parts.test)


def labels(rows: tuple[Example, ...] | list[Example]) -> Counter[str]:
    return Counter(row.reference["label"] for row in rows)


def test_the_same_rows_split_alike_in_any_order() -> None:
    rows = [example(str(i), numbered(i)) for i in range(400)]
    first, second = split(rows, None, None), split(rows[::-1], None, None)
    for part in ("train", "valid", "test"):
        assert {e.id for e in getattr(first, part)} == {e.id for e in getattr(second, part)}
    assert sizes(first) == (280, 40, 80)


def test_each_label_gives_its_share_to_every_part() -> None:
    parts = split(labelled({"a": 200, "b": 100, "c": 50}), None, None)
    assert labels(parts.train) == {"a": 140, "b": 70, "c": 35}
    assert labels(parts.valid) == {"a": 20, "b": 10, "c": 5}
    assert labels(parts.test) == {"a": 40, "b": 20, "c": 10}


def test_a_rare_label_goes_to_training_first_then_to_the_test_rows() -> None:
    parts = split(labelled({"common": 300, "three": 3, "two": 2, "one": 1}), None, None)
    assert labels(parts.train)["one"] == 1
    assert (labels(parts.train)["two"], labels(parts.test)["two"]) == (1, 1)
    assert labels(parts.train)["three"] >= 1
    assert labels(parts.test)["three"] >= 1
    assert not set(labels(parts.test)) - set(labels(parts.train))


def test_many_rare_labels_leave_rows_for_validation() -> None:
    train, valid, test = sizes(split(labelled({f"l{n}": 2 for n in range(300)}), None, None))
    assert train == 300
    assert valid >= 60
    assert test >= 120


def test_numbers_are_not_labels_to_split_by() -> None:
    rng = random.Random(5)
    rows = [example(f"r{n}", " ".join(rng.choices(WORDS, k=9)), f"{rng.random():.4f}") for n in range(300)]
    assert sizes(split(rows, None, None)) == (210, 30, 60)


def test_near_duplicates_never_part() -> None:
    rows = [
        example(f"{i}{v}", f"{numbered(i)} {'please' if v else ''}") for i in range(200) for v in range(2)
    ]
    parts = split(rows, None, None)
    assert parts.leaks == ()
    assert sum(sizes(parts)) == 400


def test_equal_rows_are_taken_once_and_counted() -> None:
    rows = [example(str(i), numbered(i)) for i in range(100)]
    parts = split([*rows, *rows], None, None)
    assert parts.repeats == 100
    assert sum(sizes(parts)) == 100


def test_without_tuning_most_rows_are_test_rows_and_every_label_is_known() -> None:
    parts = split(labelled({"a": 100, "b": 60, "c": 4, "d": 2}), None, None, tune=False)
    assert parts.valid == ()
    assert len(parts.test) > len(parts.train)
    assert set(labels(parts.train)) == {"a", "b", "c", "d"}
    assert set(labels(parts.test)) == {"a", "b", "c", "d"}


def test_given_parts_are_taken_as_they_are() -> None:
    train, valid, test = (
        [example(f"{part}{i}", numbered(i + start)) for i in range(30)]
        for part, start in (("a", 0), ("b", 100), ("c", 200))
    )
    parts = split(train, valid, test)
    assert (parts.train, parts.valid, parts.test) == (tuple(train), tuple(valid), tuple(test))
    cut = split(train + [example(f"d{i}", numbered(i + 300)) for i in range(30)], None, test)
    assert sizes(cut) == (54, 6, 30)


def test_small_files_give_more_for_testing() -> None:
    train, valid, test = sizes(split([example(str(i), numbered(i)) for i in range(60)], None, None))
    assert test >= 20
    assert train >= 30
    assert valid >= 5


def test_a_leak_between_given_splits_is_found() -> None:
    train = [
        example("t1", "My card was eaten by the machine this morning, help me"),
        example("t2", "Where is the nearest branch"),
    ]
    test = [
        example("x1", "my card was eaten by the machine this morning help me!"),
        example("x2", "How do I change my address"),
    ]
    assert [(a, b) for a, b, _ in find_leaks(train, test)] == [("t1", "x1")]


def test_rows_that_share_an_instruction_do_not_leak() -> None:
    rng = random.Random(6)
    ask = "Decide which of our teams should answer the following message of a customer and name it: "
    rows = [example(str(n), ask + " ".join(rng.choices(WORDS, k=5))) for n in range(200)]
    assert split(rows[:100], rows[100:120], rows[120:]).leaks == ()
    assert sizes(split(rows, None, None)) == (140, 20, 40)


def test_too_small_a_test_split_says_what_is_there() -> None:
    rows = [example(str(i), numbered(i)) for i in range(30)]
    with pytest.raises(BadData) as caught:
        split([*rows, *rows], None, None)
    assert (
        "the test split has 12 rows (of 30 different rows, 15 are for training and 3 for validation; "
        "30 repeated rows are left out)" in str(caught.value)
    )
    with pytest.raises(BadData, match="the test split has 1 row "):
        split([example("a", numbered(1))], [], [example("b", numbered(2))])


def test_rows_that_all_ask_the_same_are_refused_with_the_column_in_doubt() -> None:
    rows = [Example(str(n), (("user", "Write a tweet"), ("assistant", f"tweet {n}"))) for n in range(100)]
    with pytest.raises(BadData, match=r"100 of 100 different rows have the same question .*--columns"):
        split(rows, None, None)
    train, valid = cut_validation(rows)  # one may still be tuned on them
    assert (len(train), len(valid)) == (90, 10)


def test_validation_rows_hold_labels_too() -> None:
    train, valid = cut_validation(labelled({"a": 100, "b": 50, "c": 30}))
    assert (len(train), len(valid)) == (162, 18)
    assert set(labels(valid)) == {"a", "b", "c"}
    with pytest.raises(BadData, match="1 different rows are too few"):
        cut_validation(labelled({"a": 1}))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 9))
def test_every_row_lands_in_one_part_and_no_test_label_is_unknown(counts: list[int], seed: int) -> None:
    rows = labelled({f"l{n}": count for n, count in enumerate(counts)}, seed)
    assume(len(rows) >= 60)
    parts = split(rows, None, None)
    assert sorted(e.id for e in (*parts.train, *parts.valid, *parts.test)) == sorted(e.id for e in rows)
    assert not set(labels(parts.test)) - set(labels(parts.train))
    repeated = {label for label, count in labels(rows).items() if count > 2}
    assert repeated <= set(labels(parts.train))
    assert repeated <= set(labels(parts.test))
