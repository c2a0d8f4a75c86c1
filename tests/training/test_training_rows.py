"""Rows become tokens in one place, which leaves out what is too long and says so."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from freehold.core.errors import BadData
from freehold.data.examples import Example
from freehold.data.templates import Messages
from freehold.training.training_rows import check_rows, encode_rows


@dataclass(frozen=True)
class Words:
    """An encoder whose tokens are words, each as long as its number."""

    def row(self, messages: Messages) -> tuple[list[int], list[int]]:
        *prompt, (_, answer) = messages
        return [len(word) for _, text in prompt for word in text.split()], [len(w) for w in answer.split()]


def example(prompt: str, answer: str, rejected: str = "") -> Example:
    messages = (("user", prompt), ("assistant", answer))
    return Example(f"{prompt} {answer}", messages, {"rejected": rejected} if rejected else {})


SHORT, LONG, EMPTY = example("a lamp", "lamp"), example("a " * 9, "lamp"), example("a lamp", "")
PAIR, LONG_PAIR = example("a lamp", "lamp", "no"), example("a", "lamp", "no " * 9)


def encode(train: list[Example], valid: list[Example], **options: bool):  # type: ignore[no-untyped-def]
    return encode_rows(Words(), train, valid, 5, **options)  # type: ignore[arg-type]


def test_rows_that_are_too_long_are_left_out_of_training_and_validation_and_counted() -> None:
    rows = encode([SHORT, LONG, SHORT, EMPTY], [LONG, SHORT, LONG])
    assert (rows.count, rows.valid_count) == (2, 1)
    assert rows.notes() == [
        "left out 1 of 4 training rows: longer than the model's context of 5 tokens",
        "left out 1 of 4 training rows: their answers are empty",
        "left out 2 of 3 validation rows: longer than the model's context of 5 tokens",
    ]


def test_a_pair_is_too_long_by_its_longer_answer() -> None:
    rows = encode([PAIR, LONG_PAIR], [PAIR, LONG_PAIR])
    assert rows.preferences
    assert (rows.count, rows.train_left_out) == (1, 1)
    assert (rows.valid_count, rows.valid_left_out) == (1, 1)
    assert rows.all_rows == [([1, 4], [4]), ([1, 4], [2])] * 2


def test_pairs_can_be_trained_on_as_answers() -> None:
    rows = encode([PAIR], [PAIR], preferences=False)
    assert not rows.preferences
    assert rows.train == (([1, 4], [4]),)


def test_a_verb_refuses_rows_that_a_trial_trains_on_all_the_same() -> None:
    with pytest.raises(BadData, match="1 of 2 rows have a field 'rejected'"):
        encode([SHORT], [PAIR])
    with pytest.raises(BadData, match="no validation rows"):
        encode([SHORT], [])
    with pytest.raises(BadData, match="all 1 validation rows are longer"):
        encode([SHORT], [LONG])
    assert encode([SHORT], [PAIR, LONG], strict=False).valid == (([1, 4], [4]),)
    assert encode([SHORT], [], strict=False).valid == ()


def test_answers_that_do_not_differ_teach_no_preference() -> None:
    with pytest.raises(BadData, match="the chosen and the rejected answer do not differ"):
        encode([example("a", "lamp", "coat")], [PAIR])


def test_a_run_that_would_train_on_nothing_fails_before_it_starts() -> None:
    with pytest.raises(BadData, match="no training row would teach anything"):
        check_rows([([1, 2, 3], [])], 100)
    with pytest.raises(BadData, match="exceed 4 tokens"):
        check_rows([([1, 2, 3], [4, 5])], 4)
    kept, left_out = check_rows([([1], [2]), ([1] * 9, [2])], 5)
    assert (len(kept), left_out) == (1, [1])
