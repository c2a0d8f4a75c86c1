"""Figures of each label, and which labels are answered for which."""

from __future__ import annotations

import pytest

from freehold.core import statistics
from freehold.evaluation.confusion import MOST_IN_MATRIX, Confusion, confusions, matrix, per_label

EXPECTED = ["card"] * 4 + ["pin"] * 2 + ["app"] * 2
ANSWERED = ["card", "card", "card", "pin", "pin", "card", "nonsense", "card"]


def test_each_label_has_precision_recall_and_f1() -> None:
    card, app, pin = per_label(EXPECTED, ANSWERED)
    assert [figures.label for figures in (card, app, pin)] == ["card", "app", "pin"]
    assert (card.rows, card.answered, card.precision, card.recall) == (4, 5, 0.6, 0.75)
    assert card.f1 == pytest.approx(2 * 0.6 * 0.75 / (0.6 + 0.75))
    assert (pin.precision, pin.recall, pin.f1) == (0.5, 0.5, 0.5)


def test_a_label_that_is_never_answered_has_no_precision() -> None:
    app = per_label(EXPECTED, ANSWERED)[1]
    assert (app.answered, app.precision, app.recall, app.f1) == (0, None, 0.0, 0.0)


def test_an_answer_that_no_row_expects_is_no_label_of_its_own() -> None:
    assert "nonsense" not in {figures.label for figures in per_label(EXPECTED, ANSWERED)}


def test_recall_has_wilsons_interval() -> None:
    card = per_label(EXPECTED, ANSWERED)[0]
    assert (card.recall_low, card.recall_high) == statistics.wilson(3, 4)
    assert 0.0 < card.recall_low < card.recall < card.recall_high < 1.0


def test_confusions_are_the_wrong_answers_most_frequent_first() -> None:
    assert confusions(["a", "a", "b", "b", "c"], ["b", "b", "a", "b", "c"]) == [
        Confusion("a", "b", 2),
        Confusion("b", "a", 1),
    ]
    assert confusions(["a", "b"], ["a", "b"]) == []


def test_equally_frequent_confusions_have_one_order() -> None:
    pairs = [("b", "a"), ("a", "c"), ("a", "b")]
    once = confusions(*zip(*pairs, strict=True))
    again = confusions(*zip(*reversed(pairs), strict=True))
    assert once == again == [Confusion("a", "b", 1), Confusion("a", "c", 1), Confusion("b", "a", 1)]


def test_a_matrix_counts_rows_by_what_they_expect_and_what_was_answered() -> None:
    assert matrix(["a", "a", "b"], ["a", "b", "c"]) == (
        ("a", "b", "c"),
        [[1, 1, 0], [0, 0, 1], [0, 0, 0]],
    )


def test_too_many_labels_make_no_matrix() -> None:
    labels = [str(number) for number in range(MOST_IN_MATRIX)]
    assert matrix(labels, labels) is not None
    assert matrix([*labels, "one more"], [*labels, "one more"]) is None


def test_as_many_answers_as_rows_are_needed() -> None:
    for count in (per_label, confusions, matrix):
        with pytest.raises(ValueError, match="argument 2"):
            count(["a", "b"], ["a"])
