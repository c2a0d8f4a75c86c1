"""Differences of texts: those of difflib where that is quick, and as good where it takes hours."""

from __future__ import annotations

import difflib
import random

import pytest

from freehold.servers.hub.diff import unified


def lines(before: list[str], after: list[str]) -> list[str]:
    return list(unified(before, after, "a", "b"))


def applied(before: list[str], difference: list[str]) -> list[str]:
    """The text that a difference makes of another, as ``patch`` does."""
    after: list[str] = []
    at = 0
    for line in difference[2:]:
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) - (count != "0")
            after += before[at:first]
            at = first
        elif line[0] == "+":
            after.append(line[1:])
        else:
            assert before[at] == line[1:], f"line {at}"
            after += [before[at]] if line[0] == " " else []
            at += 1
    return [*after, *before[at:]]


def test_equal_texts_have_no_difference() -> None:
    assert lines([], []) == lines(["a", "b"], ["a", "b"]) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["a"]),
        (["a"], []),
        (["a", "b", "c"], ["a", "x", "c"]),
        ([str(n) for n in range(40)], [str(n) for n in range(40) if n not in (5, 6, 30)]),
        (["a", "b"], ["b", "a", "b"]),
    ],
)
def test_a_small_difference_is_written_as_difflib_writes_it(before: list[str], after: list[str]) -> None:
    assert lines(before, after) == list(difflib.unified_diff(before, after, "a", "b", lineterm=""))


def test_a_line_of_its_own_that_moved_is_matched() -> None:
    before = ["same"] * 5 + ["one of a kind"] + ["same"] * 5
    after = ["same"] * 2 + ["one of a kind"] + ["same"] * 8
    difference = lines(before, after)
    assert " one of a kind" in difference
    assert applied(before, difference) == after


@pytest.mark.parametrize("seed", range(30))
def test_applied_to_the_old_text_it_gives_the_new_one(seed: int) -> None:
    rng = random.Random(seed)
    letters = "abcdefgh"[: rng.randrange(1, 9)]
    before = [rng.choice(letters) for _ in range(rng.randrange(60))]
    after = list(before)
    for _ in range(rng.randrange(1, 12)):
        at = rng.randrange(len(after) + 1)
        after[at : at + rng.randrange(3)] = [rng.choice(letters) for _ in range(rng.randrange(3))]
    difference = lines(before, after)
    assert (applied(before, difference) if difference else before) == after


def test_a_text_of_thousands_of_equal_lines_is_compared_at_once() -> None:
    before, after = ["x"] * 20_000, ["y", *["x"] * 19_000, "y", *["x"] * 2_000]
    assert applied(before, lines(before, after)) == after
