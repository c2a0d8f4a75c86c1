"""Rows, tasks and answers that the tests of trials are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from freehold.data.examples import Example
from freehold.data.splits import Splits
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Answer
from freehold.trial import baselines
from freehold.trial import task as tasks
from freehold.trial.task import Task


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


def variant(
    task: Task, name: str, texts: Sequence[str], kind: str = "as is", **more: Any
) -> tuple[dict[str, Any], list[Answer]]:
    """A measured variant as the report holds it, and its answers."""
    answers = answered(task, texts)
    figures = measurement.measurement(task.metric, task.test, answers)
    figures |= measurement.scope_figures(task.metric, answers, task.out_of_scope)
    value = {
        "id": name, "title": name, "model": "m", "kind": kind, "digest": "ab" * 32, "size_bytes": 10**8, "parameters": 10**6,
        "licence": "apache-2.0", "shots": [], "figures": figures, "measured_on": "test", "selection": None, "rows": len(answers), "of_rows": len(answers), "trained": None,
        "running": None, "weights": "", "stored_as": "m", **more,
    }  # fmt: skip
    return value, answers


def compared(
    task: Task, *measured: tuple[dict[str, Any], list[Answer]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(variants with their differences from the baselines, baselines)."""
    from dataclasses import asdict

    from freehold.core.progress import silent

    simple = [asdict(baseline) for baseline in baselines.measure_all(task, silent)]
    variants = [value for value, _ in measured]
    baselines.compare(variants, {value["id"]: answers for value, answers in measured}, simple)
    return variants, simple
