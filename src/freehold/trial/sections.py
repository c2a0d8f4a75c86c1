"""Parts of the report that say what the figures rest on: rows, labels, confusions and warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from freehold.core.wording import counted
from freehold.data.belonging import clusters
from freehold.data.examples import Example
from freehold.evaluation import confusion
from freehold.evaluation.measurement import Answer
from freehold.evaluation.metrics import Metric
from freehold.trial.ceiling import Ceiling, ceiling
from freehold.trial.leaks import leak_warning
from freehold.trial.report_record import ChangedRow, Groups, LabelsSection, Matrix, TaskSection
from freehold.trial.results import LookResult
from freehold.trial.task import Task

#: Rows left out that a report lists; the others are counted.
MOST_LEFT_OUT = 50
#: Pairs of labels that were confused and that a report lists.
MOST_CONFUSIONS = 50
_NAMED = 5
#: Fewer groups than this say little about further ones.
FEWEST_GROUPS = 20


def task_section(task: Task, balance: dict[str, int], looks: dict[str, LookResult]) -> TaskSection:
    """The report's ``task``: the rows, how they were read and split. ``balance``: label -> training rows.
    ``looks``: by step.
    """
    metric, splits = task.metric, task.splits
    return TaskSection(
        name=task.name,
        kind=metric.kind,
        metric=metric.name,
        method=metric.method,
        columns=task.mapping,
        rows={"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
        files=task.files,
        leaked_test_rows=len(splits.leaked_test_ids),
        labels=len(task.labels),
        label_balance=balance,
        repeats_dropped=splits.repeats,
        test_repeats_dropped=splits.test_repeats,
        leaks=splits.leaks[:MOST_LEFT_OUT],
        group_leaks=splits.group_leaks[:MOST_LEFT_OUT],
        groups=_groups(task),
        looks=looks,
        warnings=tuple(warnings(task)),
        reason=metric.reason,
        unused_columns=task.unused,
        data_notes=task.notes,
        left_out_count=len(task.left_out),
        left_out=task.left_out[:MOST_LEFT_OUT],
        ceiling=task.ceiling,
    )


def _groups(task: Task) -> Groups | None:
    """The column of what rows belong to and how many groups each split has; None without one."""
    if not task.group_column:
        return None
    parts = {"train": task.splits.train, "valid": task.splits.valid, "test": task.test}
    counts = {part: len(set(clusters(rows) or range(len(rows)))) for part, rows in parts.items()}
    return Groups(task.group_column, counts)


def labels(task: Task, answers: Sequence[Answer]) -> LabelsSection | None:
    """The report's ``labels``: the set, rows outside it, and the chosen variant's figures for each label.

    None where answers are not labels.
    """
    if task.metric.kind != "label":
        return None
    expected, answered = _pairs(task.metric, task.test, answers)
    per_label, grid = confusion.per_label(expected, answered), confusion.matrix(expected, answered)
    return LabelsSection(
        count=len(task.labels),
        source=task.label_source,
        unknown=task.unknown_label,
        out_of_scope_rows=len(task.out_of_scope),
        out_of_scope_labels=task.out_of_scope_labels,
        highest_reachable=task.highest_reachable,
        per_label=tuple(per_label),
        few_rows={label.label: label.rows for label in per_label if label.rows < confusion.FEW_ROWS},
        confusions=tuple(confusion.confusions(expected, answered)[:MOST_CONFUSIONS]),
        matrix=Matrix(tuple(grid[0]), tuple(tuple(row) for row in grid[1])) if grid else None,
    )


def _pairs(metric: Metric, rows: Sequence[Example], answers: Sequence[Answer]) -> tuple[list[str], list[str]]:
    known = {example.id: example for example in rows}
    return [metric.wanted(known[answer.id]) for answer in answers], [
        metric.answered(answer.text) for answer in answers
    ]


def warnings(task: Task) -> list[str]:
    """Sentences for the terminal before a trial and for the report: what limits the figures whatever the
    model.
    """
    lines: list[str] = []
    if task.left_out:
        count = len(task.left_out)
        lines.append(f"{_rows(count)} left out because they could not be used; the first: {task.left_out[0]}")
    lines += [
        line
        for line in (_repeats(task), leak_warning(task.splits), *_disputed(task), _few_groups(task))
        if line
    ]
    if task.metric.kind != "label":
        return lines
    if task.out_of_scope:
        lines.append(_outside(task))
    counts: dict[str, int] = {}
    for example in task.test:
        counts[task.metric.wanted(example)] = counts.get(task.metric.wanted(example), 0) + 1
    few = sorted((count, label) for label, count in counts.items() if count < confusion.FEW_ROWS)
    if few:
        lines.append(
            f"{len(few)} of {len(counts)} labels have fewer than {confusion.FEW_ROWS} test rows "
            f"({named({label: count for count, label in few})}), so the figures for these labels are "
            "uncertain"
        )
    return lines


def _repeats(task: Task) -> str:
    count = task.splits.test_repeats
    rows = counted(count, "repeated test row was", "repeated test rows were")
    return f"{rows} left out: the same prompt with the same answer counts once" if count else ""


def _disputed(task: Task) -> list[str]:
    """Sentences on rows with the same text and different answers, among the test rows and the others."""
    sentences: list[str] = []
    tested = task.ceiling
    if tested.rows:
        sentences.append(
            f"{tested.rows:,} of {len(task.test):,} test rows have the same text as another row but a "
            f"different answer (for example {_pairs_named(tested)}), so no model can be right on more than "
            f"{_floor(tested.value)} of these rows"
        )
    known = ceiling(task.metric, [*task.splits.train, *task.splits.valid])
    if known.rows:
        sentences.append(
            f"{known.rows:,} training or validation rows have the same text as another row but a different "
            f"answer (for example {_pairs_named(known)}); check which one is right"
        )
    return sentences


def _pairs_named(tested: Ceiling) -> str:
    return ", ".join(f"{first} and {second}" for first, second in tested.examples)


def _floor(share: float) -> str:
    """A share with three digits, not rounded up: 0.9996 is not 1."""
    return f"{math.floor(share * 1000) / 1000:.3f}"


def _few_groups(task: Task) -> str:
    """That few groups make wide intervals, however many rows they have."""
    count = len(set(clusters(task.test) or ()))
    if not task.group_column or not 0 < count < FEWEST_GROUPS:
        return ""
    return (
        f"the {len(task.test):,} test rows belong to {count} groups of the column {task.group_column!r}; "
        f"with fewer than {FEWEST_GROUPS} groups the intervals are wide, however many rows there are"
    )


def _outside(task: Task) -> str:
    count, total = len(task.out_of_scope), len(task.test)
    verb = "has" if count == 1 else "have"
    head = f"{count:,} of {total:,} test rows {verb} a label outside the {len(task.labels):,} labels of "
    head += f"{task.label_source}"
    head += f" ({named(task.out_of_scope_labels)})"
    if task.unknown_label:
        return f"{head}; for them, {task.unknown_label!r} is the right answer"
    reach = f"no answer can be right for them, so the highest possible score is {task.highest_reachable:.3f}"
    return (
        f"{head}; {reach}; pass --labels FILE to name all labels, or --unknown-label NAME for an answer that "
        "means none of these"
    )


def _rows(count: int) -> str:
    return counted(count, "row was", "rows were")


def named(counts: dict[str, int]) -> str:
    """The first few labels with their rows, and how many labels there are beside them."""
    shown = ", ".join(f"{label!r} {count}" for label, count in list(counts.items())[:_NAMED])
    return shown + (f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else "")


def changed_title(rows: Sequence[ChangedRow], before: str, after: str) -> str:
    """A heading for the rows whose score differs between the best untuned and the chosen variant: honest
    when it got worse.
    """
    if sum(row.gain for row in rows) < 0:
        return f"A step backwards, row by row: {after} is worse than {before}"
    return "What changed, row by row"
