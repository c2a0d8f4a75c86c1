"""JSON from elsewhere: what readers could disagree about is refused in one sentence."""

from __future__ import annotations

import json

import pytest

from freehold.core import strict_json
from freehold.core.errors import BadData


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "", "\u00e9\U0001f600", [], {}, {"a": [1, {"b": None}]}, 2**64 - 1, 1e300]
)
def test_plain_json_is_read_as_it_is(value: object) -> None:
    assert strict_json.read(json.dumps(value).encode()) == value


def test_a_mark_of_the_order_of_bytes_is_passed_over() -> None:
    assert strict_json.read(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        (b"", "in the middle of"),
        (b'{"a": 1', "in the middle of"),
        (b'{"a": }', "a value is missing"),
        (b'{"a": 1, "a": 2}', "a name appears twice"),
        (b'{"a": 1} more', "trailing"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b'{"a": "\xc3', "byte 7 is not UTF-8"),
        (b'"\\ud800"', "half of a pair of surrogates"),
        (b"[" * 300, "deeper than 200 levels"),
        (b'{"a": NaN}', "a: a number must be finite"),
        (b"[1, -Infinity]", "1: a number must be finite"),
        (b'{"a": [{"b": 1e999}]}', "number"),
        (
            b'{"a": {"b": 18446744073709551616}}',
            "a.b: a number must be finite, and a whole number below 2^64",
        ),
    ],
)
def test_what_is_in_doubt_is_refused_and_named(data: bytes, phrase: str) -> None:
    with pytest.raises(BadData, match=phrase.replace("^", r"\^")):
        strict_json.read(data)


def test_long_digits_in_a_text_are_no_number() -> None:
    assert strict_json.read(b'{"a": "18446744073709551616", "b": "NaN"}') == {
        "a": "18446744073709551616",
        "b": "NaN",
    }


def test_the_path_of_a_number_that_no_reader_may_use_comes_with_the_value() -> None:
    value, path = strict_json.parse(b'{"messages": [{"weight": 1e400}]}')
    assert value["messages"][0]["weight"] == float("inf")
    assert path == "messages.0.weight"
    assert strict_json.parse(b"[1, 2]") == ([1, 2], None)


def test_more_parts_than_a_second_reads_are_refused_before_they_are_read() -> None:
    data = b"[" + b"{}," * strict_json.MOST_PARTS + b"{}]"
    with pytest.raises(BadData, match="more than 500,000 names, lists or objects"):
        strict_json.read(data)


@pytest.mark.parametrize(
    ("value", "levels"), [(1, 1), ("a", 1), ([], 1), ({"a": 1}, 2), ([[1], {"a": [2]}], 4)]
)
def test_how_many_levels_a_value_has_with_those_of_its_leaves(value: object, levels: int) -> None:
    assert strict_json.depth(value, 10) == levels


def test_counting_stops_beyond_the_most() -> None:
    value: object = []
    for _ in range(5000):
        value = [value]
    assert strict_json.depth(value, 20) == 21
