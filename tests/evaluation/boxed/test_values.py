"""Values that cross between the processes of the sandbox: data by its contents, all else as a number."""

from __future__ import annotations

import datetime
import json
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest

from freehold.evaluation.boxed import values
from freehold.evaluation.boxed.values import DEEPEST, CannotCross, pack, to_message, unpack


class Objects:
    """Keeps what does not cross, as both processes do."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def keep(self, value: Any) -> list[Any]:
        self.kept.append(value)
        return ["object", len(self.kept) - 1, type(value).__name__]

    def find(self, number: int, name: str) -> Any:
        return (number, name)


def crossed(value: Any) -> Any:
    """The value as the other side has it, through bytes."""
    objects = Objects()
    return unpack(json.loads(to_message(pack(value, objects.keep))), objects.find)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**62),
        2**200,
        1.5,
        float("inf"),
        "",
        "\u00e9\U0001f600\ud800",
        b"\x00\xff",
        bytearray(b"ab"),
        1 + 2j,
        ...,
        range(2, 10, 3),
        Fraction(2, 3),
        Decimal("1.10"),
        [],
        [1, [2, (3, "a")]],
        (1,),
        {1, 2},
        frozenset({"a"}),
        {"a": {1: [None]}, (1, 2): "b"},
        Counter("aab"),
        deque([1, 2], maxlen=2),
        datetime.date(2026, 1, 31),
        datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.UTC),
        datetime.time(12, 30),
        datetime.timedelta(days=-1, microseconds=3),
    ],
)
def test_data_is_rebuilt_as_it_was(value: object) -> None:
    other = crossed(value)
    assert other == value
    assert type(other) is type(value)


def test_a_queue_keeps_its_length() -> None:
    assert crossed(deque([1], maxlen=3)).maxlen == 3


def test_not_a_number_stays_one() -> None:
    assert str(crossed(float("nan"))) == "nan"


class Sneaky(str):
    """A text that says it equals everything."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Level(IntEnum):
    """Numbers with names."""

    ONE = 1


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Sneaky("a"), "a"),
        (Level.ONE, 1),
        (Point(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
    ],
)
def test_a_class_of_the_answer_does_not_cross_with_its_value(value: object, plain: object) -> None:
    other = crossed(value)
    assert type(other) is type(plain)
    assert plain == other


def test_what_is_no_data_stays_and_is_known_by_its_number() -> None:
    objects = Objects()
    thing = object()
    packed = pack([1, thing, thing], objects.keep)
    assert objects.kept == [thing, thing]
    assert unpack(packed, objects.find) == [1, (0, "object"), (1, "object")]


def test_a_list_that_holds_itself_does_not_cross() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CannotCross, match="more than 200 levels"):
        pack(endless, Objects().keep)


def test_the_deepest_value_that_crosses() -> None:
    value: list[Any] = []
    for _ in range(DEEPEST - 1):
        value = [value]
    assert crossed(value) == value
    with pytest.raises(CannotCross):
        pack([[value]], Objects().keep)


def test_a_value_larger_than_a_message_does_not_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "LONGEST_MESSAGE", 100)
    assert len(to_message("x" * 97)) == 100
    with pytest.raises(CannotCross, match="too large"):
        to_message("x" * 98)


@pytest.mark.parametrize(
    "message", [["unknown", 1], ["list"], ["int", "zz"], ["bytes", "0"], ["moment", ["evil", "1"]], []]
)
def test_a_message_that_no_packing_makes_is_refused(message: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, IndexError)):
        unpack(message, Objects().find)
