"""The task: rows in three splits, the metric, the closed set of labels; and its form on disk."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from freehold import durable
from freehold.data.examples import Example, RowOptions, parse_columns, read_splits
from freehold.data.splits import Splits, split
from freehold.errors import BadData
from freehold.evals import metrics
from freehold.evals.metrics import Metric

#: A test split that shares more than this with the training rows measures memory, not skill.
MOST_LEAKED = 0.2


@dataclass(frozen=True)
class Task:
    """Everything measured is measured against this. ``metric_name`` is what was asked for, None to detect."""

    name: str
    splits: Splits
    metric_name: str | None
    labels: tuple[str, ...]
    mapping: str
    files: dict[str, str]

    @property
    def metric(self) -> Metric:
        """The metric of the rows."""
        return metrics.choose(self.metric_name, [*self.splits.train, *self.splits.test])

    @property
    def test(self) -> tuple[Example, ...]:
        """Test rows in an order that has nothing to do with the file's, so that any beginning is a fair sample."""
        return tuple(sorted(self.splits.test, key=lambda example: example.digest))

    def without(self, ids: Collection[str]) -> Task:
        """The task without these rows, e.g. because they are too long for a model."""
        if not ids:
            return self
        gone = frozenset(ids)
        kept = {part: tuple(e for e in getattr(self.splits, part) if e.id not in gone) for part in ("train", "valid", "test")}
        leaks = tuple(leak for leak in self.splits.leaks if leak[1] not in gone)
        return replace(self, splits=replace(self.splits, **kept, leaks=leaks))


def load(train: Path, valid: Path | None, test: Path | None, *, columns: str | None, metric: str | None, tune: bool, allow_leaks: bool) -> Task:
    """Read, check and split the files. Raises BadData with every fault of all files together."""
    options = RowOptions(parse_columns(columns) if columns else None)
    datasets = read_splits(train, valid, test, options)
    read = {part: dataset.examples for part, dataset in datasets.items()}
    mapping = str(datasets["train"].mapping)
    splits = split(read["train"], read.get("valid"), read.get("test"), tune=tune)
    leaked = len(splits.leaked_test_ids) / len(splits.test)
    if leaked > MOST_LEAKED and not allow_leaks:
        first = splits.leaks[0]
        raise BadData(
            f"{leaked:.0%} of the test rows are near-duplicates of training rows (for example {first[1]} and {first[0]}), "
            "so the trial would measure memory",
            "remove them from one side, or pass --allow-leaks and read the figures with that in mind",
        )
    kind = metrics.choose(metric, [*splits.train, *splits.test]).kind
    known = [*splits.train, *splits.valid]
    labels = tuple(sorted({e.reference.get("label", e.answer).strip() for e in known})) if kind == "label" else ()
    generic = {"train", "data", "test", "all", "rows"}
    name = train.stem if train.stem.lower() not in generic else train.absolute().parent.name
    files = {part: dataset.digest for part, dataset in datasets.items()}
    return Task(_safe(name), splits, metric, labels, mapping, files)


def _safe(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("._-")
    return kept[:40] or "task"


def save(task: Task, path: Path) -> None:
    """Write the task for the steps' processes."""
    rows = {part: [asdict(e) for e in getattr(task.splits, part)] for part in ("train", "valid", "test")}
    value = {
        "task_version": 1, "name": task.name, "metric": task.metric_name, "labels": task.labels, "mapping": task.mapping,
        "files": task.files, "leaks": task.splits.leaks, "repeats": task.splits.repeats, **rows,
    }  # fmt: skip
    durable.write_atomically(path, json.dumps(value, ensure_ascii=False))


def read(path: Path) -> Task:
    """Inverse of :func:`save`."""
    value: dict[str, Any] = json.loads(path.read_text())

    def rows(part: str) -> tuple[Example, ...]:
        return tuple(Example(e["id"], tuple((m[0], m[1]) for m in e["messages"]), e["reference"]) for e in value[part])

    splits = Splits(rows("train"), rows("valid"), rows("test"), tuple(tuple(leak) for leak in value["leaks"]), value["repeats"])
    return Task(value["name"], splits, value["metric"], tuple(value["labels"]), value["mapping"], value["files"])
