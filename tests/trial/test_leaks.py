"""Test rows that judge and those that do not: leaks, groups, and texts with two answers."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core.errors import BadData, Unsupported
from freehold.data.examples import Example, RowOptions
from freehold.data.splits import Splits, split
from freehold.evaluation.metrics import METRICS
from freehold.trial import sections
from freehold.trial import task as tasks
from freehold.trial.ceiling import Ceiling, ceiling
from freehold.trial.leaks import leak_warning, refuse_leaks
from freehold.trial.report_record import Groups
from tests.trial.rows import labelled, row, task_of

WORDS = [f"word{n}" for n in range(3000)]


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    return [(" ".join(rng.choices(WORDS, k=9)), "ab"[n % 2]) for n in range(count)]


def parts(leaked: int, count: int = 40) -> Splits:
    """Given splits of which some test rows are training rows with a typo, in capitals."""
    train = labelled("train", texts(80, 1))
    copies = [
        (example.question.upper().replace("WORD", "WROD", 1), example.answer) for example in train[:leaked]
    ]
    return split(train, [], labelled("test", [*copies, *texts(count - leaked, 2)]))


# -- leaks ----------------------------------------------------------------------------------------


def test_rows_that_leak_do_not_judge() -> None:
    splits = parts(6)
    assert len(splits.test) == 34
    assert {example.id for example in splits.leaked} == {f"test-{n}" for n in range(6)}
    assert splits.leaked_test_ids == {example.id for example in splits.leaked}


def test_a_task_made_of_splits_with_leaks_judges_without_them_too() -> None:
    task = task_of(labelled("a", texts(40, 1)), labelled("t", texts(30, 2)))
    task = replace(task, splits=replace(task.splits, leaks=(("a-0", "t-3", 0.9),)))
    assert "t-3" not in {example.id for example in task.test}
    assert [example.id for example in task.leaked] == ["t-3"]


def test_the_warning_counts_and_quotes_them() -> None:
    warning = leak_warning(parts(6))
    assert "6 of 40 test rows are near-duplicates of training or validation rows" in warning
    assert "left out of all figures" in warning
    assert "and train-" in warning
    assert leak_warning(parts(0)) == ""


def test_many_leaks_are_refused_and_may_be_left_out_on_demand() -> None:
    splits = parts(20)
    with pytest.raises(BadData, match=r"50% of the test rows are near-duplicates") as caught:
        refuse_leaks(splits, allow=False)
    assert "--allow-leaks to judge by the other 20 rows" in caught.value.remedy
    refuse_leaks(splits, allow=True)


def test_few_rows_that_are_left_are_said() -> None:
    assert "fewer than 20 rows are left" in leak_warning(parts(30))


@pytest.mark.parametrize("allow", [True, False])
def test_where_all_rows_leak_one_sentence_says_so(allow: bool) -> None:
    with pytest.raises(BadData, match=r"all 40 test rows are near-duplicates .* no row is left to judge"):
        refuse_leaks(parts(40), allow)


def test_a_group_on_both_sides_is_named() -> None:
    train = [replace(e, group=f"p{n % 40}") for n, e in enumerate(labelled("train", texts(80, 1)))]
    test = [replace(e, group=f"p{n + 10}") for n, e in enumerate(labelled("test", texts(40, 2)))]
    splits = split(train, [], test)
    assert len(splits.leaked) == 30
    with pytest.raises(BadData, match=r"75% of the test rows belong to a group .* both of 'p10'"):
        refuse_leaks(splits, allow=False)


# -- one text, two answers ------------------------------------------------------------------------


def disputed(times: int = 1) -> list[Example]:
    """Twenty rows, of which some pairs have the same text and other labels."""
    pairs = texts(20 - 2 * times, 3)
    pairs += [(f"the same words again {n}", label) for n in range(times) for label in "ab"]
    return list(labelled("t", pairs))


def test_the_ceiling_is_what_the_best_single_answer_to_each_text_reaches() -> None:
    found = ceiling(METRICS["label"], disputed(2))
    assert found.value == pytest.approx(0.9)
    assert found.rows == 4
    assert found.examples == (("t-16", "t-17"), ("t-18", "t-19"))


def test_it_is_in_the_warnings_and_in_the_report() -> None:
    task = task_of(labelled("a", [*texts(30, 4), ("what is it", "a"), ("what is it ", "b")]), disputed())
    warnings = " ".join(sections.warnings(task))
    assert "2 of 20 test rows have the same text as another row but a different answer" in warnings
    assert "no model can be right on more than 0.950 of these rows" in warnings
    assert "2 training or validation rows have the same text" in warnings
    assert sections.task_section(task, {}, {}).ceiling == Ceiling(0.95, 2, (("t-18", "t-19"),))
    assert task.highest_reachable == pytest.approx(0.95)


def test_labels_outside_the_set_and_disputed_texts_add_up() -> None:
    task = task_of(labelled("a", texts(30, 4)), [*disputed(), row("x", "something else", "c")])
    assert task.highest_reachable == pytest.approx(19 / 21)


def test_numbers_written_otherwise_are_not_disputed() -> None:
    rows = [row(f"r{n}", "how many", answer, column=False) for n, answer in enumerate(["1,000", "1000"])]
    assert ceiling(METRICS["number"], rows).rows == 0
    assert ceiling(METRICS["number"], [*rows, row("r3", "how many", "7", column=False)]).rows == 3


def test_several_texts_may_be_good_answers() -> None:
    rows = [row(f"r{n}", "write a poem", f"poem number {n}", column=False) for n in range(4)]
    assert ceiling(METRICS["text"], rows).value == 1.0


# -- the task -------------------------------------------------------------------------------------


def notes(tmp_path: Path, patients: int) -> Path:
    pairs = texts(patients * 4, 5)
    lines = [f"p{n // 4},{text},{label}" for n, (text, label) in enumerate(pairs)]
    file = tmp_path / "notes.csv"
    file.write_text("\n".join(["patient,text,label", *lines]))
    return file


def test_a_task_with_groups_is_read_as_it_was_saved(tmp_path: Path) -> None:
    task = tasks.load(notes(tmp_path, 40), None, None, rows=RowOptions(group="patient"))
    task = replace(task, splits=replace(task.splits, leaked=task.splits.train[:2], test_repeats=3))
    tasks.save(task, tmp_path / "task.json")
    again = tasks.read(tmp_path / "task.json")
    assert again == task
    assert again.group_column == "patient"
    assert all(example.group.startswith("p") for example in again.test)


def test_few_groups_are_warned_of_and_counted_in_the_report(tmp_path: Path) -> None:
    task = tasks.load(notes(tmp_path, 40), None, None, rows=RowOptions(group="patient"))
    counts = {"train": 28, "valid": 4, "test": 8}
    assert sections.task_section(task, {}, {}).groups == Groups("patient", counts)
    assert "32 test rows belong to 8 groups of the column 'patient'" in " ".join(sections.warnings(task))


def test_a_task_of_version_2_judges_without_its_leaks(tmp_path: Path) -> None:
    import json

    task = task_of(labelled("a", texts(40, 1)), labelled("t", texts(30, 2)))
    tasks.save(task, tmp_path / "task.json")
    value = json.loads((tmp_path / "task.json").read_text())
    for key in ("leaked", "group_leaks", "group_column", "test_repeats"):
        del value[key]
    for part in ("train", "valid", "test"):
        for example in value[part]:
            del example["group"]
    (tmp_path / "task.json").write_text(
        json.dumps(value | {"task_version": 2, "leaks": [["a-0", "t-3", 0.9]]})
    )
    again = tasks.read(tmp_path / "task.json")
    assert len(again.test) == 29
    assert [example.id for example in again.leaked] == ["t-3"]


def test_a_task_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text('{"task_version": 99}')
    with pytest.raises(Unsupported, match="task version 99"):
        tasks.read(tmp_path / "task.json")
