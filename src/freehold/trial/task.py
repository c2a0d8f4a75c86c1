"""The task: rows in three splits, the metric, the set of labels; and how it is saved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from freehold.core import atomic_files
from freehold.core.errors import BadData, Unsupported, UsageError
from freehold.core.progress import Sink, silent
from freehold.data.examples import Dataset, Example, RowOptions, read_splits
from freehold.data.splits import SIMILAR, Splits, split
from freehold.data.table import Fault
from freehold.evaluation import measurement, metrics, sandbox
from freehold.evaluation.metrics import Metric
from freehold.evaluation.registered_metrics import pinned
from freehold.evaluation.task_kinds import wanted_label
from freehold.sources.datasets import local_source
from freehold.trial.ceiling import Ceiling, ceiling, reachable
from freehold.trial.leaks import refuse_leaks

#: The form of task.json.
VERSION = 3


@dataclass(frozen=True)
class LabelSet:
    """What answers are bound to."""

    #: the labels, sorted
    labels: tuple[str, ...] = ()
    #: where they come from, in words
    source: str = ""
    #: the label for rows out of scope, "" for none
    unknown: str = ""


@dataclass(frozen=True)
class LabelOptions:
    """What a person says about the labels."""

    #: a file with all labels, None to take those of the rows
    file: Path | None = None
    #: the answer for rows whose label is not known, "" for none
    unknown: str = ""


@dataclass(frozen=True)
class Task:
    """What all variants of a trial are measured against."""

    #: a short name, from the file of the rows
    name: str
    #: training, validation and test rows
    splits: Splits
    #: the metric as it was typed, with the version of another package's; None to detect it
    metric_name: str | None
    #: what answers are bound to, empty where they are not labels
    labels: tuple[str, ...]
    #: which columns are used for what, in words
    mapping: str
    #: split -> digest of its file
    files: dict[str, str]
    #: where the labels come from, in words
    label_source: str = ""
    #: the label for rows out of scope, "" for none
    unknown_label: str = ""
    #: columns that play no part
    unused: tuple[str, ...] = ()
    #: rows that could not be used
    left_out: tuple[Fault, ...] = ()
    #: how the rows were read and split, as sentences
    notes: tuple[str, ...] = ()
    #: the column of what rows belong to, "" for none
    group_column: str = ""
    #: whether answers that are code are run without a sandbox
    trust_code: bool = False

    @cached_property
    def metric(self) -> Metric:
        """The metric of the rows, with the reason for it."""
        known = [*self.splits.train, *self.splits.valid]
        return metrics.choose(
            self.metric_name,
            known,
            self.splits.test,
            self.labels,
            self.unknown_label,
            trust_code=self.trust_code,
        )

    @cached_property
    def test(self) -> tuple[Example, ...]:
        """The test rows that judge, without those that leak, in an order that has nothing to do with the
        file's, so that any beginning is a fair sample.
        """
        return _in_fair_order(self.splits.judging().test)

    @cached_property
    def leaked(self) -> tuple[Example, ...]:
        """Test rows that are known from training; no figure may rest on them."""
        return _in_fair_order(self.splits.judging().leaked)

    @cached_property
    def ceiling(self) -> Ceiling:
        """What any model can reach on the test rows at most, where the same text has different answers."""
        return ceiling(self.metric, self.test)

    @cached_property
    def groups(self) -> dict[str, str] | None:
        """Row id -> the group that the row belongs to; None where rows stand alone."""
        if not self.group_column:
            return None
        rows = (*self.splits.train, *self.splits.valid, *self.splits.test)
        return {example.id: example.group for example in rows if example.group}

    def choosing(self, *, tuned: bool, shots: int) -> tuple[Example, ...]:
        """The rows that choose a variant, in an order that does not depend on the file's.

        Validation rows. Where there are none and nothing is tuned: training rows that are not among the
        ``shots`` worked examples of a prompt.
        """
        rows = self.splits.valid
        if not rows and not tuned:
            shown = {e.id for e in measurement.pick_shots(self.splits.train, self.labels, shots)}
            rows = tuple(example for example in self.splits.train if example.id not in shown)
        return tuple(sorted(rows, key=lambda example: example.digest))

    def without(self, ids: Collection[str]) -> Task:
        """The task without these rows, e.g. because they are too long for a model."""
        if not ids:
            return self
        removed = frozenset(ids)
        parts = ("train", "valid", "test", "leaked")
        splits = {part: tuple(e for e in getattr(self.splits, part) if e.id not in removed) for part in parts}
        leaks = tuple(leak for leak in self.splits.leaks if leak[1] not in removed)
        groups = tuple(leak for leak in self.splits.group_leaks if leak[1] not in removed)
        return replace(self, splits=replace(self.splits, **splits, leaks=leaks, group_leaks=groups))

    @cached_property
    def out_of_scope(self) -> tuple[str, ...]:
        """Ids of test rows whose label is not in the label set; none where answers are not labels."""
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
        if self.metric.kind != "label":
            return self.ceiling.value
        return reachable(self.metric, self.test, self.labels)


def _in_fair_order(examples: Sequence[Example]) -> tuple[Example, ...]:
    return tuple(sorted(examples, key=lambda example: example.digest))


def load(
    train: str | Path,
    valid: str | Path | None,
    test: str | Path | None,
    *,
    rows: RowOptions | None = None,
    metric: str | None = None,
    tune: bool = True,
    allow_leaks: bool = False,
    labels: LabelOptions | None = None,
    trust_code: bool = False,
    sink: Sink = silent,
) -> Task:
    """Read, check and split the files.

    Raises UsageError, NotFound, BadData with the errors of all files together, and MissingPart where answers
    are code and there is no sandbox for it.
    """
    labels = labels or LabelOptions()
    metric = None if metric is None else pinned(metric)
    local = [
        None if source is None else local_source(str(source), sink=sink) for source in (train, valid, test)
    ]
    read = read_splits(local[0] or "", local[1], local[2], rows or RowOptions())
    rows_of = {part: dataset.examples for part, dataset in read.items()}
    splits = split(rows_of["train"], rows_of.get("valid"), rows_of.get("test"), tune=tune)
    refuse_leaks(splits, allow_leaks)
    known = (*splits.train, *splits.valid)
    kind = metrics.choose(metric, known, splits.test).kind
    if kind == "code" and not trust_code:
        sandbox.require()
    chosen = label_set(kind, known, splits.test, labels.file, labels.unknown)
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
        read["train"].mapping.group,
        trust_code,
    )


def _left_out(read: dict[str, Dataset]) -> tuple[Fault, ...]:
    return tuple(fault for dataset in read.values() for fault in dataset.left_out)


def _notes(read: dict[str, Dataset], splits: Splits) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys([*(note for dataset in read.values() for note in dataset.notes), *splits.notes])
    )


def label_set(
    kind: str,
    known: Sequence[Example],
    test: Sequence[Example],
    labels_file: Path | None = None,
    unknown_label: str = "",
) -> LabelSet:
    """The labels that answers are bound to: those of training and validation rows, or of a file.

    Raises UsageError for label options where the answers are not labels, BadData for fewer than two labels.
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
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("._-")
    return safe[:40] or "task"


_PARTS = ("train", "valid", "test", "leaked")


def save(task: Task, path: Path) -> None:
    """Write the task for the steps' processes."""
    rows = {part: [asdict(e) for e in getattr(task.splits, part)] for part in _PARTS}
    splits = task.splits
    value = {
        "task_version": VERSION,
        "name": task.name,
        "metric": task.metric_name,
        "labels": task.labels,
        "mapping": task.mapping,
        "files": task.files,
        "leaks": splits.leaks,
        "group_leaks": splits.group_leaks,
        "repeats": splits.repeats,
        "test_repeats": splits.test_repeats,
        "split_notes": splits.notes,
        "similar": splits.similar,
        "label_source": task.label_source,
        "unknown_label": task.unknown_label,
        "unused": task.unused,
        "left_out": [asdict(fault) for fault in task.left_out],
        "notes": task.notes,
        "group_column": task.group_column,
        **({"trust_code": True} if task.trust_code else {}),
        **rows,
    }
    atomic_files.write_atomically(path, json.dumps(value, ensure_ascii=False))


def read(path: Path) -> Task:
    """Inverse of :func:`save`; tasks of versions 1 and 2 are read too. Raises Unsupported for later ones."""
    value: dict[str, Any] = json.loads(path.read_text())
    if value["task_version"] > VERSION:
        raise Unsupported(
            f"{path} was written by a later version of Freehold (task version {value['task_version']})",
            "update Freehold, or run the trial again",
        )
    return Task(
        value["name"],
        _splits_of(value),
        value["metric"],
        tuple(value["labels"]),
        value["mapping"],
        value["files"],
        value.get("label_source", ""),
        value.get("unknown_label", ""),
        tuple(value.get("unused", ())),
        tuple(Fault(**fault) for fault in value.get("left_out", ())),
        tuple(value.get("notes", ())),
        value.get("group_column", ""),
        value.get("trust_code", False),
    )


def _splits_of(value: dict[str, Any]) -> Splits:
    """The splits of a saved task; versions 1 and 2 held rows that leak among the test rows."""
    train, valid, test, leaked = (
        tuple(_example_of(row) for row in value[part]) if part in value else () for part in _PARTS
    )
    leaks = tuple((known, test_id, float(alike)) for known, test_id, alike in value["leaks"])
    group_leaks = tuple((known, test_id, group) for known, test_id, group in value.get("group_leaks", ()))
    splits = Splits(
        train,
        valid,
        test,
        leaks,
        value["repeats"],
        tuple(value.get("split_notes", ())),
        value.get("similar", SIMILAR),
        leaked,
        group_leaks,
        value.get("test_repeats", 0),
    )
    return splits.judging()


def _example_of(row: dict[str, Any]) -> Example:
    messages = tuple((role, content) for role, content in row["messages"])
    return Example(row["id"], messages, row["reference"], row.get("group", ""))
