"""What trials on this machine have measured of a model, and which of their tasks is similar to another.

Weights are known by their digest, whatever their name, so evidence holds for a hub's file as for the store's.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from freehold.core import settings
from freehold.core.json_types import JsonObject
from freehold.data.examples import Example
from freehold.models import figures
from freehold.trial.choice import VALIDATION

_WORD = re.compile(r"[^\W\d_]{2,}")
#: Rows of a task whose words are counted; more rows change the words little.
_ROWS = 400


@dataclass(frozen=True)
class Evidence:
    """A model's figure on a task, measured in a trial or stated by the repository's own card."""

    #: name of the task
    task: str
    #: name of the metric
    metric: str
    #: the figure
    value: float
    #: lower end of its 95% interval, None where it is unknown
    low: float | None
    #: upper end of its 95% interval, None where it is unknown
    high: float | None
    #: test rows that it was measured on, None where that is unknown
    rows: int | None
    #: id of the trial, "" for what a card states
    trial: str

    def __str__(self) -> str:
        interval = (
            f" ({self.low:.2f}-{self.high:.2f})" if self.low is not None and self.high is not None else ""
        )
        return f"{self.metric} {self.value:.2f}{interval} on {self.task}" + (
            "" if self.trial else ", its card says"
        )


@dataclass(frozen=True, eq=False)
class FinishedTrial:
    """A finished trial of this machine."""

    #: where it is kept, its rows included
    folder: Path
    #: its report (report.schema.json)
    report: JsonObject

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.report["task"]["name"])

    @cached_property
    def words(self) -> Counter[str]:
        """The words of its task, counted."""
        file = self.folder / "task.json"
        rows = json.loads(file.read_text())["test"][:_ROWS] if file.exists() else []
        return words(text for row in rows for _, text in row["messages"]) + words(
            [self.name.replace("-", " ")]
        )

    def of(self, digest: str) -> Evidence | None:
        """Its best figure on test rows for weights of this digest."""
        metric = str(self.report["task"]["metric"])
        figures = [
            variant["figures"][metric]
            for variant in self.report["variants"]
            if digest and variant["digest"] == digest and variant.get("measured_on") != VALIDATION
        ]
        if not figures:
            return None
        best = max(figures, key=lambda figure: figure["value"])
        return Evidence(
            self.name, metric, best["value"], best["low"], best["high"], best["n"], str(self.report["id"])
        )


def trials() -> list[FinishedTrial]:
    """Every finished trial of this machine, newest first."""
    files = sorted(
        (settings.home() / "trials").glob("*/report.json"),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    return [_finished(file, file.stat().st_mtime_ns) for file in files]


@lru_cache(256)
def _finished(file: Path, _modified: int) -> FinishedTrial:
    """A report, read once while it stays as it is: a hub's page asks for every file it shows."""
    return FinishedTrial(file.parent, json.loads(file.read_text()))


def measured(digest: str) -> list[str]:
    """What each finished trial of this machine has measured of these weights, newest first."""
    return [str(evidence) for trial in trials() if (evidence := trial.of(digest)) is not None]


def words(texts: Iterable[str]) -> Counter[str]:
    """Words of at least two letters, in lower case."""
    return Counter(word for text in texts for word in _WORD.findall(text.lower()))


def words_of(examples: Iterable[Example]) -> Counter[str]:
    """The words of rows, answers included."""
    return words(
        text for _, example in zip(range(_ROWS), examples, strict=False) for _, text in example.messages
    )


def likeness(first: Counter[str], second: Counter[str]) -> float:
    """Cosine of two texts' words, each weighted with 1 + log of its count; 0 to 1."""
    a, b = ({word: 1 + math.log(count) for word, count in text.items()} for text in (first, second))
    shared = sum(weight * b[word] for word, weight in a.items() if word in b)
    size = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
    return shared / size if size else 0.0


def stated(card: JsonObject) -> Evidence | None:
    """The first figure that a repository's card states; None where it states none."""
    figure = next(iter(figures.stated(card)), None)
    return (
        None if figure is None else Evidence(figure.task, figure.metric, figure.value, None, None, None, "")
    )
