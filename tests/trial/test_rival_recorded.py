"""Answers that somebody recorded: what is odd about the file is said; how they were asked for is unknown."""

from pathlib import Path

import pytest

from freehold.core.errors import BadData, NotFound
from freehold.data.examples import Example
from freehold.evaluation.metrics import choose
from freehold.trial.rival_recorded import recorded

SUMS = [Example(f"row-{i}", (("user", f"{i} plus 1?"), ("assistant", str(i + 1)))) for i in range(6)]
METRIC = choose("number", SUMS)


def write(folder: Path, *lines: str) -> Path:
    file = folder / "answers.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_recorded_answers_are_graded_by_id(tmp_path: Path) -> None:
    file = write(tmp_path, '{"id": "row-1", "answer": "It is 2."}', "", '{"id": "row-2", "answer": 7}')
    assert {a.id: a.score for a in recorded(file, METRIC, SUMS).answers} == {"row-1": 1.0, "row-2": 0.0}


def test_they_are_read_as_own_answers_are(tmp_path: Path) -> None:
    rows = [
        Example(f"c-{i}", (("user", f"t{i}"), ("assistant", colour)), {"label": colour})
        for i, colour in enumerate(["red", "blue"] * 3)
    ]
    metric = choose("label", rows, labels=("blue", "red"))
    lines = (
        "Label: Red.",
        "**blue**",
        "RED",
        '{\\"label\\": \\"blue\\"}',
        "<think>blue?</think>red",
        "blue or red",
    )
    file = write(tmp_path, *(f'{{"id": "c-{i}", "answer": "{text}"}}' for i, text in enumerate(lines)))
    assert [answer.score for answer in recorded(file, metric, rows).answers] == [1.0] * 5 + [0.0]


def test_what_is_odd_about_the_file_is_said(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        '\ufeff{"id": "row-0", "answer": "1"}',
        '{"id": "row-0", "answer": "1"}',
        '{"id": "row-1", "answer": "2"}',
        '{"id": "row-1", "answer": "3"}',
        '{"id": "train-1", "answer": "3"}',
        '{"id": "nobody", "answer": "3"}',
        '{"id": "row-2", "answer": "3"}',
    )
    rival = recorded(file, METRIC, SUMS, others=["train-1"])
    assert [answer.id for answer in rival.answers] == ["row-0", "row-2"]
    assert rival.how == ""
    assert rival.conditions == (
        "the prompt, worked examples and settings behind these answers are unknown and may differ",
        "3 without a recorded answer: test rows left out of the comparison (row-3, row-4, row-5)",
        "1 recorded for rows that are not test rows (train-1)",
        "1 recorded with an id that no row has (nobody)",
        "1 recorded more than once with the same answer (row-0)",
        "1 recorded with different answers: test rows left out of the comparison (row-1)",
    )


def test_every_faulty_line_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, '{"id": "row-1"}', "not json", '["row-2", "3"]', '{"id": "row-2", "answer": null}')
    with pytest.raises(
        BadData, match=r"4 errors(.|\n)*answers.jsonl:1: (.|\n)*:2: (.|\n)*:3: (.|\n)*:4: .*null"
    ):
        recorded(file, METRIC, SUMS)


def test_a_file_of_other_rows_names_an_id_that_would_do(tmp_path: Path) -> None:
    with pytest.raises(BadData) as caught:
        recorded(write(tmp_path, '{"id": "x", "answer": "3"}'), METRIC, SUMS)
    assert "row-0" in caught.value.remedy
    with pytest.raises(NotFound):
        recorded(tmp_path / "none.jsonl", METRIC, SUMS)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes('{"id": "row-1", "answer": "zwölf"}'.encode("latin-1"))
    with pytest.raises(BadData, match="not UTF-8"):
        recorded(file, METRIC, SUMS)
