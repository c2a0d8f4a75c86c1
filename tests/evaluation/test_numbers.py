"""Numbers as people and models write them, and which of them are equal."""

from __future__ import annotations

from fractions import Fraction

import pytest

from freehold.data.examples import Example
from freehold.evaluation import metrics
from freehold.evaluation.numbers import find_numbers, whole_number

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/2", HALF),
        ("3/2", 3 * HALF),
        (".5", HALF),
        ("0,5", HALF),
        ("5e-1", HALF),
        ("1e3", 1000),
        ("1,5e3", 1500),
        ("007", 7),
        ("-5", -5),
        ("\u22125", -5),
        ("\u20135", -5),
        ("+5", 5),
        ("-0.0", 0),
        ("42.", None),
        ("1,234", 1234),
        ("1.234", Fraction("1.234")),
        ("1,234.50", Fraction("1234.5")),
        ("1.234,50", Fraction("1234.5")),
        ("9.999,50", Fraction("9999.5")),
        ("1.234.567", 1234567),
        ("12,345,678", 12345678),
        ("1'234.50", Fraction("1234.5")),
        ("1\u202f234,5", Fraction("1234.5")),
        ("\u0663", 3),
        ("1,2,3", None),
        ("1/0", None),
        ("1e999", None),
        ("twelve", None),
        ("", None),
    ],
)
def test_a_text_that_is_a_number(text: str, value: Fraction | int | None) -> None:
    assert whole_number(text) == value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("$70,000.", [70000]),
        ("It costs \u20ac 1.234,50 today.", [Fraction("1234.5")]),
        ("12, 13 and 14", [12, 13, 14]),
        ("1,2,3", [1, 2, 3]),
        ("3/4/2026", [3, 4, 2026]),
        ("2-3", [2, 3]),
        ("x=-3", [-3]),
        ("(\u22124)", [-4]),
        ("10%", [10]),
        ("half is 1/2, so 42.", [HALF, 42]),
        ("none", []),
    ],
)
def test_the_numbers_in_a_text(text: str, values: list[Fraction | int]) -> None:
    assert find_numbers(text) == values


@pytest.mark.parametrize(
    ("wanted", "answer", "right"),
    [
        ("1/2", "0.5", True),
        ("1/2", "3/2", False),
        ("1.234,50", "1234.5", True),
        ("1.234,50", "9.999,50", False),
        ("7", "007", True),
        ("-5", "the answer is \u22125", True),
        ("5", "\u22125", False),
        ("1000", "1e3", True),
        ("72", "She sold 48+24 = 72 clips.", True),
        ("#### 1,000", "1000", True),
    ],
)
def test_answers_are_compared_as_numbers(wanted: str, answer: str, right: bool) -> None:
    example = Example("r", (("user", "q"), ("assistant", wanted)), {})
    assert metrics.number(example, answer) == float(right)
