"""Steps are found again under the digest of what decides them: the digests of earlier versions stay."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.core.atomic_files import digest_of
from freehold.trial.arguments import (
    Arguments,
    BaselinesArguments,
    ConvertArguments,
    LookArguments,
    MeasureArguments,
    MixArguments,
    PaceArguments,
    PrivacyArguments,
    SafetyArguments,
    ServedArguments,
    ShrinkArguments,
    Subject,
    TimedArguments,
    TuneArguments,
)

SUBJECT = Subject({"train": "ab"}, None, "text=text", "rev", "m", plain=False, weights="/w", card={"a": 1})
BASE: dict[str, Any] = {
    "task_files": {"train": "ab"},
    "metric": None,
    "columns": "text=text",
    "revision": "rev",
    "model": "m",
    "plain": False,
}
MEASURED = {"weights_digest": "w", "shots": ["a"], "max_tokens": 8, "parallel": 4, "context": 256}
TIMED = {
    "weights_digest": "w",
    "shots": [],
    "max_tokens": 8,
    "context": 256,
    "longest_prompt": 9,
    "latency_rows": 32,
    "at_once": True,
    "country": "DEU",
}
#: What is given to a step, and what decided it in earlier versions.
KNOWN: list[tuple[Arguments[Any], dict[str, Any]]] = [
    (LookArguments(SUBJECT), BASE),
    (ConvertArguments(SUBJECT, store="/s"), BASE),
    (PaceArguments(SUBJECT, tuned=True), {**BASE, "tuned": True}),
    (
        MeasureArguments(
            SUBJECT, weights_digest="w", shots=("a",), max_tokens=8, split="test", parallel=4, context=256
        ),
        {**BASE, **MEASURED, "split": "test"},
    ),
    (
        MeasureArguments(
            SUBJECT,
            weights_digest="w",
            shots=("a",),
            max_tokens=8,
            split="validation",
            parallel=4,
            context=256,
            most_shots=8,
            tune=False,
            title="t",
            limit_s=5.0,
            budget_s=9.0,
            row_s=0.1,
            prefix_s=0.2,
        ),
        {**BASE, **MEASURED, "split": "validation", "most_shots": 8, "tune": False},
    ),
    (
        TuneArguments(SUBJECT, recipe={"rank": 8}, longest_row=60, country="", tuning_s=9.5, merging_s=1.0),
        {**BASE, "recipe": {"rank": 8}, "longest_row": 60, "country": "", "tuning_s": 9.5},
    ),
    (
        ShrinkArguments(SUBJECT, tuned="t", types=("Q8_0",), source="/m"),
        {**BASE, "tuned": "t", "types": ["Q8_0"]},
    ),
    (
        MixArguments(
            SUBJECT, tuned="t", size_bytes=9, calibration_tokens=8, positions=4, bands=2, source="/m"
        ),
        {**BASE, "tuned": "t", "size_bytes": 9, "calibration_tokens": 8, "positions": 4, "bands": 2},
    ),
    (
        TimedArguments(
            SUBJECT,
            weights_digest="w",
            shots=(),
            max_tokens=8,
            context=256,
            longest_prompt=9,
            latency_rows=32,
            at_once=True,
            country="DEU",
            limit_s=5.0,
            title="t",
        ),
        {**BASE, **TIMED},
    ),
    (
        SafetyArguments(SUBJECT, weights_digest="w", prompts_digest="p", judged=2, most=9, prompts="/p"),
        {**BASE, "weights_digest": "w", "prompts_digest": "p", "judged": 2},
    ),
    (
        PrivacyArguments(SUBJECT, weights_digest="w", rows=128, untuned="/u"),
        {**BASE, "weights_digest": "w", "rows": 128},
    ),
    (
        ServedArguments({"train": "ab"}, None, "m", "rev", "v", rows=("a",), limit_s=4.0),
        {"task_files": {"train": "ab"}, "metric": None, "model": "m", "revision": "rev", "variant": "v"},
    ),
    (
        BaselinesArguments({"train": "ab"}, None, "c", ("x", "y"), "", tune=True, task="/t"),
        {
            "task_files": {"train": "ab"},
            "metric": None,
            "columns": "c",
            "labels": ["x", "y"],
            "unknown_label": "",
            "tune": True,
            "leave_out": [],
        },
    ),
]


@pytest.mark.parametrize(("arguments", "inputs"), KNOWN, ids=[known.job for known, _ in KNOWN])
def test_the_digest_of_a_step_stays_as_it_was(arguments: Arguments[Any], inputs: dict[str, Any]) -> None:
    assert digest_of(arguments.inputs()) == digest_of(inputs)


@pytest.mark.parametrize("arguments", [known for known, _ in KNOWN], ids=[known.job for known, _ in KNOWN])
def test_a_steps_process_receives_what_it_was_given(arguments: Arguments[Any]) -> None:
    assert type(arguments).from_json(arguments.as_json()) == arguments


def test_rows_that_are_left_out_decide_only_where_there_are_any() -> None:
    from dataclasses import replace

    some = LookArguments(replace(SUBJECT, leave_out=("r1",)))
    assert some.inputs() == {**BASE, "leave_out": ("r1",)}
    assert "leave_out" not in LookArguments(SUBJECT).inputs()


def test_a_search_and_a_limit_on_memory_decide_a_tuning_only_where_there_is_one() -> None:
    plain = TuneArguments(SUBJECT, recipe={}, longest_row=60, country="", tuning_s=9.5)
    assert not {"search_s", "memory_bytes"} & set(plain.inputs())
    limited = TuneArguments(
        SUBJECT, recipe={}, longest_row=60, country="", tuning_s=9.5, search_s=60.0, memory_bytes=1 << 30
    )
    assert {**plain.inputs(), "search_s": 60.0, "memory_bytes": 1 << 30} == limited.inputs()
