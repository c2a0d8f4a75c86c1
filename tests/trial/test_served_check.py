"""Answers of a running server beside those that were measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from freehold.core.errors import StepFailed
from freehold.evaluation.measurement import Answer
from freehold.trial.served_check import MOST_LISTED, REFUSED, ServedCheck, compare
from freehold.trial.task import Task
from tests.trial.rows import answered, labelled, task_of

PAIRS = [("card is lost", "card"), ("pin is wrong", "pin")] * 15
NAMED = {"model": "t/m-few-shot", "revision": "t/m-few-shot@ab", "command": "freehold serve t/m-few-shot"}


@pytest.fixture
def task() -> Task:
    return task_of(labelled("a", PAIRS), labelled("t", PAIRS))


def right(task: Task) -> list[Answer]:
    return answered(task, [example.answer for example in task.test])


def checked(task: Task, served: list[Answer]) -> ServedCheck:
    return compare(task.metric, task.test, right(task), served, **NAMED)


def other(task: Task, count: int) -> list[Answer]:
    """Measured answers of which the first ``count`` are the other label."""
    swapped = {"card": "pin", "pin": "card"}
    texts = [swapped[e.answer] if n < count else e.answer for n, e in enumerate(task.test)]
    return answered(task, texts)


def test_the_same_answers_are_said_to_be_the_same(task: Task) -> None:
    found = checked(task, right(task))
    assert (found.equal, found.rows, found.within, found.differing) == (30, 30, True, ())
    assert found.served.value == found.measured.value == 1.0
    assert "all 30 test rows got the same answers as when they were measured" in found.sentence


def test_a_sample_is_compared_with_its_own_rows_not_with_the_others(task: Task) -> None:
    measured = other(task, 10)
    found = compare(task.metric, task.test, measured, measured[:10], **NAMED)
    assert (found.rows, found.of_rows, found.equal) == (10, 30, 10)
    assert found.served.value == found.measured.value == 0.0
    assert found.within


def test_a_few_other_answers_are_told_with_their_rows(task: Task) -> None:
    found = checked(task, other(task, 2))
    assert (found.equal, found.within) == (28, True)
    assert [(row.served != row.measured, row.gain) for row in found.differing] == [(True, -1.0)] * 2
    assert "2 of 30 test rows were answered otherwise" in found.sentence
    assert "within the interval" in found.sentence
    assert checked(task, other(task, 4)).within is False


def test_a_figure_that_is_not_what_was_measured_is_said_plainly(task: Task) -> None:
    found = checked(task, other(task, 30))
    assert not found.within
    assert found.sentence.startswith("What is served is not what was measured: 30 of 30")
    assert "Do not rely on the measured figure" in found.sentence
    assert len(found.differing) == MOST_LISTED


def test_a_row_that_the_server_refused_counts_as_wrong_even_with_the_measured_text(task: Task) -> None:
    served = right(task)
    served[0] = replace(served[0], score=0.0, finish=REFUSED)
    found = checked(task, served)
    assert (found.refused, found.refusal, found.equal) == (1, served[0].text, 29)
    assert "1 of them was refused" in found.sentence


def test_without_a_common_row_there_is_no_figure(task: Task) -> None:
    with pytest.raises(StepFailed, match="answered no row that was measured"):
        checked(task, [])


def test_the_report_takes_it(task: Task) -> None:
    import json

    import jsonschema

    from freehold.trial import report
    from tests.trial.test_report import made

    value: dict[str, Any] = made() | {"served": checked(task, other(task, 9)).as_dict()}
    value = json.loads(json.dumps(value))
    jsonschema.validate(value, report.schema())
    page = report.html(value)
    assert "The same rows through a running server" in page
    assert "What is served is not what was measured" in page
    assert "Show the rows that differ" in page
    assert "The same rows through a running server" not in report.html(made())
