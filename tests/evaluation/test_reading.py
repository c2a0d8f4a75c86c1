"""What an answer says, whatever it is wrapped in: alike for own models and for an API."""

import pytest

from freehold.data.examples import Example
from freehold.evaluation.answer_reading import LabelReader, cut_in_thought, final_answer
from freehold.evaluation.metrics import choose

READER = LabelReader(frozenset({"card_arrival", "Refund late", "C++", "other"}))


@pytest.mark.parametrize(
    "answer",
    [
        "card_arrival",
        " card_arrival\n",
        "Card_Arrival",
        "CARD_ARRIVAL",
        "card_arrival.",
        '"card_arrival"',
        "“card_arrival”",
        "'card_arrival'.",
        "**card_arrival**",
        "`card_arrival`",
        "Label: card_arrival",
        "label: card_arrival.",
        "**Label:** card_arrival",
        "Label: **card_arrival**",
        "The label is card_arrival.",
        "The correct category: card_arrival",
        "Kategorie: card_arrival",
        "- card_arrival",
        "(card_arrival)",
        '{"label": "card_arrival"}',
        '```json\n{"label": "card_arrival"}\n```',
        "```\ncard_arrival\n```",
        '["card_arrival"]',
        "card_arrival。",
        "category = card_arrival",
    ],
)
def test_what_surrounds_a_label_is_forgiven(answer: str) -> None:
    assert READER.read(answer) == "card_arrival"


@pytest.mark.parametrize(
    "answer",
    ["card arrival or refund", "card_arrival and other", "other: card_arrival", "", "card", "cardarrival"],
)
def test_what_is_not_one_label_stays_what_it_is(answer: str) -> None:
    assert READER.read(answer) == answer.strip()


def test_a_label_of_signs_is_read_too() -> None:
    assert READER.read("c++.") == "C++"
    reader = LabelReader(frozenset({"?", "!", "x"}))
    assert [reader.read(text) for text in ("?", "!", '"?"', "X")] == ["?", "!", "?", "x"]


def test_labels_that_differ_in_case_or_punctuation_only_stay_apart() -> None:
    reader = LabelReader(frozenset({"US", "us", "urgent", "urgent!", "1", "-1"}))
    for label in reader.labels:
        assert reader.read(label) == label
    assert reader.read("Us") == "Us"
    assert reader.read("**US**.") == "US"
    assert reader.read("Label: -1") == "-1"


def test_a_label_with_a_colon_is_itself() -> None:
    reader = LabelReader(frozenset({"billing: late", "late"}))
    assert reader.read("billing: late") == "billing: late"
    assert reader.read("Billing: late") == "billing: late"
    assert reader.read("Label: late") == "late"


def test_thoughts_do_not_count_as_the_answer() -> None:
    assert final_answer("<think>maybe other</think>\n\ncard_arrival") == "card_arrival"
    assert final_answer("card_arrival") == "card_arrival"
    assert final_answer("<think>still at it") == ""
    assert cut_in_thought("<think>a > b and still at >")
    assert not cut_in_thought("<think></think>x")
    assert not cut_in_thought("x")


def rows(*labels: str) -> list[Example]:
    return [
        Example(str(i), (("user", f"t{i}"), ("assistant", x)), {"label": x}) for i, x in enumerate(labels)
    ]


def test_the_metric_of_labels_reads_answers_so() -> None:
    metric = choose(None, rows("Yes", "No", "Yes", "No"))
    example = rows("Yes")[0]
    assert [
        metric.grade(example, text) for text in ("yes.", "Label: Yes", "**YES**", "no", "Yes and No")
    ] == [
        1.0,
        1.0,
        1.0,
        0.0,
        0.0,
    ]
    assert metric.answered("**no**") == "No"


def test_a_row_out_of_scope_is_right_with_the_unknown_label_only() -> None:
    metric = choose("label", rows("a", "b", "a"), rows("c"), ("a", "b", "none of these"), "none of these")
    outside = rows("c")[0]
    assert [metric.grade(outside, text) for text in ("None of these.", "c", "a")] == [1.0, 0.0, 0.0]


def test_each_of_several_labels_is_read_so() -> None:
    several = [
        Example(str(i), (("user", "t"), ("assistant", x)), {"labels": x})
        for i, x in enumerate(['["Red", "Blue"]', '["Red"]', '["Blue"]'])
    ]
    metric = choose("labels", several)
    assert metric.grade(several[0], "blue, **RED**.") == 1.0
    assert metric.grade(several[0], '["red"]') == pytest.approx(2 / 3)
