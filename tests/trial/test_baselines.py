"""What a person would try first, on the same rows, in seconds."""

import json
import time
from pathlib import Path

import pytest

from freehold.core.progress import silent
from freehold.data.examples import Example
from freehold.trial import baselines, jobs, json_form, summary
from freehold.trial import task as tasks
from freehold.trial.arguments import BaselinesArguments
from freehold.trial.baselines import Baseline
from freehold.trial.results import BaselinesResult
from freehold.trial.task import Task
from tests.trial.rows import labelled, row, task_of

TOPICS = {
    "money": "invoice refund charge price",
    "post": "parcel courier delivery address",
    "access": "password login locked email",
}


def tickets(prefix: str, rows: int, start: int = 0) -> tuple[Example, ...]:
    pairs = []
    for number in range(start, start + rows):
        label = list(TOPICS)[number % 3] if number % 5 else "money"
        words = TOPICS[label].split()
        pairs.append((f"Hello, a {words[number % 4]} and a {words[(number + 1) % 4]} case {number}", label))
    return labelled(prefix, pairs)


def by_id(task: Task) -> dict[str, Baseline]:
    return {baseline.id: baseline for baseline in baselines.measure_all(task, silent)}


def test_labels_have_the_majority_the_nearest_row_and_a_linear_classifier() -> None:
    task = task_of(tickets("a", 120), tickets("t", 60, 120))
    found = by_id(task)
    assert list(found) == ["majority", "nearest", "linear"]
    assert found["majority"].constant
    share = sum(e.answer == "money" for e in task.test) / 60
    assert found["majority"].figures["accuracy"].value == pytest.approx(share)
    assert found["linear"].figures["accuracy"].value > 0.9
    figure = found["linear"].figures["accuracy"]
    assert figure.n == 60
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= figure.value <= figure.high
    assert set(found["linear"].scores) == {example.id for example in task.test}


def test_the_majority_is_that_of_the_training_rows_not_of_the_test_rows() -> None:
    task = task_of(
        labelled("a", [("x", "p")] * 9 + [("y", "q")] * 3),
        labelled("t", [("x", "p")] * 2 + [("y", "q")] * 10),
    )
    assert by_id(task)["majority"].figures["accuracy"].value == pytest.approx(2 / 12)


def test_several_labels_are_compared_as_sets() -> None:
    def tagged(prefix: str, rows: int) -> list[Example]:
        made = []
        for number in range(rows):
            names = [name for bit, name in enumerate(TOPICS) if (number % 7 + 1) >> bit & 1]
            text = " and ".join(TOPICS[name].split()[number % 4] for name in names)
            reference = {"labels": json.dumps(names)}
            made.append(
                Example(f"{prefix}{number}", (("user", text), ("assistant", ", ".join(names))), reference)
            )
        return made

    found = by_id(task_of(tagged("a", 140), tagged("t", 35)))
    assert list(found) == ["majority", "nearest", "linear"]
    assert found["linear"].figures["label_f1"].value > found["majority"].figures["label_f1"].value


def test_values_have_the_mean_and_a_ridge() -> None:
    pairs = [(f"{'very ' * (n % 6)}good film", f"{1 + (n % 6) * 0.7:.2f}") for n in range(120)]
    task = task_of(labelled("a", pairs[:90]), labelled("t", pairs[90:]))
    found = by_id(task)
    assert list(found) == ["mean", "nearest", "linear"]
    assert found["mean"].constant
    assert found["linear"].figures["mae"].value < found["mean"].figures["mae"].value


@pytest.mark.parametrize("form", ['{{"n": {n}}}', "so it is\n#### {n}", "a text of its own about {n} things"])
def test_other_kinds_have_the_most_frequent_answer_and_the_nearest_rows(form: str) -> None:
    rows = [row(f"r{n}", f"how many are {n} and {n}", form.format(n=n), column=False) for n in range(60)]
    found = by_id(task_of(rows[:40], rows[40:]))
    assert list(found) == ["majority", "nearest"]
    assert found["majority"].constant


def test_code_has_none() -> None:
    rows = [
        row(f"r{n}", "def f():", f"return {n}", column=False, test="def check(f): pass", entry_point="f")
        for n in range(30)
    ]
    assert baselines.measure_all(task_of(rows[:10], rows[10:]), silent) == []


@pytest.mark.parametrize("text", ["", "?!", "\u4f60\u597d", "a" * 20_000])
def test_texts_without_words_or_without_end_are_measured(text: str) -> None:
    rows = [row(f"r{n}", text, "yes" if n % 2 else "no") for n in range(60)]
    assert len(by_id(task_of(rows[:40], rows[40:]))) == 3


@pytest.mark.slow
def test_ten_thousand_rows_take_seconds() -> None:
    import random

    draw = random.Random(7)
    words = [f"w{n}" for n in range(4000)]
    pairs = [
        (" ".join([f"topic{n % 100}", *draw.choices(words, k=30)]), f"topic {n % 100}") for n in range(10_000)
    ]
    task = task_of(labelled("a", pairs[:8000]), labelled("t", pairs[8000:]))
    started = time.process_time()
    found = by_id(task)
    assert time.process_time() - started < 60  # about 15 on an idle machine
    assert sum(baseline.seconds for baseline in found.values()) > 0


def test_the_step_leaves_json_and_the_report_holds_no_row(tmp_path: Path) -> None:
    tasks.save(task_of(tickets("a", 60), tickets("t", 30, 60)), tmp_path / "task.json")
    arguments = BaselinesArguments({}, None, "", (), "", tune=True, task=str(tmp_path / "task.json"))
    result = jobs.measure_baselines(arguments, silent)
    assert [baseline.id for baseline in result.baselines] == ["majority", "nearest", "linear"]
    assert BaselinesResult.from_json(json.loads(json.dumps(result.as_json()))) == result
    sections = [json_form.write(summary.section_of(baseline)) for baseline in result.baselines]
    assert "scores" not in json.dumps(sections)


def test_variants_get_their_difference_from_each_baseline_on_the_rows_they_answered() -> None:
    from tests.trial.rows import answered

    task = task_of(tickets("a", 60), tickets("t", 30, 60))
    answers = answered(task, [e.answer for e in task.test])[:20]
    first, *_ = baselines.compare(answers, baselines.measure_all(task, silent))
    assert first.constant
    assert first.rows == 20
    assert first.difference > 0


@pytest.mark.skipif(
    not Path("../shared/data/banking77").is_dir(), reason="the rows of banking77 are not here"
)
@pytest.mark.slow
def test_a_linear_classifier_reaches_nine_tenths_of_banking77() -> None:
    folder = Path("../shared/data/banking77")
    task = tasks.load(folder / "train.jsonl", folder / "valid.jsonl", folder / "test.jsonl")
    assert by_id(task)["linear"].figures["accuracy"].value > 0.88
