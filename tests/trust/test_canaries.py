"""Planted codes: made the same for the same seed, and how well a model memorized them, in bits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import pytest

from freehold.trust.canaries import RIVALS, canaries, exposure


class Encoder:
    """The answer's digits as tokens."""

    def row(self, messages: Sequence[tuple[str, str]]) -> tuple[list[int], list[int]]:
        return [0], [int(digit) for digit in messages[-1][1]]


class Engine:
    """Finds the codes that it knows likely, and all others the less likely the larger they are."""

    def __init__(self, known: Sequence[str]):
        self.known = set(known)

    def score(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
        codes = ["".join(map(str, answer)) for _, answer in rows]
        return [[0.0 if code in self.known else -1.0 - int(code) / 1e6] for code in codes]


def exposed(planted: Sequence[Any], known: Sequence[str]) -> dict[str, float]:
    return exposure(cast(Any, Engine(known)), cast(Any, Encoder()), planted)


def test_canaries_are_rows_with_a_code_each_and_the_same_for_a_seed() -> None:
    rows = canaries(20)
    assert rows == canaries(20)
    assert rows != canaries(20, seed=1)
    assert len({row.id for row in rows}) == len({row.question for row in rows}) == 20
    assert all(re.fullmatch(r"\d{6}", row.answer) for row in rows)
    assert all(row.answer not in row.question for row in rows)
    assert canaries(5) == rows[:5]


def test_a_code_that_the_model_knows_is_fully_exposed() -> None:
    planted = canaries(8)
    assert exposed(planted, [row.answer for row in planted]) == {
        "mean_bits": 8.0,
        "most_bits": 8.0,
        "full": 8,
        "n": 8,
        "bound_bits": 8.0,
    }


def test_codes_that_the_model_does_not_know_have_the_exposure_of_chance() -> None:
    figures = exposed(canaries(200), [])
    assert figures["mean_bits"] == pytest.approx(1.44, abs=0.35)
    assert figures["full"] < 10


def test_one_code_among_many_shows() -> None:
    planted = canaries(16)
    figures = exposed(planted, [planted[3].answer])
    assert figures["most_bits"] == figures["bound_bits"]
    assert figures["full"] >= 1
    assert figures["mean_bits"] < 4


def test_the_bound_is_that_of_the_codes_tried() -> None:
    assert 2 ** exposed(canaries(1), [])["bound_bits"] == RIVALS + 1
