"""One form for the steps of a model: what is read is written again, and which base an adapter belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.models.lineage import (
    AdapterStep,
    AskedStep,
    BaseStep,
    ConvertedStep,
    Lineage,
    MergedStep,
    QuantizedStep,
    ShrunkStep,
    SourceStep,
    TunedStep,
)

#: A record of each kind, as versions before the types wrote them.
RECORDS: list[dict[str, Any]] = [
    {"step": "base", "model": "org/base", "revision": "a" * 64, "digest": "b" * 64},
    {
        "step": "tuned",
        "data": {"train": "c" * 64},
        "rows": {"train": 8, "valid": 4},
        "method": "supervised",
        "canaries": {},
        "masked": False,
        "recipe": {"rank": 4, "alpha": 8.0},
        "best_step": 0,
        "made_with": {"freehold": "0.1.0"},
        "adapter": "d" * 64,
        "digest": "e" * 64,
    },
    {
        "step": "tuned",
        "trial": "abc",
        "data": {},
        "recipe": {"rank": 4},
        "best_step": 3,
        "longest_row": 512,
        "plain": True,
        "made_with": {"card": "cpu"},
        "adapter": "d" * 64,
    },
    {"step": "quantized", "type": "Q4_K_M", "digest": "f" * 64, "made_with": {"freehold": "0.1.0"}},
    {"step": "shrunk", "from": "org/base", "revision": "a" * 64, "wish": {"size": 1}, "types": {"Q4_K": 0.5}},
    {"step": "source", "model": "folder", "revision": "a" * 64, "digest": "b" * 64},
    {"step": "converted", "to": "gguf", "pre_tokenizer": "gpt-2"},
    {"step": "merged", "to": "gguf", "into": "org/base", "into_revision": "a" * 64, "digest": "b" * 64},
    {
        "step": "adapter",
        "rank": 4,
        "alpha": 8,
        "target_modules": ["q_proj"],
        "base_named": "",
        "base_found_by": "by name",
        "digest": "a" * 64,
    },
    {"step": "asked", "how": "few-shot", "trial": "abc", "data": {}, "form": {"worked_examples": 2}},
]


def base(name: str) -> BaseStep:
    """A base of this name."""
    return BaseStep(model=name, revision=f"revision of {name}", digest=f"digest of {name}")


def source(name: str) -> SourceStep:
    """A source of this name."""
    return SourceStep(model=name, revision=f"revision of {name}", digest=f"digest of {name}")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["step"])
def test_a_record_is_written_as_it_was_read(record: dict[str, Any]) -> None:
    (step,) = Lineage.read([record])
    assert step.name == record["step"]
    assert step.further == {}
    assert Lineage((step,)).as_list() == [record]
    assert list(step.as_dict()) == list(record)


def test_steps_and_keys_of_later_versions_are_kept() -> None:
    records = [
        {"step": "grafted", "onto": {"layers": [1, 2]}},
        {"step": "quantized", "type": "Q4_K_M", "groups": 64},
    ]
    assert Lineage.read(records).as_list() == records


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("tuned", "wrong form"),
        ({"model": "x"}, "wrong form"),
        ({"step": "base", "model": "x"}, "lacks a key"),
        ({"step": "grafted", "model": {"a": 1}}, "not text"),
        ({"step": "tuned", "recipe": "rank 4"}, "wrong value for 'recipe'"),
        ({"step": "tuned", "best_step": True}, "wrong value for 'best_step'"),
        ({"step": "adapter", "rank": "4"}, "wrong value for 'rank'"),
    ],
)
def test_what_no_version_has_written_is_refused(record: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Lineage.read([record])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((base("a"), TunedStep()), "a"),
        ((base("a"), TunedStep(), base("t1"), TunedStep()), "t1"),
        ((base("a"), TunedStep(), base("t1"), TunedStep(), base("t2"), TunedStep()), "t2"),
        ((base("a"), TunedStep(), QuantizedStep(), base("q1"), TunedStep(), QuantizedStep()), "q1"),
        ((base("a"), TunedStep(), ShrunkStep(source="t1")), "a"),
        # stored again with the form in which it was measured: its adapter still belongs to what was tuned
        ((base("a"), TunedStep(), base("t1"), AskedStep()), "a"),
        ((base("a"), AdapterStep(), base("ad"), AskedStep()), "a"),
        ((base("a"), TunedStep(), base("t1"), AdapterStep()), "t1"),
        ((base("a"), AdapterStep(), source("ad"), MergedStep(), base("m"), TunedStep()), "m"),
        ((source("folder"), ConvertedStep(), base("g"), TunedStep()), "g"),
        ((base("a"), AskedStep()), "a"),
    ],
)
def test_an_adapter_belongs_to_what_its_training_started_from(steps: tuple[Any, ...], expected: str) -> None:
    found = Lineage(steps).base
    assert found is not None
    assert found.model == expected


def test_the_last_tuning_has_its_own_base_and_what_changed_it_since() -> None:
    first = (base("a"), TunedStep(trial="1"), QuantizedStep(type="Q4_K_M"))
    second = (base("q1"), TunedStep(trial="2"), base("t2"), AskedStep(), ShrunkStep(source="t2"))
    tuning = Lineage((*first, *second)).tuning
    assert tuning is not None
    assert (tuning.base.model, tuning.tuned.trial) == ("q1", "2")
    assert [step.name for step in tuning.after] == ["shrunk"]
    assert tuning.quantized is None  # the first generation was quantized, this one was not
    assert Lineage((base("a"), AdapterStep())).tuning is None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), ""),
        ((base("a"), TunedStep()), "a"),
        ((base("a"), TunedStep(), base("t1"), TunedStep()), "t1"),
        ((base("a"), TunedStep(), base("t1"), AskedStep()), "a"),
        ((base("a"), TunedStep(), ShrunkStep(source="t1", revision="r")), "t1"),
        ((base("a"), AdapterStep(), source("ad"), MergedStep()), "ad"),
        ((base("a"), AskedStep()), "a"),
    ],
)
def test_a_card_names_what_the_weights_were_made_from(steps: tuple[Any, ...], expected: str) -> None:
    assert Lineage(steps).parent[0] == expected


def test_a_form_in_another_format_names_what_it_was_written_from() -> None:
    written = Lineage((source("folder"), ConvertedStep())).rewritten_from
    assert written == source("folder")
    assert Lineage((source("folder"), ConvertedStep(), base("g"), TunedStep())).rewritten_from is None
    assert not Lineage().rewritten
