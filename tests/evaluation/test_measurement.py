"""From rows to answers, kept block by block, to figures with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from freehold.core import statistics
from freehold.core.progress import silent
from freehold.data.examples import Example
from freehold.evaluation.measurement import (
    Answer,
    AnswerOptions,
    Ask,
    Measurement,
    answers_of,
    block_rows,
    finite,
    groups_of,
    kept_block,
    mean_figure,
    measurement,
    paired,
    pick_shots,
    read_answers,
    scope_figures,
    shared,
)
from freehold.evaluation.metrics import choose
from freehold.inference.interface import Completion
from freehold.inference.request import GenerationRequest


def row(name: str, text: str, answer: str) -> Example:
    return Example(name, (("user", text), ("assistant", answer)), {"label": answer})


ROWS = [row(f"r{number}", f"question {number}", "yes" if number % 3 else "no") for number in range(10)]
METRIC = choose("label", ROWS)


class Engine:
    """Answers ``yes`` to everything, the last request first. ``fails``: the call that does not end."""

    def __init__(self, fails: int = 0):
        self.calls: list[int] = []
        self.fails = fails

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion]]:
        self.calls.append(len(requests))
        if len(self.calls) == self.fails:
            raise KeyboardInterrupt
        for at in reversed(range(len(requests))):
            size = len(requests[at].tokens)
            yield at, Completion(" Yes. ", (1, 2), "stop", size, 0.1, 0.2)


class Encoder:
    """A token for each character of the question."""

    template = SimpleNamespace(stops=("<end>",))

    def prompt(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        return [ord(letter) for letter in messages[-1][1]]


def answers(folder: Path, engine: Engine, **options: Any) -> list[Answer]:
    settings = AnswerOptions(folder / "answers.jsonl", "rows", **options)
    return answers_of(cast(Any, engine), cast(Any, Encoder()), METRIC, Ask(), ROWS, settings, silent)


def test_rows_are_answered_in_blocks_and_come_back_in_their_order(tmp_path: Path) -> None:
    engine = Engine()
    made = answers(tmp_path, engine, block=4)
    assert engine.calls == [4, 4, 2]
    assert [answer.id for answer in made] == [example.id for example in ROWS]
    assert [answer.score for answer in made] == [float(example.answer == "yes") for example in ROWS]
    assert made[0] == Answer("r0", " Yes. ", 0.0, "stop", len("question 0"), 2)


def test_a_run_that_was_killed_goes_on_at_the_next_block(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        answers(tmp_path, Engine(fails=3), block=4)
    assert len(read_answers(tmp_path / "answers.jsonl")) == 8
    engine = Engine()
    again = answers(tmp_path, engine, block=7)  # the blocks stay those that it began with
    assert engine.calls == [2]
    (tmp_path / "whole").mkdir()
    assert again == answers(tmp_path / "whole", Engine(), block=4)


def test_a_run_that_is_whole_asks_nothing(tmp_path: Path) -> None:
    made, engine = answers(tmp_path, Engine(), block=4), Engine()
    assert answers(tmp_path, engine, block=4) == made
    assert engine.calls == []


def test_no_block_begins_that_would_end_after_the_time(tmp_path: Path) -> None:
    seconds = iter([0.0, 3.0, 3.0, 6.0, 6.0, 9.0])
    engine = Engine()
    made = answers(tmp_path, engine, block=4, clock=lambda: next(seconds), limit_s=7.0)
    assert engine.calls == [4, 4]
    assert len(made) == 8


def test_one_block_is_answered_however_short_the_time(tmp_path: Path) -> None:
    made = answers(tmp_path, Engine(), block=4, clock=iter(range(0, 1000, 100)).__next__, limit_s=1.0)
    assert len(made) == 4


def test_blocks_are_smaller_where_answers_are_long_or_time_is_short() -> None:
    assert [block_rows(Ask(max_tokens=most)) for most in (8, 24, 25, 96, 97)] == [128, 128, 48, 48, 16]
    assert block_rows(Ask(labels=("a", "b"), max_tokens=500)) == 128
    assert block_rows(Ask(max_tokens=8), row_s=1.0, limit_s=100.0) == 8  # 12% of the time: 12 rows
    assert block_rows(Ask(max_tokens=8), row_s=1.0, limit_s=1.0) == 1
    # what all rows begin with is computed for each block: a block is worth four times that
    assert block_rows(Ask(max_tokens=8), row_s=1.0, prefix_s=10.0, limit_s=100.0) == 32


def test_the_size_of_blocks_is_kept_beside_the_answers(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    assert kept_block(file, 16) == 16
    assert kept_block(file, 99) == 16


def test_worked_examples_come_between_the_system_message_and_the_question() -> None:
    shot = (("system", "ignored"), ("user", "1?"), ("assistant", "one"))
    example = Example("r", (("system", "Be brief."), ("user", "2?"), ("assistant", "two")))
    assert Ask((shot,)).messages(example) == (
        ("system", "Be brief."),
        ("user", "1?"),
        ("assistant", "one"),
        ("user", "2?"),
    )


def graded(scores: Sequence[float], finish: str = "stop") -> list[Answer]:
    return [Answer(f"r{n}", "yes", score, finish, 1, 1) for n, score in enumerate(scores)]


def test_the_metrics_own_figure_comes_first_with_its_interval() -> None:
    scores = [float(example.answer == "yes") for example in ROWS]
    figures = measurement(METRIC, ROWS, graded(scores))
    assert list(figures) == ["accuracy", "macro_f1", "cut_off"]
    exact = statistics.share_interval(6, 10)
    assert (figures["accuracy"].value, figures["accuracy"].n) == (0.6, 10)
    assert figures["accuracy"].low == pytest.approx(exact.low)
    assert figures["cut_off"].value == 0.0
    assert measurement(METRIC, ROWS, graded(scores, "length"))["cut_off"].value == 1.0


def test_a_stricter_level_makes_a_wider_interval() -> None:
    scores = [1.0] * 8 + [0.0] * 2
    usual, strict = (measurement(METRIC, ROWS, graded(scores), level=level) for level in (0.95, 0.99))
    assert (strict["accuracy"].low or 0) < (usual["accuracy"].low or 0)


def test_rows_that_belong_together_make_a_wider_interval() -> None:
    scores = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    groups = {f"r{number}": f"g{number // 2}" for number in range(10)}
    alone, together = (measurement(METRIC, ROWS, graded(scores), groups=names) for names in (None, groups))
    assert together["accuracy"].groups == 5
    assert (together["accuracy"].low or 0.0) < (alone["accuracy"].low or 0.0)


def test_a_row_without_a_group_stands_alone() -> None:
    made = graded([1.0, 1.0, 1.0])
    assert groups_of(made, {"r0": "a", "r1": ""}) == ["a", "row r1", "row r2"]
    assert groups_of(made, None) is groups_of(made, {}) is None


def test_rows_out_of_scope_have_figures_of_their_own() -> None:
    made = graded([1.0, 0.0, 1.0, 1.0])
    figures = scope_figures(METRIC, made, {"r1"})
    assert figures["accuracy_in_scope"].value == 1.0
    assert (figures["accuracy_out_of_scope"].value, figures["accuracy_out_of_scope"].n) == (0.0, 1)
    assert "no answer can be right" in figures["accuracy_out_of_scope"].method
    assert scope_figures(METRIC, made, set()) == {}
    assert list(scope_figures(METRIC, made, {a.id for a in made})) == ["accuracy_out_of_scope"]


def test_graded_scores_carry_their_variance_and_shares_do_not() -> None:
    assert mean_figure([0.0, 1.0, 1.0], "m").variance is None
    assert mean_figure([0.0, 0.5, 1.0], "m").variance == pytest.approx(0.25)


def test_two_variants_are_compared_on_the_rows_that_both_answered() -> None:
    first, second = graded([1.0, 0.0, 0.0, 1.0]), graded([1.0, 1.0, 1.0])[::-1]
    both = shared(first, second)
    assert [[answer.id for answer in answers] for answers in both] == [["r0", "r1", "r2"]] * 2
    difference = paired(*both)
    assert (difference.gained, difference.lost, difference.rows) == (2, 0, 3)
    assert difference.difference == pytest.approx(2 / 3)


def test_a_measurement_in_another_unit() -> None:
    seconds = Measurement(2.0, 1.0, None, 9, "wait", variance=0.25, unit="s")
    milliseconds = seconds.scaled(1000, "ms")
    assert (milliseconds.value, milliseconds.low, milliseconds.high) == (2000.0, 1000.0, None)
    assert (milliseconds.variance, milliseconds.unit) == (250_000.0, "ms")


def test_what_is_not_there_is_left_out_of_json_and_ends_without_a_bound_are_null() -> None:
    value = Measurement(0.5, None, 1.0, 2, "m").as_dict()
    assert value == {"value": 0.5, "low": None, "high": 1.0, "n": 2, "method": "m"}
    assert json.loads(json.dumps(value)) == value
    assert finite(float("inf")) is None
    assert finite(0.0) == 0.0


def test_worked_examples_are_one_for_each_label_of_typical_length() -> None:
    long = [row(f"l{n}", "x" * 900, "no") for n in range(2)]
    shots = pick_shots([*ROWS, *long], ("no", "yes"), 8)
    assert sorted(example.answer for example in shots) == ["no", "yes"]
    assert all(len(example.question) < 100 for example in shots)
    assert len(pick_shots(ROWS, (), 3)) == 3
    assert pick_shots([], ("a",), 3) == ()
    assert pick_shots(list(reversed(ROWS)), ("no", "yes"), 8) == pick_shots(ROWS, ("no", "yes"), 8)
