"""The task: which labels answers are bound to, which test rows are outside them, and what is refused before
anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core.errors import BadData, UsageError
from freehold.evaluation import measurement
from freehold.trial import sections
from freehold.trial import task as tasks
from tests.conftest import PluginPackage
from tests.trial.rows import answered, labelled, row, task_of

KNOWN = [
    ("card is lost", "card"),
    ("pin is wrong", "pin"),
    ("card is stolen", "card"),
    ("new pin please", "pin"),
] * 5


def test_labels_are_those_of_all_rows_that_are_not_test_rows() -> None:
    train, valid = labelled("a", KNOWN[:2]), labelled("b", [("hello", "greeting")])
    found = tasks.label_set("label", [*train, *valid], labelled("t", KNOWN))
    assert found.labels == ("card", "greeting", "pin")
    assert "training and validation" in found.source


def test_test_rows_with_other_labels_are_counted_named_and_limit_what_can_be_reached() -> None:
    task = task_of(
        labelled("a", KNOWN),
        labelled("t", [*KNOWN[:6], ("what is love", "other"), ("sing", "song"), ("sing on", "song")]),
    )
    assert len(task.out_of_scope) == 3
    assert task.out_of_scope_labels == {"song": 2, "other": 1}
    assert task.highest_reachable == pytest.approx(6 / 9)
    warning = sections.warnings(task)[0]
    assert "3 of 9 test rows have a label outside the 2 labels" in warning
    assert "'song' 2, 'other' 1" in warning
    assert "0.667" in warning


def test_rows_outside_the_labels_are_scored_apart() -> None:
    task = task_of(labelled("a", KNOWN), labelled("t", [*KNOWN[:6], ("sing", "song"), ("sing on", "song")]))
    answers = answered(task, [e.answer if e.answer != "song" else "pin" for e in task.test])
    figures = measurement.measurement(task.metric, task.test, answers) | measurement.scope_figures(
        task.metric, answers, task.out_of_scope
    )
    assert figures["accuracy"].value == pytest.approx(6 / 8)
    assert figures["accuracy_in_scope"].value == 1.0
    assert figures["accuracy_in_scope"].n == 6
    assert figures["accuracy_out_of_scope"].value == 0.0
    assert "no answer can be right" in figures["accuracy_out_of_scope"].method


def test_with_an_unknown_label_rows_outside_are_right_when_answered_so() -> None:
    train = labelled("a", [*KNOWN, ("la la", "unsure")])
    task = task_of(train, labelled("t", [*KNOWN[:6], ("sing", "song"), ("la", "unsure")]), unknown="unsure")
    assert task.labels == ("card", "pin", "unsure")
    assert task.highest_reachable == 1.0
    assert len(task.out_of_scope) == 2
    answers = answered(task, [e.answer if e.answer != "song" else "unsure" for e in task.test])
    assert all(answer.score == 1.0 for answer in answers)
    wrong = answered(task, ["unsure"] * len(task.test))
    assert sum(answer.score for answer in wrong) == 2
    figures = measurement.scope_figures(task.metric, wrong, task.out_of_scope)
    assert figures["accuracy_out_of_scope"].value == 1.0
    assert figures["accuracy_in_scope"].value == 0.0


def test_a_file_of_labels_is_the_whole_set(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("card\npin\nsong\n")
    found = tasks.label_set("label", labelled("a", KNOWN), labelled("t", KNOWN), file)
    assert found.labels == ("card", "pin", "song")
    assert "labels.txt" in found.source


@pytest.mark.parametrize("column", [True, False])
def test_one_label_is_refused_before_anything_runs(column: bool) -> None:
    rows = labelled("a", [(f"text {n}", "ham") for n in range(60)], column=column)
    with pytest.raises(BadData, match="all 60 rows have the same label"):
        task_of(rows[:40], rows[40:])


def test_one_answer_of_any_kind_is_refused() -> None:
    rows = labelled("a", [(f"text {n}", '{"a": 1}') for n in range(60)], column=False)
    with pytest.raises(BadData, match="the same answer"):
        task_of(rows[:40], rows[40:])


def test_one_label_among_the_training_rows_is_refused_too() -> None:
    with pytest.raises(BadData, match="at least two"):
        task_of(
            labelled("a", [(f"text {n}", "ham") for n in range(40)]),
            labelled("t", [*KNOWN[:4], ("x", "ham")]),
        )


def test_test_rows_without_a_single_known_label_are_refused() -> None:
    with pytest.raises(BadData, match="no test row has a label"):
        task_of(labelled("a", KNOWN), labelled("t", [("x", "7"), ("y", "8"), ("z", "8")]))


def test_labels_for_answers_that_are_none_are_refused(tmp_path: Path) -> None:
    rows = [row(f"r{n}", f"q {n}", f"a long answer of its own, number {n}", column=False) for n in range(30)]
    with pytest.raises(UsageError, match="--unknown-label"):
        tasks.label_set("text", rows, rows, None, "other")


@pytest.mark.parametrize("count", [300, 1000])
def test_many_labels_stay_labels(count: int) -> None:
    pairs = [(f"about subject {n % count} in words {n}", f"subject {n % count}") for n in range(3 * count)]
    task = task_of(labelled("a", pairs), labelled("t", pairs[:200]))
    assert task.metric.kind == "label"
    assert len(task.labels) == count
    assert f"{count:,} labels" in task.metric.reason


def test_labels_with_few_test_rows_are_warned_of() -> None:
    pairs = [("card is lost", "card")] * 20 + [("pin", "pin")] * 3
    assert "'pin' 3" in sections.warnings(task_of(labelled("a", pairs), labelled("t", pairs)))[0]


def test_a_task_is_read_as_it_was_saved(tmp_path: Path) -> None:
    task = task_of(labelled("a", KNOWN), labelled("t", [*KNOWN[:6], ("sing", "song")]), unknown="unsure")
    tasks.save(task, tmp_path / "task.json")
    again = tasks.read(tmp_path / "task.json")
    assert again == task
    assert again.out_of_scope == task.out_of_scope


def test_the_name_of_a_task_comes_from_its_source() -> None:
    assert tasks.name_of("/data/tickets.csv.gz") == "tickets"
    assert tasks.name_of("/data/banking/train.jsonl") == "banking"
    assert tasks.name_of("hub:acme/tickets") == "tickets"
    assert tasks.name_of("sqlite:shop.db?SELECT a/b FROM t") == "shop"


def test_a_file_is_loaded_with_its_labels_columns_and_notes(tmp_path: Path) -> None:
    lines = ["id,created,body,team"] + [
        f"{n},2026-01-{n % 28 + 1:02},{'invoice' if n % 2 else 'parcel'} question number {n} of"
        f" {n * 7},{'money' if n % 2 else 'post'}"
        for n in range(120)
    ]
    (tmp_path / "mail.csv").write_text("\n".join(lines))
    task = tasks.load(tmp_path / "mail.csv", None, None, tune=False)
    assert task.labels == ("money", "post")
    assert not task.out_of_scope
    assert "created" in task.unused


def test_a_packages_metric_is_kept_with_its_version_and_named_in_the_report(
    tmp_path: Path, install_plugin: Callable[[PluginPackage], Path]
) -> None:
    module = "class METRIC:\n    kind, name, method = 'text', 'tone', 'how kind it is'\n"
    module += "    grade = staticmethod(lambda row, answer: 1)\n"
    entry = {"freehold.metrics": {"kindness": "kind_plugin:METRIC"}}
    install_plugin(PluginPackage(entry, {"kind_plugin": module}, "kind", "0.3"))
    rows = tmp_path / "mail.csv"
    rows.write_text("question,answer\n" + "".join(f"what is {n},it is {n * n}\n" for n in range(40)))
    task = tasks.load(rows, None, None, metric="kindness", tune=False)
    assert task.metric_name == "kindness==0.3"
    assert sections.task_section(task, {}, {}).method == "how kind it is (metric kindness, kind 0.3)"
    tasks.save(task, tmp_path / "task.json")
    assert tasks.read(tmp_path / "task.json").metric.name == "tone"
