"""Which rows are near-duplicates: what differs decides, not what all rows share."""

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.data.duplicates import compared_text, group, similar_pairs
from freehold.data.examples import Example
from freehold.data.words import tokens

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
        ("ﬁne １２", ["fine", "#12"]),
        ("12*7 + 3", ["#12", "*", "#7", "+", "#3"]),
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


def test_the_similarity_says_how_much_stays() -> None:
    first = "The printer in our office stopped working today"
    (equal,) = similar_pairs([first, first.upper()])
    (edited,) = similar_pairs([first, first.replace("stopped", "quit")])
    assert equal[2] == 1.0
    assert 0.8 <= edited[2] < 1.0


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
    words = ["tortoise", "swallowed", "amber", "earring", "yesterday", "kitchen"]
    typos = [" ".join([*words[:n], words[n][:2] + words[n][3:], *words[n + 1 :]]) for n in range(3)]
    alike, others = (
        [" ".join(words), *typos],
        ["where is my parcel", "reset the router now", "no invoice came"],
    )
    assert group([*alike, *others, "the shop is closed", "my bike was stolen"]).similar == 0.8
    assert group([*alike, *others]).similar > 0.8


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
    for n, text in enumerate(texts):
        assert groups.of[n] == groups.of[n + len(texts)] or not tokens(text)


def test_a_shared_system_text_changes_nothing() -> None:
    rng = random.Random(8)
    texts = [f"my {rng.choice(WORDS[:9])} does not {sentence(rng, 3)}" for _ in range(300)]
    texts += [f"{text} please" for text in texts[::10]] + [text.upper() for text in texts[::15]]
    shared = [f"{INSTRUCTION}\n{text}" for text in texts]
    assert {pair[:2] for pair in similar_pairs(shared)} == {pair[:2] for pair in similar_pairs(texts)}


LEAKS = [
    ("one typo", "How do I activate my card?", "How do I actvate my card?"),
    ("one typo in a row of two words", "refund please", "refnud please"),
    ("a changed word", "My card was eaten by the machine", "My card was swallowed by the machine"),
    ("accents", "¿Dónde está mi pedido?", "donde esta mi pedido"),
    ("one Chinese character", "我的卡被机器吞了", "我的卡被机器吃了"),
    ("one Japanese character", "注文した商品がまだ届いていません", "注文した商品がまだ届いてません"),
    ("one Korean syllable", "비밀번호를 잊어버렸어요", "비밀번호를 잊어버렸어여"),
    ("the same emoji", "🔥🔥", "🔥🔥"),
    ("an emoji added", "The food was awful", "the food was awful 🤮"),
    ("Arabic forms of letters", "لم أستلم البطاقة حتى الآن", "لم استلم البطاقه حتى الان"),
    ("courtesy", "Where is my order", "Hello, where is my order please? Thanks in advance!"),
    ("order", "Yesterday the app crashed three times", "The app crashed three times yesterday"),
    ("a number written otherwise", "I paid 1,250.00 for the boiler", "I paid 1250 for the boiler"),
    ("a date written otherwise", "Invoice of 2026-05-08 is missing", "Invoice of 8 May 2026 is missing"),
    ("a number as a word", "We need three chairs in Turku", "We need 3 chairs in Turku"),
    ("contractions", "I cannot open the file", "I can't open the file"),
    ("tags", "Open the app and press start", "<p>Open the app and press <b>start</b></p>"),
    ("spaces", "I lost my pass word for the web site", "I lost my password for the website"),
    (
        "the end cut off",
        "The driver left my parcel in the rain and ran",
        "The driver left my parcel in the rain",
    ),
]
OTHERS = [
    ("a number", "We need 5 webcams delivered to Turku", "We need 9 webcams delivered to Turku"),
    ("an order's id", "Where is order 48213?", "Where is order 48231?"),
    ("a date", "Deliver on 2026-05-08 to Graz", "Deliver on 2026-08-05 to Graz"),
    ("a currency", "I was charged $50 twice", "I was charged €50 twice"),
    ("a month", "The report for March is missing", "The report for April is missing"),
    ("a name", "Is the Berlin branch open today", "Is the Hamburg branch open today"),
    ("a negation", "I received the refund for my order", "I have not received the refund for my order"),
    ("a negation in Chinese", "商品已经收到了", "商品还没有收到"),
    ("an opposite", "How do I enable two factor login", "How do I disable two factor login"),
    ("a prefix", "The customer is happy with the result", "The customer is unhappy with the result"),
    (
        "places",
        "Book a flight from Paris to London on Monday",
        "Book a flight from London to Paris on Monday",
    ),
    ("a question word", "Where is my parcel now", "When is my parcel now"),
    ("a short question", "How do I reset my password", "How do I reset my router"),
    (
        "a plan's letter",
        "Which is cheaper for students, plan A or B?",
        "Which is cheaper for students, plan A or C?",
    ),
    ("an operator", "convert 12 + 7", "convert 12 * 7"),
    ("an emoji", "great phone 👍", "great phone 👎"),
    (
        "a passage's question",
        f"{INSTRUCTION}\nWho built the bridge?",
        f"{INSTRUCTION}\nHow long is the bridge?",
    ),
]


@pytest.mark.parametrize(("first", "second"), [case[1:] for case in LEAKS], ids=[case[0] for case in LEAKS])
def test_an_edited_copy_is_alike(first: str, second: str) -> None:
    assert [pair[:2] for pair in similar_pairs([first, second], boundary=1)] == [(0, 1)]


@pytest.mark.parametrize(("first", "second"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS])
def test_what_changes_the_answer_makes_another_row(first: str, second: str) -> None:
    assert similar_pairs([first, second], boundary=1) == []


def test_a_place_that_many_rows_fill_differently_is_a_template() -> None:
    things = ["webcam", "keyboard", "monitor", "printer", "headset", "scanner"]
    texts = [f"Please deliver the ordered {thing} to our new warehouse quickly" for thing in things]
    assert similar_pairs(texts) == []
    assert len(similar_pairs([*texts, texts[2].replace("monitor", "montior")])) == 1


def test_words_that_many_rows_hold_are_shared_by_chance() -> None:
    rng = random.Random(9)
    common = ["card", "payment", "account", "transfer", "pending", "declined"]
    often = [f"why was my {a} {b} {c}" for a in common for b in common for c in common if len({a, b, c}) == 3]
    rare = ["my tortoise swallowed the amber earring", "my tortoise ate the amber earring"]
    pairs = similar_pairs([*rare, *rng.sample(often, 80)])
    assert [pair[:2] for pair in pairs if pair[0] < 2] == [(0, 1)]


def test_a_replaced_word_under_another_label_makes_another_row() -> None:
    texts = ["my tortoise swallowed the amber earring", "my tortoise ate the amber earring"]
    others = [f"word{n} about word{n + 40}" for n in range(2)]
    assert similar_pairs([*texts, *others], answers=["vet", "shop", "vet", "shop"]) == []
    assert len(similar_pairs([*texts, *others], answers=["vet", "vet", "shop", "shop"])) == 1
