"""The task: rows in three splits, the metric, the closed set of labels; and its form on disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from freehold import durable
from freehold.data.examples import Dataset, Example, RowOptions, read_splits
from freehold.data.splits import Splits, split
from freehold.data.table import Fault
from freehold.errors import BadData, UsageError
from freehold.evals import metrics
from freehold.evals.kinds import wanted_label
from freehold.evals.metrics import Metric
from freehold.progress import Sink, silent
from freehold.trial.datasets import local_source

#: The form of task.json.
VERSION = 3
#: A test split that shares more than this with the training rows measures memory, not skill.
MOST_LEAKED = 0.2


@dataclass(frozen=True)
class LabelSet:
    """What answers are bound to. ``source``: where the labels come from. ``unknown``: the label for rows out of scope, or ""."""

    labels: tuple[str, ...] = ()
    source: str = ""
    unknown: str = ""


@dataclass(frozen=True)
class Task:
    """Everything measured is measured against this. ``metric_name`` is what was asked for, None to detect.

    ``files``: split -> digest. ``unused``: columns that play no part. ``left_out``: rows that could not be used. ``notes``: sentences on
    how the rows were read and split.
    """

    name: str
    splits: Splits
    metric_name: str | None
    labels: tuple[str, ...]
    mapping: str
    files: dict[str, str]
    label_source: str = ""
    unknown_label: str = ""
    unused: tuple[str, ...] = ()
    left_out: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def metric(self) -> Metric:
        """The metric of the rows, with the reason for it."""
        known = [*self.splits.train, *self.splits.valid]
        return metrics.choose(self.metric_name, known, self.splits.test, self.labels, self.unknown_label)

    @cached_property
    def test(self) -> tuple[Example, ...]:
        """Test rows in an order that has nothing to do with the file's, so that any beginning is a fair sample."""
        return tuple(sorted(self.splits.test, key=lambda example: example.digest))

    def without(self, ids: Collection[str]) -> Task:
        """The task without these rows, e.g. because they are too long for a model."""
        if not ids:
            return self
        gone = frozenset(ids)
        parts = ("train", "valid", "test")
        kept = {part: tuple(e for e in getattr(self.splits, part) if e.id not in gone) for part in parts}
        leaks = tuple(leak for leak in self.splits.leaks if leak[1] not in gone)
        return replace(self, splits=replace(self.splits, **kept, leaks=leaks))

    @cached_property
    def out_of_scope(self) -> tuple[str, ...]:
        """Ids of test rows whose label is not one that stands for something known; none where answers are not labels."""
        if self.metric.kind != "label":
            return ()
        known = frozenset(self.labels) - {self.unknown_label}
        return tuple(example.id for example in self.test if wanted_label(example) not in known)

    @property
    def out_of_scope_labels(self) -> dict[str, int]:
        """Labels of the out-of-scope test rows with how many rows carry each, most frequent first."""
        outside = frozenset(self.out_of_scope)
        counts = Counter(wanted_label(example) for example in self.test if example.id in outside)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def highest_reachable(self) -> float:
        """The share of test rows that any answer from the label set can get right."""
        if self.unknown_label or not self.out_of_scope:
            return 1.0
        return 1 - len(self.out_of_scope) / len(self.test)


def load(
    train: str | Path,
    valid: str | Path | None,
    test: str | Path | None,
    *,
    rows: RowOptions | None = None,
    metric: str | None = None,
    tune: bool = True,
    allow_leaks: bool = False,
    labels_file: Path | None = None,
    unknown_label: str = "",
    sink: Sink = silent,
) -> Task:
    """Read, check and split the files. Raises UsageError, NotFound, and BadData with every fault of all files together."""
    local = [
        None if source is None else local_source(str(source), sink=sink) for source in (train, valid, test)
    ]
    read = read_splits(local[0] or "", local[1], local[2], rows or RowOptions())
    given = {part: dataset.examples for part, dataset in read.items()}
    splits = split(given["train"], given.get("valid"), given.get("test"), tune=tune)
    refuse_leaks(splits, allow_leaks)
    known = (*splits.train, *splits.valid)
    kind = metrics.choose(metric, known, splits.test).kind
    chosen = label_set(kind, known, splits.test, labels_file, unknown_label)
    return Task(
        name_of(str(train)),
        splits,
        metric,
        chosen.labels,
        str(read["train"].mapping),
        {p: d.digest for p, d in read.items()},
        chosen.source,
        chosen.unknown,
        read["train"].mapping.unused,
        _left_out(read),
        _notes(read, splits),
    )


def _left_out(read: dict[str, Dataset]) -> tuple[Fault, ...]:
    return tuple(fault for dataset in read.values() for fault in dataset.left_out)


def _notes(read: dict[str, Dataset], splits: Splits) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys([*(note for dataset in read.values() for note in dataset.notes), *splits.notes])
    )


def refuse_leaks(splits: Splits, allow: bool) -> None:
    """Raises BadData where too many test rows are near-duplicates of rows that are learnt from."""
    leaked = len(splits.leaked_test_ids) / len(splits.test)
    if leaked <= MOST_LEAKED or allow:
        return
    first = splits.leaks[0]
    raise BadData(
        f"{leaked:.0%} of the test rows are near-duplicates of training rows (for example {first[1]} and {first[0]}), "
        "so the trial would measure memory",
        "remove them from one side, or pass --allow-leaks and read the figures with that in mind",
    )


def label_set(
    kind: str,
    known: Sequence[Example],
    test: Sequence[Example],
    labels_file: Path | None = None,
    unknown_label: str = "",
) -> LabelSet:
    """The labels that answers are bound to: of the rows that are not test rows, or of a file.

    Raises UsageError where labels are asked for and the answers are not labels, BadData where there is nothing to tell apart.
    """
    if kind != "code":
        _refuse_one_answer([*known, *test], kind)
    if kind != "label":
        option = "--labels" if labels_file else "--unknown-label" if unknown_label else ""
        if option:
            raise UsageError(
                f"{option}: the answers are of the kind {kind}, not labels",
                "leave it out, or pass --metric label",
            )
        return LabelSet()
    if labels_file is not None:
        from freehold.data.labels import read_labels

        labels, source = {label.strip() for label in read_labels(labels_file)}, f"the file {labels_file.name}"
    else:
        labels, source = {wanted_label(example) for example in known}, "the training and validation rows"
    unknown = unknown_label.strip()
    if not labels - {unknown} or (len(labels) < 2 and not unknown):
        raise BadData(
            f"{source} {'has' if labels_file else 'have'} {len(labels)} "
            f"label{'' if len(labels) == 1 else 's'}; at least two are needed",
            "add rows with other labels, or name all labels with --labels FILE",
        )
    if not any(wanted_label(example) in labels for example in test):
        raise BadData(
            f"no test row has a label of {source} (the first has {wanted_label(test[0])!r})",
            "check that training and test rows use the same labels",
        )
    return LabelSet(tuple(sorted(labels | ({unknown} if unknown else set()))), source, unknown)


def _refuse_one_answer(rows: Sequence[Example], kind: str) -> None:
    answers = {wanted_label(example) for example in rows}
    if len(answers) != 1 or not rows:
        return
    answer = next(iter(answers))
    shown = answer if len(answer) <= 60 else answer[:57] + "..."
    what = "label" if kind == "label" else "answer"
    raise BadData(
        f"all {len(rows):,} rows have the same {what} ({shown!r}), so there is nothing to learn or to "
        "measure",
        "add rows with other answers, or name the right column with --columns",
    )


def name_of(source: str) -> str:
    """A short name for a task from where its rows are: letters, digits, ``.``, ``_`` and ``-``."""
    text = source.split("?", maxsplit=1)[0]
    path = Path(text.rpartition(":")[2] if ":" in text and not Path(text).exists() else text)
    stem = path.name.removesuffix(".gz").removesuffix(".zst").split(".")[0] or path.stem
    generic = {"train", "data", "test", "all", "rows"}
    name = path.absolute().parent.name if stem.lower() in generic else stem
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("._-")
    return kept[:40] or "task"


def save(task: Task, path: Path) -> None:
    """Write the task for the steps' processes."""
    rows = {part: [asdict(e) for e in getattr(task.splits, part)] for part in ("train", "valid", "test")}
    splits = task.splits
    value = {
        "task_version": VERSION,
        "name": task.name,
        "metric": task.metric_name,
        "labels": task.labels,
        "mapping": task.mapping,
        "files": task.files,
        "leaks": splits.leaks,
        "repeats": splits.repeats,
        "split_notes": splits.notes,
        "similar": splits.similar,
        "label_source": task.label_source,
        "unknown_label": task.unknown_label,
        "unused": task.unused,
        "left_out": [asdict(fault) for fault in task.left_out],
        "notes": task.notes,
        **rows,
    }
    durable.write_atomically(path, json.dumps(value, ensure_ascii=False))


def read(path: Path) -> Task:
    """Inverse of :func:`save`; tasks of versions 1 and 2 are read too."""
    value: dict[str, Any] = json.loads(path.read_text())

    def rows(part: str) -> tuple[Example, ...]:
        return tuple(
            Example(e["id"], tuple((m[0], m[1]) for m in e["messages"]), e["reference"], e.get("group", ""))
            for e in value[part]
        )

    leaks = tuple(tuple(leak) for leak in value["leaks"])
    splits = Splits(rows("train"), rows("valid"), rows("test"), leaks, value["repeats"])
    if value["task_version"] == 1:
        return Task(
            value["name"], splits, value["metric"], tuple(value["labels"]), value["mapping"], value["files"]
        )
    splits = Splits(
        splits.train,
        splits.valid,
        splits.test,
        leaks,
        value["repeats"],
        tuple(value["split_notes"]),
        value["similar"],
    )
    left_out = tuple(Fault(**fault) for fault in value["left_out"])
    return Task(
        value["name"],
        splits,
        value["metric"],
        tuple(value["labels"]),
        value["mapping"],
        value["files"],
        value["label_source"],
        value["unknown_label"],
        tuple(value["unused"]),
        left_out,
        tuple(value["notes"]),
    )
