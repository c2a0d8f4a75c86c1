"""Every awkward answer is worth what a person would say: see :mod:`tests.evaluation.adversarial`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.data.examples import Example
from freehold.evaluation import metrics, task_kinds
from freehold.evaluation.answer_reading import LabelReader
from freehold.evaluation.metrics import Grade
from tests.evaluation import adversarial
from tests.evaluation.adversarial import LABELS, ROWS, SCALE, Row

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence.md"


def example(kind: str, wanted: str) -> Example:
    """A row as the readers of data make it."""
    reference: dict[str, str] = {}
    if kind == "labels":
        reference, wanted = {"labels": wanted}, ", ".join(json.loads(wanted))
    if kind == "code":
        test = "def check(f):\n    assert f(1, 2) == 3\n"
        reference, wanted = {"entry_point": "add", "prompt": "def add(a, b):\n", "test": test}, ""
    return Example("r", (("user", "q"), ("assistant", wanted)), reference)


def grading(kind: str) -> Grade:
    """How a row of this kind is graded in a trial."""
    if kind == "label":
        rows = [example("label", label) for label in LABELS]
        return metrics.choose("label", [*rows, *rows], labels=LABELS).grade
    if kind == "labels":
        reader = LabelReader(frozenset("abc"))
        return lambda row, answer: metrics.label_set(row, answer, reader)
    if kind == "value":
        return metrics.closeness(SCALE)
    if kind == "rouge":
        return lambda row, answer: metrics.rouge_l(row.answer, answer)
    return metrics.METRICS[kind].grade


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]!r} {row[2]!r}"[:80])
def test_an_awkward_answer_is_worth_what_a_person_would_say(row: Row) -> None:
    kind, wanted, answer, worth, _ = row
    assert grading(kind)(example(kind, wanted), answer) == pytest.approx(worth, abs=1e-9)


def test_there_are_rows_of_every_kind() -> None:
    assert len(ROWS) >= 120
    assert {row[0] for row in ROWS} == {*metrics.METRICS, "rouge"}
    assert len(set(ROWS)) == len(ROWS)


def test_the_table_in_the_documentation_has_every_row() -> None:
    text = EVIDENCE.read_text()
    for kind, wanted, answer, worth, _ in ROWS:
        assert f"| {kind} | {adversarial.shown(wanted)} | {adversarial.shown(answer)} | {worth:.3g} |" in text


@pytest.mark.parametrize(
    ("answers", "kind", "others"),
    [
        (["0", "1"] * 20, "label", ["number", "value"]),
        (["1", "2", "3", "4", "5"] * 6, "label", ["number", "value"]),
        (["1.0", "2.0", "3.0", "4.0", "5.0"] * 6, "label", ["number", "value"]),
        (["1.0", "1.5", "2.0", "2.5", "3.0"] * 6, "value", ["label", "number"]),
        (["1", "2", "3", "4", "5"] * 2, "number", ["label", "value"]),
        ([str(n) for n in range(40)] * 2, "number", ["label", "value"]),
        (["★", "★★", "★★★"] * 10, "label", ["text"]),
        (["1 star", "2 stars"] * 10, "label", ["text"]),
        (["0", "1", "unknown"] * 10, "label", ["text"]),
        (["True", "False"] * 10, "label", ["text"]),
    ],
)
def test_numbers_that_may_be_labels_name_the_other_choices(
    answers: list[str], kind: str, others: list[str]
) -> None:
    detected = task_kinds.detect([example("text", answer) for answer in answers])
    assert detected.name == kind
    for other in others:
        assert f"--metric {other}" in detected.reason


@pytest.mark.parametrize(
    "answers",
    [
        [f"2024-05-{day:02}" for day in range(1, 29)],
        [f"{day} May 2024" for day in range(1, 29)],
        [f"{day:02}.05.2024" for day in range(1, 29)],
        [f"AB-{n * 37:04}" for n in range(40)],
        [f"{n % 24:02}:{n:02}" for n in range(40)],
        [f"user{n}@example.org" for n in range(40)],
        [f"https://example.org/{n}" for n in range(40)],
        [f"DE89 3704 0044 0532 01{n:02}" for n in range(40)],
        [f"+49 30 1234{n:02}" for n in range(40)],
        [f"{n}.50 {'€$'[n % 2]}" for n in range(40)],
        [f"{n}-{n + 2}" for n in range(40)],
        [f"{chr(97 + n % 26)}{chr(97 + n // 26)}word" for n in range(40)],
    ],
)
def test_short_answers_that_are_right_only_as_a_whole_are_graded_so(answers: list[str]) -> None:
    detected = task_kinds.detect([example("text", answer) for answer in answers])
    assert detected.name == "exact"
    assert "--metric text" in detected.reason


@pytest.mark.parametrize(
    "answers",
    [
        [f"a sentence about case {n}, as people write it" for n in range(40)],
        [f"我想退货{chr(0x4E00 + n)}" for n in range(40)],
        [f"Barack Obama{'s' * n} friend" for n in range(40)],
        ["line one\nline two" + "!" * n for n in range(40)],
    ],
)
def test_other_answers_stay_free_text(answers: list[str]) -> None:
    assert task_kinds.detect([example("text", answer) for answer in answers]).name == "text"


def test_a_number_of_endless_digits_is_none() -> None:
    assert metrics.last_number("9" * 10_000) is None
    assert metrics.fields(example("json", f'{{"n": 1{"0" * 400}}}'), '{"n": 1.5}') == 0.0
