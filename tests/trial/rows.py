"""Rows, tasks and answers that the tests of trials are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from freehold.core.progress import silent
from freehold.data.examples import Example
from freehold.data.splits import Splits
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Answer, Measurement, Measurements
from freehold.trial import baselines
from freehold.trial import task as tasks
from freehold.trial.baselines import Baseline
from freehold.trial.results import WaitMeasurement
from freehold.trial.task import Task
from freehold.trial.variant import Variant


def row(name: str, text: str, answer: str, *, column: bool = True, **reference: str) -> Example:
    """A row with a label column, or without."""
    return Example(
        name, (("user", text), ("assistant", answer)), {"label": answer, **reference} if column else reference
    )


def labelled(prefix: str, pairs: Sequence[tuple[str, str]], *, column: bool = True) -> tuple[Example, ...]:
    """A row for each (text, label)."""
    return tuple(
        row(f"{prefix}-{number}", text, label, column=column) for number, (text, label) in enumerate(pairs)
    )


def task_of(
    train: Sequence[Example], test: Sequence[Example], metric: str | None = None, unknown: str = ""
) -> Task:
    """A task of rows that are split already."""
    splits = Splits(tuple(train), (), tuple(test), (), 0)
    kind = tasks.metrics.choose(metric, train, test).kind
    labels = tasks.label_set(kind, train, test, None, unknown)
    return Task(
        "t", splits, metric, labels.labels, "text=text, label=label", {}, labels.source, labels.unknown
    )


def answered(task: Task, texts: Sequence[str]) -> list[Answer]:
    """Graded answers to the task's test rows in order."""
    grade = task.metric.grade
    return [
        Answer(e.id, text, grade(e, text), "stop", 9, 2) for e, text in zip(task.test, texts, strict=True)
    ]


def figure(value: float, low: float | None, high: float | None, n: int = 200) -> Measurement:
    """A measured value with its interval."""
    return Measurement(value, low, high, n, "")


def wait(value: float, low: float | None = None, high: float | None = None, n: int = 30) -> WaitMeasurement:
    """A measured wait in milliseconds; without ends, one that is known exactly."""
    ends = (value, value) if low is None and high is None else (low, high)
    return WaitMeasurement(value, *ends, n, "")


def made_variant(name: str = "v", figures: Measurements | None = None, **more: Any) -> Variant:
    """A variant with these figures, measured as it stands on 200 test rows."""
    usual: dict[str, Any] = {
        "title": name,
        "model": "m",
        "kind": "as is",
        "digest": "ab" * 32,
        "rows": 200,
        "of_rows": 200,
        "running": None,
        "licence": "mit",
        "size_bytes": 100,
        "stored_as": "m",
    }
    return Variant(**{"id": name, "figures": figures or {}, **usual, **more})


def variant(
    task: Task, name: str, texts: Sequence[str], kind: str = "as is", **more: Any
) -> tuple[Variant, list[Answer]]:
    """A variant that gave these answers to the test rows, and the answers."""
    answers = answered(task, texts)
    figures = measurement.measurement(task.metric, task.test, answers)
    figures |= measurement.scope_figures(task.metric, answers, task.out_of_scope)
    rows = {"rows": len(answers), "of_rows": len(answers)}
    return made_variant(name, figures, kind=kind, licence="apache-2.0", **rows, **more), answers


def compared(task: Task, *measured: tuple[Variant, list[Answer]]) -> tuple[list[Variant], list[Baseline]]:
    """(variants with their differences from the baselines, baselines)."""
    simple = baselines.measure_all(task, silent)
    return [replace(value, against=baselines.compare(answers, simple)) for value, answers in measured], simple
