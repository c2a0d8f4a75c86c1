"""Which rows are near-duplicates: what differs decides, not what all rows share."""

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.data.duplicates import compared_text, group, similar_pairs
from freehold.data.words import tokens
from freehold.data.examples import Example

WORDS = [f"word{n}" for n in range(3000)]
INSTRUCTION = "Read the message of the customer below and answer with the one team that should handle it: "


def sentence(rng: random.Random, words: int = 12) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def largest(texts: list[str]) -> int:
    return int(max(np.bincount(group(texts).of)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My CARD, was eaten!", ["my", "card", "was", "eaten"]),
        ("ﬁne １２", ["fine", "12"]),
        ("12*7 + 3", ["12", "*", "7", "+", "3"]),
        ("great 👍", ["great", "👍"]),
        ("注文はどこ", ["注", "文", "は", "ど", "こ"]),
        ("订单 ABC 在", ["订", "单", "abc", "在"]),
        ("🔑", ["🔑"]),
        ("?!", ["?", "!"]),
        ("  ", []),
    ],
)
def test_a_text_is_compared_by_words_characters_or_signs(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("My card was eaten by the machine, help me", "my card was eaten by the machine help me!", True),
        ("Where is my parcel", "Where is the nearest branch", False),
        ("注文した商品がまだ届いていません", "注文した商品がまだ届いていません。", True),
        ("注文した商品がまだ届いていません", "返品の方法を教えてください", False),
        ("👍", "👎", False),
        ("great 👍", "great 👎", False),
        ("12+7", "12*7", False),
        ("yes", "no", False),
        ("Password!", "password", True),
        ("a b", "b a", False),
        ("", "", False),
        ("...", "???", False),
    ],
)
def test_two_texts_are_alike_or_not(first: str, second: str, alike: bool) -> None:
    assert bool(similar_pairs([first, second])) is alike


def test_the_similarity_is_the_exact_jaccard_of_word_pairs() -> None:
    ((_, _, similarity),) = similar_pairs(["a b c d e f g h i j k", "a b c d e f g h i j l"])
    assert similarity == pytest.approx(9 / 11)


def test_rows_that_share_an_instruction_are_no_duplicates() -> None:
    rng = random.Random(1)
    for build in (
        lambda s: INSTRUCTION + s,
        lambda s: f"{s}\n{INSTRUCTION}",
        lambda s: f"{INSTRUCTION}{s} {INSTRUCTION[::-1]}",
    ):
        assert largest([build(sentence(rng, 4)) for _ in range(200)]) == 1


def test_rows_that_share_an_instruction_are_duplicates_where_the_rest_is_alike() -> None:
    rng = random.Random(1)
    texts = [INSTRUCTION + sentence(rng) for _ in range(100)]
    assert [pair[:2] for pair in similar_pairs([*texts, texts[7] + " please"])] == [(7, 100)]


def test_several_instructions_in_one_file_are_left_out_each() -> None:
    rng = random.Random(2)
    instructions = [sentence(rng, 20) for _ in range(5)]
    assert largest([f"{instructions[n % 5]} {sentence(rng, 3)}" for n in range(200)]) == 1


def test_conversations_that_end_in_the_same_turn_are_no_duplicates() -> None:
    rng = random.Random(3)
    rows = [
        Example(
            str(n),
            (
                ("user", sentence(rng)),
                ("assistant", "I see"),
                ("user", "Please sum this up for me"),
                ("assistant", "x"),
            ),
        )
        for n in range(100)
    ]
    assert largest([compared_text(row) for row in rows]) == 1


def test_numbered_templates_do_not_become_one_group() -> None:
    texts = [
        f"Customer number {n} asks for the order {n * 7} of the item that went to place {n * 13}, no more"
        for n in range(500)
    ]
    assert largest(texts) == 1


def test_rows_of_nothing_but_what_all_share_are_compared_whole() -> None:
    texts = [INSTRUCTION + "!" * n for n in range(30)]
    assert largest(texts) == 30


def test_where_most_rows_would_be_one_group_the_comparison_is_finer() -> None:
    base = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    texts = [f"{base} {n}" for n in range(8)]
    groups = group(texts)
    assert groups.similar > 0.8
    assert max(np.bincount(groups.of)) == 1


def test_near_duplicates_are_found_among_many_rows() -> None:
    rng = random.Random(4)
    texts = [sentence(rng, 20) for _ in range(2000)]
    copies = [f"{text} thanks" for text in texts[:100]]
    pairs = {(first, second) for first, second, _ in similar_pairs([*texts, *copies], boundary=2000)}
    assert pairs == {(n, 2000 + n) for n in range(100)}


def test_every_equal_row_behind_the_boundary_is_paired() -> None:
    pairs = similar_pairs(["how are you today"] * 300 + ["how are you, today"] * 50, boundary=300)
    assert {second for _, second, _ in pairs} == set(range(300, 350))
    assert all(first < 300 for first, _, _ in pairs)


@pytest.mark.parametrize(
    "build", [lambda n: "the same text for all of them", lambda n: "the same text for all " + "x " * (n % 40)]
)
def test_many_equal_rows_take_no_more_than_a_moment(build: object) -> None:
    texts = [build(n) for n in range(20_000)]  # type: ignore[operator]
    start = time.monotonic()
    similar_pairs(texts)
    assert time.monotonic() - start < 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=30))
def test_any_texts_are_grouped_with_themselves(texts: list[str]) -> None:
    groups = group(texts + texts)
    assert len(groups.of) == 2 * len(texts)
    sets = Shingles(texts + texts).sets
    for n in range(len(texts)):
        assert groups.of[n] == groups.of[n + len(texts)] or not sets[n]


def test_a_shared_system_text_changes_nothing() -> None:
    rng = random.Random(8)
    texts = [f"my {rng.choice(WORDS[:9])} does not {sentence(rng, 3)}" for _ in range(300)]
    texts += [f"{text} please" for text in texts[::10]] + [text.upper() for text in texts[::15]]
    shared = [f"{INSTRUCTION}\n{text}" for text in texts]
    assert {pair[:2] for pair in similar_pairs(shared)} == {pair[:2] for pair in similar_pairs(texts)}
