from pathlib import Path

import pytest

from freehold.core.errors import BadData, UsageError
from freehold.data.examples import Example
from freehold.evaluation import metrics, task_kinds


def row(answer: str, **reference: str) -> Example:
    return Example("r", (("user", "q"), ("assistant", answer)), reference)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("so 1,234.50 dollars\n#### 18", 18),
        ("about 3 or 4.", 4),
        ("#### 1,000.00", 1000),
        ("-7", -7),
        ("none", None),
        ("100", 100),
    ],
)
def test_the_number_of_an_answer(text: str, wanted: int | None) -> None:
    assert metrics.last_number(text) == wanted


def test_json_fields() -> None:
    example = row('{"a": 1, "b": {"c": "x"}}')
    assert metrics.fields(example, '```json\n{"a": 1, "b": {"c": "x"}}\n```') == 1.0
    assert metrics.fields(example, '{"a": 1, "b": {"c": "y"}}') == 0.5
    assert metrics.fields(example, "no json") == 0.0


def column(answers: list[str]) -> list[Example]:
    """Rows whose answers come from a label column."""
    return [row(answer, label=answer) for answer in answers]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["x #### 3", "y #### 4"], "number"),
        (['{"a": 1}', '{"a": 2}'], "json"),
        (['[{"a": 1}]', "[]"], "json"),
        (['```json\n{"a": 1}\n```', '```\n["b"]\n```'], "json"),
        (["yes", "no"] * 10, "label"),
        (["True", "False"] * 10, "label"),
        (["0", "1"] * 10, "label"),
        (["1", "2", "3", "4", "5"] * 6, "label"),
        (["1.0", "2.0", "3.0"] * 6, "label"),
        ([f"{n * 0.37:.2f}" for n in range(40)], "value"),
        ([f"{n},5" for n in range(40)], "value"),
        ([f"{n}.50 €" for n in range(40)], "value"),
        ([f"{n * 1.5}%" for n in range(40)], "value"),
        ([f"{n}.50 {'€$'[n % 2]}" for n in range(40)], "exact"),
        ([str(n * 17) for n in range(40)], "number"),
        ([f"subject {n % 300}" for n in range(900)], "label"),
        ([f"subject {n % 1000}" for n in range(2200)], "label"),
        (["none"] * 60 + [f"name {n}" for n in range(40)], "exact"),
        (["one thing", "another"], "text"),
    ],
)
def test_the_kind_of_task_is_told_from_its_answers(answers: list[str], kind: str) -> None:
    assert task_kinds.detect([row(answer) for answer in answers]).name == kind


def test_a_column_beside_written_answers_may_hold_their_numbers() -> None:
    said = [(("user", "q"), ("assistant", f"so it is {n}")) for n in range(30)]
    rows = [Example(str(n), messages, {"answer": str(n)}) for n, messages in enumerate(said)]
    assert task_kinds.detect(rows).name == "number"


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([f"intent {n % 1000}" for n in range(1500)], "label"),
        ([str(n % 77) for n in range(800)], "label"),
        ([str(n * 31) for n in range(80)], "value"),
        ([f"a comment of its own, number {n}" for n in range(60)], "text"),
        (["a very long label " * 20, "another long label " * 20] * 5, "label"),
    ],
)
def test_a_label_column_holds_labels_unless_they_seldom_repeat(answers: list[str], kind: str) -> None:
    assert task_kinds.detect(column(answers)).name == kind


def test_rows_with_several_labels_are_a_kind_of_their_own() -> None:
    rows = [row("a, b", labels='["a", "b"]'), row("a", labels='["a"]')]
    assert task_kinds.detect(rows).name == "labels"


def test_the_reason_says_what_was_not_chosen_and_how_to_choose_it() -> None:
    assert "--metric number" in metrics.choose(None, column(["1", "2", "3"] * 9)).reason
    assert metrics.choose("text", column(["a", "b"] * 9)).reason == "chosen with --metric"


def test_a_set_of_labels_is_right_in_any_order() -> None:
    example = row("billing, late", labels='["billing", "late"]')
    for answer in ("late, billing", '["late", "billing"]', "late; billing", "late\nbilling"):
        assert metrics.label_set(example, answer) == 1.0
    assert metrics.label_set(example, "late") == pytest.approx(2 / 3)
    assert metrics.label_set(example, "other") == 0.0
    assert metrics.label_set(row("x, y", labels='["x, y"]'), "x, y") == 1.0


def test_a_value_is_worth_more_the_nearer_it_is() -> None:
    metric = metrics.choose("value", [row("0.5"), row("10.5")])
    assert metric.scale == 10.0
    assert metric.grade(row("5.0"), "5.0") == 1.0
    assert metric.grade(row("5.0"), "about 6") == pytest.approx(0.9)
    assert metric.grade(row("5.0"), "500") == 0.0
    assert metric.grade(row("5.0"), "no idea") == 0.0
    assert metrics.error_of(row("5.0"), "no idea", metric.scale) == 10.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("3,5", 3.5), ("1,234.5", 1234.5), ("1e3", 1000.0), ("is -0.5.", -0.5), ("1e999", None), ("", None)],
)
def test_the_value_of_an_answer(text: str, value: float | None) -> None:
    assert metrics.value_of(text) == value


def test_json_lists_are_compared_without_their_order_and_broken_answers_are_worth_nothing() -> None:
    listed = row('[{"a": 1}, {"a": 2}]')
    assert metrics.fields(listed, 'Here: [{"a": 2}, {"a": 1.0}] done') == 1.0
    assert metrics.fields(row("{}"), "{}") == 1.0
    assert metrics.fields(row("[]"), "[]") == 1.0
    for answer in ("[" * 100_000, "{'a': 1}", "null", ""):
        assert metrics.fields(listed, answer) == 0.0


@pytest.mark.parametrize(
    ("asked", "near"),
    [("lable", "label"), ("acuracy", "label"), ("jsn", "json"), ("numbers", "number"), ("MAE", "value")],
)
def test_an_unknown_metric_is_one_sentence_with_the_nearest_name(asked: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"unknown metric; did you mean {near}"):
        metrics.choose(asked, [row("a")])


def test_labels_asked_for_on_answers_that_are_all_different_are_refused() -> None:
    with pytest.raises(BadData, match="have different answers"):
        metrics.choose("label", [row(f"text {n}") for n in range(30)])


@pytest.mark.parametrize("asked", ["json", "value", "number", "code"])
def test_a_metric_that_cannot_grade_the_rows_is_refused(asked: str) -> None:
    with pytest.raises(
        BadData, match=f"--metric {asked}: 1 of 2 rows" if asked != "code" else "--metric code"
    ):
        metrics.choose(asked, [row({"json": "{}"}.get(asked, "3")), row("word")])


def test_a_users_function_that_fails_is_named_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def broken(row, answer):\n    return row['nothing']\n")
    with pytest.raises(UsageError, match="failed on row r"):
        metrics.choose(f"{tmp_path / 'mine.py'}:broken", []).grade(row("a"), "x")
    (tmp_path / "bad.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(UsageError, match="cannot be run"):
        metrics.choose(f"{tmp_path / 'bad.py'}:f", [])


def test_a_users_own_function(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def half(row, answer):\n    return 0.5 if answer else 2\n")
    metric = metrics.choose(f"{tmp_path / 'mine.py'}:half", [])
    assert metric.grade(row("a"), "x") == 0.5
    with pytest.raises(UsageError, match="returned 2 for row r"):
        metric.grade(row("a"), "")


@pytest.mark.parametrize(
    ("wanted", "answer", "score"),
    [
        ('{"tags": []}', '{"tags": []}', 1.0),
        ('{"tags": {}}', '{"tags": []}', 0.0),
        ('{"n": 1}', '{"n": 1.0}', 1.0),
        ('{"n": 1}', '{"n": true}', 0.0),
        ('{"n": null}', '{"n": ""}', 0.0),
        # the same values, but in the wrong objects
        ('[{"a": 1, "b": 2}, {"a": 3, "b": 4}]', '[{"a": 1, "b": 4}, {"a": 3, "b": 2}]', 0.5),
        ('[{"a": 1, "b": 2}, {"a": 3, "b": 4}]', '[{"a": 3, "b": 4}, {"a": 1, "b": 2}]', 1.0),
        ('{"x": ["p", "p"]}', '{"x": ["p"]}', 2 / 3),
        ('{"a": {"b": 1}}', '{"a": 1}', 0.0),
    ],
)
def test_json_values_count_where_they_belong(wanted: str, answer: str, score: float) -> None:
    assert metrics.fields(row(wanted), answer) == pytest.approx(score)
    assert metrics.fields(row(answer), wanted) == pytest.approx(score)


def test_texts_without_spaces_are_compared_by_character() -> None:
    assert metrics.rouge_l("我想退货", "我想退款") == pytest.approx(0.75)
    assert metrics.rouge_l("配送が遅い", "配送が遅い") == 1.0
    assert metrics.rouge_l("Das Paket ist da", "das paket ist weg") == pytest.approx(0.75)
