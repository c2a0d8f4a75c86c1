"""Ranges of chunks in an answer: no byte is named twice."""

from freehold.servers.hub.xet_reconstruction import merge_ranges


def test_ranges_that_touch_or_overlap_become_one() -> None:
    assert merge_ranges([(4, 6), (0, 2), (2, 3), (5, 9), (20, 21)]) == [(0, 3), (4, 9), (20, 21)]
    assert merge_ranges([(0, 9), (2, 3)]) == [(0, 9)]
    assert merge_ranges([]) == []
