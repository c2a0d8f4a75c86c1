"""An interval counts groups, not rows: it is wider where the rows of a group go together."""

import random
from pathlib import Path

from freehold.data.examples import RowOptions
from freehold.evaluation import measurement
from freehold.trial import jobs
from freehold.trial import task as tasks
from tests.trial.rows import answered

WORDS = [f"word{n}" for n in range(3000)]


def load(tmp_path: Path, group: str) -> tasks.Task:
    """A task of 60 patients with 8 notes each."""
    rng = random.Random(7)
    lines = [f"p{n // 8},{' '.join(rng.choices(WORDS, k=9))},{rng.choice('ab')}" for n in range(480)]
    file = tmp_path / "notes.csv"
    file.write_text("\n".join(["patient,text,label", *lines]))
    return tasks.load(file, None, None, rows=RowOptions(group=group))


def width(figure: measurement.Measurement) -> float:
    """Of a figure's interval."""
    assert figure.low is not None
    assert figure.high is not None
    return figure.high - figure.low


def test_the_interval_of_a_measured_variant_is_wider_with_groups(tmp_path: Path) -> None:
    task = load(tmp_path, "patient")
    easy = {example.group for example in task.test if int(example.group[1:]) % 4}
    given = [e.answer if e.group in easy else "ab".replace(e.answer, "") for e in task.test]
    answers = answered(task, given)
    grouped = jobs.measured(task, task.test, answers, budget_s=1.0, digest="").figures["accuracy"]
    alone = measurement.measurement(task.metric, task.test, answers)["accuracy"]
    assert grouped.value == alone.value
    assert width(grouped) > 1.5 * width(alone)
    assert grouped.groups == len({example.group for example in task.test})


def test_without_the_option_nothing_is_grouped(tmp_path: Path) -> None:
    task = load(tmp_path, "")
    answers = answered(task, [example.answer for example in task.test])
    accuracy = jobs.measured(task, task.test, answers, budget_s=1.0, digest="").figures["accuracy"]
    assert accuracy.groups is None
