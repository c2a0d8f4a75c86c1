"""Whether the first record of a table names its columns."""

from __future__ import annotations

import pytest

from freehold.data.header import has_header, made_up_names, no_header_note


@pytest.mark.parametrize(
    "records",
    [
        [["text", "label"], ["card is lost", "card"]],
        [["Text ", "LABEL"], ["a", "b"], ["c", "b"]],
        [["frage", "antwort"], ["wie viel?", "drei"]],
        [["text", "label"]],
        [["a", "b"], ["a", "b"]],
        [["id", "x"], ["1", "2"], ["id", "3"]] + [["4", "5"]] * 30,
    ],
)
def test_a_header_is_seen(records: list[list[str]]) -> None:
    assert has_header(records)


@pytest.mark.parametrize(
    "records",
    [
        [["card is lost", "card"], ["pin is wrong", "pin"], ["card is late", "card"]],
        [["12", "a"], ["13", "b"]],
        [["2026-01-31", "a"], ["2026-02-01", "b"]],
        [["1,234.50", "a"], ["2", "b"]],
        [["12%", "a"], ["2", "b"]],
        [["line\nline", "a"], ["b", "c"]],
        [["x" * 300, "a"], ["b", "c"]],
        [["nice", "label"]] + [["good", "label"]] * 3,
    ],
)
def test_a_row_is_no_header(records: list[list[str]]) -> None:
    assert not has_header(records)


def test_two_usual_names_are_a_header_whatever_the_rows_hold() -> None:
    assert has_header([["label", "text"], ["label", "text"], ["label", "x"], ["1", "2"]])


def test_rows_that_are_shorter_than_the_first_do_not_matter() -> None:
    assert has_header([["text", "label", "more"], ["a"], ["b", "c"]])


def test_columns_without_names_get_numbers_and_a_note_says_so() -> None:
    names = made_up_names(3)
    assert names == ["column_1", "column_2", "column_3"]
    assert "column_1 to column_3" in no_header_note(names)
