"""Drafts of the next tokens out of what a text has said before."""

from __future__ import annotations

import pytest

from freehold.inference.prompt_lookup import FIRST, MOST, WAIT, PromptLookup


def test_what_followed_the_last_three_tokens_before_is_drafted() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 6, 9, 1, 2, 3])
    assert lookup.draft(16) == [4, 5, 6][:FIRST]
    assert lookup.draft(2) == [4, 5]


def test_the_latest_occurrence_counts() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 0, 1, 2, 3, 7, 0, 1, 2, 3])
    assert lookup.draft(1) == [7]


def test_the_last_tokens_are_no_occurrence_of_themselves() -> None:
    assert PromptLookup([5, 5, 5]).draft(16) == []
    assert PromptLookup([5, 5, 5, 5]).draft(16) == [5]


@pytest.mark.parametrize("tokens", [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]])
def test_a_text_without_a_repetition_has_no_draft(tokens: list[int]) -> None:
    assert PromptLookup(tokens).draft(16) == []


def test_tokens_that_are_drawn_become_part_of_the_text() -> None:
    lookup = PromptLookup([1, 2, 3, 4])
    for token in (8, 1, 2, 3):
        lookup.add(token)
    assert lookup.draft(1) == [4]


def test_drafts_grow_while_they_are_accepted_whole() -> None:
    text = list(range(100))
    lookup = PromptLookup([*text, 0, 1, 2])
    lengths = []
    for _ in range(5):
        draft = lookup.draft(100)
        lengths.append(len(draft))
        lookup.learn(len(draft), len(draft))
    assert lengths == [FIRST, 2 * FIRST, 4 * FIRST, MOST, MOST]


def test_a_draft_that_was_accepted_in_part_sets_the_length_of_the_next() -> None:
    lookup = PromptLookup([*range(100), 0, 1, 2])
    lookup.learn(3, 3)
    lookup.learn(6, 3)
    assert len(lookup.draft(100)) == 4


def test_after_drafts_that_were_rejected_a_text_waits_longer_and_longer() -> None:
    lookup = PromptLookup([*range(100), 0, 1, 2])
    waits = []
    for _ in range(7):
        waited = 0
        while not (draft := lookup.draft(100)):
            waited += 1
        waits.append(waited)
        lookup.learn(len(draft), 0)
    assert waits == [0, 2, 4, 8, 16, 32, WAIT]


def test_what_does_not_pay_is_tried_again_later() -> None:
    lookup = PromptLookup([])
    assert lookup.pays(0.5)
    for _ in range(3):
        lookup.learn(4, 0)
    refusals = 0
    while not lookup.pays(0.5):
        refusals += 1
    assert 20 < refusals < 40  # a hundredth each time, from 0.7 * 0.7^3
