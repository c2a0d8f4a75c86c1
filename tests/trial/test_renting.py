"""The API that one would rent, as a variant of the trial beside the others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from freehold.core.errors import BadData
from freehold.evaluation.measurement import Ask
from freehold.trial import renting, rival
from freehold.trial.renting import RIVAL, measure_rival
from freehold.trial.rival import Endpoint, Rival, Spent
from freehold.trial.run import Trial
from tests.trial.rows import answered, made_variant


def recorded(trial: Trial, folder: Path, right: int) -> None:
    """A file of recorded answers to all test rows, the first ``right`` of them right."""
    wrong = {"card": "pin", "pin": "card"}
    lines = [
        {"id": example.id, "answer": example.answer if number < right else wrong[example.answer]}
        for number, example in enumerate(trial.task.test)
    ]
    file = folder / "answers.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    trial.options = replace(trial.options, rival_file=str(file))


def test_recorded_answers_become_a_variant_with_its_figures(trial: Trial, tmp_path: Path) -> None:
    recorded(trial, tmp_path, 30)
    measure_rival(trial)
    (variant,) = trial.variants
    assert (variant.id, variant.kind, variant.rival, variant.digest) == (RIVAL, "rival", True, "")
    assert (variant.rows, variant.of_rows, variant.running) == (40, 40, None)
    assert variant.figures["accuracy"].value == 0.75
    assert variant.title == "recorded answers, answers.jsonl"
    assert variant.mean_reasoning_tokens is None  # nothing was asked, so nothing was spent
    assert len(trial.answers[RIVAL]) == 40
    assert any("are unknown and may differ" in condition for condition in variant.conditions)


def test_rows_without_a_recorded_answer_are_left_out_of_its_figures(trial: Trial, tmp_path: Path) -> None:
    recorded(trial, tmp_path, 40)
    file = Path(trial.options.rival_file)
    file.write_text("\n".join(file.read_text().splitlines()[:10]))
    measure_rival(trial)
    (variant,) = trial.variants
    assert (variant.rows, variant.of_rows) == (10, 40)
    assert variant.figures["accuracy"].n == 10


def test_recorded_answers_of_other_rows_are_refused(trial: Trial, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"id": "elsewhere", "answer": "card"}')
    trial.options = replace(trial.options, rival_file=str(file))
    with pytest.raises(BadData, match="answers none of the test rows"):
        measure_rival(trial)
    assert trial.variants == []


@pytest.fixture
def asked(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Calls of what asks an endpoint (tested in test_rival.py); it gives the right answers."""
    calls: list[tuple[Any, ...]] = []

    def measured(*arguments: Any) -> Rival:
        calls.append(arguments)
        answers = tuple(answered(trial.task, [e.answer for e in trial.task.test]))
        return Rival("m at example.org", answers, "few-shot", spent=Spent(requests=4, reasoning_tokens=10))

    monkeypatch.setattr(rival, "measured", measured)
    trial.options = replace(trial.options, rival_endpoint=Endpoint("https://example.org/v1", "m", ""))
    trial.tried = {"m": SimpleNamespace(look=SimpleNamespace(max_tokens=4))}  # type: ignore[dict-item]
    return calls


def test_an_endpoint_is_asked_with_the_most_worked_examples_of_any_variant(
    trial: Trial, asked: list[tuple[Any, ...]]
) -> None:
    train = trial.task.splits.train
    shown = (train[2].id, train[0].id)
    trial.variants = [made_variant("zero"), made_variant("few", shots=shown)]
    measure_rival(trial)
    ((_, metric, ways, chooses, judges, *_),) = asked
    assert metric.name == "accuracy"
    assert ways == {
        "zero-shot": Ask((), trial.task.labels, 68),
        "few-shot": Ask((train[2].messages, train[0].messages), trial.task.labels, 68),
    }
    assert tuple(judges) == trial.task.test
    assert {row.id for row in chooses} == {row.id for row in trial.task.splits.valid}


def test_without_worked_examples_it_is_asked_zero_shot(trial: Trial, asked: list[tuple[Any, ...]]) -> None:
    trial.variants = [made_variant("zero")]
    measure_rival(trial)
    assert list(asked[0][2]) == ["zero-shot"]


def test_tokens_of_its_reasoning_are_counted_per_request(trial: Trial, asked: list[tuple[Any, ...]]) -> None:
    trial.variants = [made_variant("zero")]
    measure_rival(trial)
    assert asked
    assert trial.variant(RIVAL).mean_reasoning_tokens == 2.5
    assert (trial.variant(RIVAL).rented or {})["how"] == "few-shot"


def test_another_endpoint_never_goes_on_with_this_ones_answers(
    trial: Trial, asked: list[tuple[Any, ...]]
) -> None:
    for model in ("m", "other", "m"):
        trial.variants = [made_variant("zero")]
        trial.options = replace(trial.options, rival_endpoint=Endpoint("https://example.org/v1", model, ""))
        renting.measure_rival(trial)
    first, second, third = (call[5] for call in asked)
    assert first == third != second
    assert {file.parent for file in (first, second)} == {trial.folder}
