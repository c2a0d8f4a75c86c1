"""Blocks of rows that belong together, dealt to splits of given shares."""

from __future__ import annotations

import random

import pytest

from freehold.data.grouped import dealt


def sizes(blocks: dict[str, list[str]], splits: list[list[str]]) -> list[int]:
    return [sum(len(blocks[key]) for key in keys) for keys in splits]


def test_every_block_goes_to_one_split() -> None:
    blocks = {f"b{n}": ["x"] * (n % 7 + 1) for n in range(50)}
    splits = dealt(blocks, (0.8, 0.1, 0.1))
    assert sorted(key for keys in splits for key in keys) == sorted(blocks)


def test_blocks_of_one_row_come_out_at_their_shares_with_each_label() -> None:
    blocks = {f"{n}{label}": [label] for label in "ab" for n in range(100)}
    splits = dealt(blocks, (0.8, 0.1, 0.1))
    assert sizes(blocks, splits) == [160, 20, 20]
    assert [sum(key[-1] == "a" for key in keys) for keys in splits] == [80, 10, 10]


@pytest.mark.parametrize("seed", range(5))
def test_blocks_of_many_sizes_come_out_near_their_shares(seed: int) -> None:
    rng = random.Random(seed)
    blocks = {f"b{n}": rng.choices("abc", (6, 3, 1), k=rng.choice((1, 1, 2, 3, 12))) for n in range(300)}
    rows = sum(map(len, blocks.values()))
    splits = dealt(blocks, (0.7, 0.15, 0.15))
    for share, size in zip((0.7, 0.15, 0.15), sizes(blocks, splits), strict=True):
        assert abs(size - share * rows) <= 12
    counts = [sum(blocks[key].count("c") for key in keys) for keys in splits]
    assert all(
        abs(count - share * sum(counts)) <= 12 for count, share in zip(counts, (0.7, 0.15, 0.15), strict=True)
    )


def test_a_block_larger_than_a_small_split_stays_whole_in_the_large_one() -> None:
    blocks = {"large": ["x"] * 60} | {f"b{n}": ["x"] for n in range(40)}
    splits = dealt(blocks, (0.8, 0.2))
    assert "large" in splits[0]
    assert sizes(blocks, splits) == [80, 20]


def test_a_split_without_a_share_gets_nothing() -> None:
    blocks = {f"b{n}": ["x"] for n in range(10)}
    assert dealt(blocks, (0.5, 0.0, 0.5))[1] == []


def test_every_split_with_a_share_gets_a_block_where_there_are_enough() -> None:
    blocks = {f"b{n}": ["x"] * size for n, size in enumerate((50, 1, 1))}
    assert all(dealt(blocks, (0.98, 0.01, 0.01)))
    assert [len(keys) for keys in dealt({"only": ["x"] * 5}, (0.8, 0.2))] == [1, 0]


def test_the_order_in_which_blocks_come_changes_nothing() -> None:
    blocks = {f"b{n}": ["x", "y"][: n % 2 + 1] for n in range(30)}
    turned = dict(reversed(blocks.items()))
    assert dealt(blocks, (0.8, 0.2)) == dealt(turned, (0.8, 0.2))
