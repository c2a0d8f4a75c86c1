"""The table of licences, and obligations through a lineage."""

from __future__ import annotations

import pytest

from freehold.trust.licence import allowed, duties, table, terms
from freehold.trust.obligations import Component, compute, notice, restrictions


def test_every_entry_says_where_its_text_stands() -> None:
    assert len(table()) >= 40
    for key, own in table().items():
        assert own.known, key
        assert own.source.startswith("https://"), key
        assert own.outputs in ("yes", "no", "conditions"), key
        assert own.outputs == "yes" or own.outputs_how, key
        assert own.flows_down is False or own.restrictions or own.commercial is False, key
        assert own.name
        assert own.dated


@pytest.mark.parametrize(
    ("licence", "commercial", "unrestricted"),
    [
        ("Apache-2.0", True, True),
        ("MIT License", True, True),
        ("gemma", True, False),
        ("llama3.2", True, False),
        ("qwen", True, False),
        ("cc-by-nc-4.0", False, False),
        ("weird-1.0", None, None),
        ("", None, None),
    ],
)
def test_what_is_allowed(licence: str, commercial: bool | None, unrestricted: bool | None) -> None:
    assert allowed(licence, "commercial")[0] is commercial
    assert allowed(licence, "unrestricted")[0] is unrestricted
    assert allowed(licence, "any")[0] is True


def test_an_unknown_licence_is_never_guessed() -> None:
    assert not terms("apache-3.0").known
    assert "not known" in duties("apache-3.0")
    owed = compute([Component("m", "model", "apache-3.0"), Component("d", "dataset", "")])
    assert owed.commercial is None
    assert owed.unknown == [
        "model m: the licence 'apache-3.0' is not known to Freehold",
        "dataset d: no licence is stated",
    ]


def test_obligations_differ_between_apache_and_gemma() -> None:
    data = Component("rows", "dataset", "cc-by-4.0")
    free = compute([Component("smollm2", "model", "apache-2.0", changed=True), data], "bank/smollm2")
    bound = compute([Component("gemma3", "model", "gemma", changed=True), data], "bank/gemma3")
    assert free.commercial is bound.commercial is True
    assert not free.must
    assert any("prohibited-use policy" in text for text in bound.must)
    assert any("name the authors" in text for text in free.pass_on)
    assert restrictions(free, "bank/smollm2") == ""
    assert "must pass on these restrictions too" in restrictions(bound, "bank/gemma3")
    assert "Gemma is provided under and subject to the Gemma Terms of Use" in notice(bound, "bank/gemma3")
    assert "CC BY 4.0" in notice(free, "bank/smollm2")


@pytest.mark.parametrize(
    ("components", "name", "told"),
    [
        (
            [Component("a", "model", "gemma", True), Component("b", "model", "gpl-3.0", True)],
            "x",
            "forbids further restrictions",
        ),
        (
            [Component("a", "dataset", "cc-by-sa-3.0"), Component("b", "model", "gpl-3.0", True)],
            "x",
            "each require the result to be under their own terms",
        ),
        ([Component("a", "model", "cc-by-nd-4.0", True)], "x", "does not allow sharing changed versions"),
        ([Component("a", "model", "llama3.1", True)], "bank/helper", "must begin with 'Llama'"),
        (
            [Component("teacher", "model", "llama3"), Component("pupil", "model", "apache-2.0", True)],
            "x",
            "answers of teacher taught pupil",
        ),
    ],
)
def test_conflicts(components: list[Component], name: str, told: str) -> None:
    assert any(told in text for text in compute(components, name).conflicts)


def test_thresholds_and_names() -> None:
    owed = compute([Component("a", "model", "llama3.1", True)], "bank/Llama-helper")
    assert owed.thresholds == [
        "above 700,000,000 users a month a licence from Meta is needed: Llama 3.1 Community License (a)"
    ]
    assert not owed.conflicts
    assert any("Built with Llama" in text for text in owed.naming)
    assert compute([Component("a", "model", "cc-by-nc-4.0")]).commercial is False
