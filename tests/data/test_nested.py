"""Columns of objects: their fields become columns of their own."""

from __future__ import annotations

from typing import Any

from freehold.data.nested import opened
from freehold.data.table import Row, Table


def table(*rows: dict[str, Any]) -> Table:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table("t", "", columns, tuple(Row(f"line {n}", row) for n, row in enumerate(rows, 1)))


def test_a_table_without_objects_stays_as_it_is() -> None:
    plain = table({"a": 1, "b": [1, 2]}, {"a": "x"})
    assert opened(plain) is plain


def test_fields_of_an_object_are_columns_by_their_own_name() -> None:
    made = opened(table({"id": 1, "ticket": {"text": "lost", "queue": "card"}}))
    assert made.columns == ("id", "text", "queue")
    assert made.rows[0].fields == {"id": 1, "text": "lost", "queue": "card"}
    assert "ticket" in made.notes[0]


def test_an_object_that_is_written_as_text_is_opened_too() -> None:
    made = opened(table({"ticket": '{"text": "lost"}'}, {"ticket": "{'text': 'late'}"}))
    assert [row.fields for row in made.rows] == [{"text": "lost"}, {"text": "late"}]


def test_a_name_that_two_columns_have_is_a_path() -> None:
    made = opened(table({"text": "a", "ticket": {"text": "b", "queue": "c"}}))
    assert made.columns == ("text", "ticket.text", "queue")


def test_a_name_that_says_nothing_is_a_path() -> None:
    assert opened(table({"category": {"name": "card", "colour": "red"}})).columns == (
        "category.name",
        "colour",
    )


def test_objects_within_objects_are_opened_and_lists_are_not() -> None:
    made = opened(table({"a": {"b": {"c": 1}, "d": [{"e": 2}]}}))
    assert made.rows[0].fields == {"c": 1, "d": [{"e": 2}]}


def test_a_row_without_the_object_lacks_its_fields() -> None:
    made = opened(table({"id": 1, "a": {"b": 2}}, {"id": 2, "a": None}, {"id": 3}))
    assert [row.fields for row in made.rows] == [{"id": 1, "b": 2}, {"id": 2}, {"id": 3}]
    assert [row.place for row in made.rows] == ["line 1", "line 2", "line 3"]


def test_a_column_where_some_values_are_no_objects_stays_closed() -> None:
    mixed = table({"a": {"b": 1}}, {"a": "text"})
    assert opened(mixed) is mixed


def test_very_deep_objects_are_opened_so_far() -> None:
    deep: Any = 1
    for name in "gfedcb":
        deep = {name: deep}
    (value,) = opened(table({"a": deep})).rows[0].fields.values()
    assert isinstance(value, dict)
    assert "g" not in opened(table({"a": deep})).columns
