"""Recorded answers of an API: read by row id, graded like answers of the models here."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core.errors import BadData, NotFound
from freehold.core.wording import counted
from freehold.data.examples import Example
from freehold.data.values import json_value
from freehold.evaluation import measurement
from freehold.evaluation.metrics import Metric
from freehold.trial.rival import Rival

#: Errors and ids that are listed one by one.
_NAMED_FAULTS, _NAMED_IDS = 20, 3


@dataclass(frozen=True)
class _Recording:
    """What a file of recorded answers holds."""

    #: answers by row id
    answers: dict[str, str]
    #: ids with the same answer more than once
    repeated: frozenset[str]
    #: ids with different answers
    contradicting: frozenset[str]


def recorded(path: Path, metric: Metric, examples: Sequence[Example], others: Collection[str] = ()) -> Rival:
    """Grade the lines ``{"id": ..., "answer": ...}`` of a file. ``others``: ids of training rows.

    The conditions name unknown ids, missing rows and repeated ids. Rows with different answers are left out.
    Raises NotFound, BadData.
    """
    recording = _read(path)
    clear = {name: text for name, text in recording.answers.items() if name not in recording.contradicting}
    matching = [example for example in examples if example.id in clear]
    if not matching:
        raise BadData(
            f"{path} answers none of the test rows",
            f"its ids must be those of the test rows, such as {examples[0].id!r}",
        )
    answers = tuple(measurement.graded(metric, e, clear[e.id], "stop", 0, 0) for e in matching)
    conditions = ("the prompt, worked examples and settings behind these answers are unknown and may differ",)
    notes = _notes(recording, examples, frozenset(others))
    return Rival(f"recorded answers, {path.name}", answers, conditions=(*conditions, *notes))


def _read(path: Path) -> _Recording:
    if not path.is_file():
        raise NotFound(f"there is no file {path} of recorded answers", "check --rival")
    answers: dict[str, str] = {}
    repeated, contradicting, faults = set[str](), set[str](), list[str]()
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            name, text = _pair(json_value(line))
        except (ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
            faults.append(f"{path.name}:{number}: needs fields 'id' and 'answer' ({why})")
            continue
        if name in answers:
            (repeated if answers[name] == text else contradicting).add(name)
        answers.setdefault(name, text)
    if faults:
        shown = "\n  ".join(faults[:_NAMED_FAULTS])
        count = counted(len(faults), "error")
        raise BadData(f"{count} in {path}:\n  {shown}", "correct these lines", faults)
    return _Recording(answers, frozenset(repeated - contradicting), frozenset(contradicting))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from error


def _pair(row: Any) -> tuple[str, str]:
    """(id, answer) of a line; an answer that is JSON is kept as JSON."""
    if not isinstance(row, dict):
        raise TypeError("the line is not a JSON object")
    answer = row["answer"]
    if answer is None:
        raise ValueError("the answer is null; write an empty text where there was none")
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return str(row["id"]), text


def _notes(recording: _Recording, examples: Sequence[Example], others: frozenset[str]) -> list[str]:
    test = {example.id for example in examples}
    recorded_ids = set(recording.answers)
    missing = test - recorded_ids
    elsewhere, unknown = recorded_ids & others - test, recorded_ids - test - others
    left = recording.contradicting & test
    counted = [
        (missing, "without a recorded answer: test rows left out of the comparison"),
        (elsewhere, "recorded for rows that are not test rows"),
        (unknown, "recorded with an id that no row has"),
        (recording.repeated, "recorded more than once with the same answer"),
        (left, "recorded with different answers: test rows left out of the comparison"),
    ]
    return [_note(ids, what) for ids, what in counted if ids]


def _note(ids: Collection[str], what: str) -> str:
    shown = ", ".join(sorted(ids)[:_NAMED_IDS]) + (", ..." if len(ids) > _NAMED_IDS else "")
    return f"{len(ids):,} {what} ({shown})"
