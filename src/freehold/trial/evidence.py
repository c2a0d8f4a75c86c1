"""What trials on this machine have measured of a model, and which of their tasks is like another.

Weights are known by their digest, whatever name they have, so evidence holds for a hub's file as for the store's.
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
from typing import Any

from freehold.core import settings
from freehold.data.examples import Example
from freehold.models import figures
from freehold.trial.choice import VALIDATION

_WORD = re.compile(r"[^\W\d_]{2,}")
#: Rows of a task that are looked at; more change its words little.
_ROWS = 400


@dataclass(frozen=True)
class Evidence:
    """A figure with its 95% interval: on which task, of how many test rows, and in which trial; or what a repository's own card states."""

    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    rows: int | None
    trial: str

    def __str__(self) -> str:
        interval = (
            f" ({self.low:.2f}-{self.high:.2f})" if self.low is not None and self.high is not None else ""
        )
        return f"{self.metric} {self.value:.2f}{interval} on {self.task}" + (
            "" if self.trial else ", its card says"
        )


@dataclass(frozen=True, eq=False)
class Tried:
    """A finished trial: its report, and its folder for its rows."""

    folder: Path
    report: dict[str, Any]

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
        own = [
            variant["figures"][metric]
            for variant in self.report["variants"]
            if digest and variant["digest"] == digest and variant.get("measured_on") != VALIDATION
        ]
        if not own:
            return None
        best = max(own, key=lambda figure: figure["value"])
        return Evidence(
            self.name, metric, best["value"], best["low"], best["high"], best["n"], str(self.report["id"])
        )


def trials() -> list[Tried]:
    """Every finished trial of this machine, newest first."""
    files = sorted(
        (settings.home() / "trials").glob("*/report.json"),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    return [_tried(file, file.stat().st_mtime_ns) for file in files]


@lru_cache(256)
def _tried(file: Path, _modified: int) -> Tried:
    """A report, read once while it stays as it is: a hub's page asks for every file it shows."""
    return Tried(file.parent, json.loads(file.read_text()))


def measured(digest: str) -> list[str]:
    """What each finished trial of this machine has measured of these weights, newest first."""
    return [str(found) for one in trials() if (found := one.of(digest)) is not None]


def words(texts: Iterable[str]) -> Counter[str]:
    """Words of two letters and more, in lower case."""
    return Counter(word for text in texts for word in _WORD.findall(text.lower()))


def words_of(examples: Iterable[Example]) -> Counter[str]:
    """The words of rows, answers included."""
    return words(
        text for _, example in zip(range(_ROWS), examples, strict=False) for _, text in example.messages
    )


def likeness(first: Counter[str], second: Counter[str]) -> float:
    """Cosine of two texts' words, each counted as 1 + log of how often it is there; 0 to 1."""
    a, b = ({word: 1 + math.log(count) for word, count in text.items()} for text in (first, second))
    both = sum(weight * b[word] for word, weight in a.items() if word in b)
    size = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
    return both / size if size else 0.0


def stated(card: dict[str, Any]) -> Evidence | None:
    """The first figure that a repository's card states, if any."""
    found = next(iter(figures.stated(card)), None)
    return None if found is None else Evidence(found.task, found.metric, found.value, None, None, None, "")
