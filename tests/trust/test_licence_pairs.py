"""How licences of base, rows, adapter and teacher combine, pair by pair, and licences as expressions."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.models.info import stated_licence
from freehold.trust.licence import allowed, alternatives, table, terms
from freehold.trust.licence_expression import choices
from freehold.trust.obligations import NOTICE, Component, compute, notice, write
from freehold.trust.policy import object_to_licence, read

# (one, other, what a merged model of both may be under: nothing at all, any licence, or these)
NONE, ANY = "none", ""
PAIRS = [
    ("gpl-3.0", "cc-by-nc-4.0", NONE),
    ("gpl-3.0", "agpl-3.0", "agpl-3.0"),
    ("gpl-3.0", "apache-2.0", "gpl-3.0"),
    ("gpl-3.0", "mit", "gpl-3.0"),
    ("gpl-3.0", "cc-by-4.0", "gpl-3.0"),
    ("gpl-3.0", "mpl-2.0", "gpl-3.0"),
    ("gpl-3.0", "lgpl-2.1", "gpl-3.0"),
    ("gpl-3.0", "lgpl-3.0", "gpl-3.0"),
    ("gpl-3.0", "cc-by-sa-4.0", "gpl-3.0"),
    ("gpl-3.0", "cc-by-sa-3.0", NONE),
    ("gpl-3.0", "cc-by-nc-sa-4.0", NONE),
    ("gpl-3.0", "llama3.1", NONE),
    ("gpl-3.0", "gemma", NONE),
    ("gpl-3.0", "qwen", NONE),
    ("gpl-3.0", "mrl", NONE),
    ("gpl-3.0", "stabilityai-community", NONE),
    ("gpl-3.0", "flux-1-dev-non-commercial-license", NONE),
    ("gpl-3.0", "nvidia-open-model-license", NONE),
    ("gpl-3.0", "creativeml-openrail-m", NONE),
    ("gpl-3.0", "openmdw", "gpl-3.0"),
    ("gpl-2.0", "gpl-3.0", NONE),
    ("gpl-2.0-only", "gpl-3.0-or-later", NONE),
    ("gpl-2.0-or-later", "gpl-3.0", "gpl-3.0"),
    ("gpl-2.0-or-later", "gpl-2.0-only", "gpl-2.0"),
    ("gpl-2.0-only", "apache-2.0", NONE),
    ("gpl-2.0-only", "apache-2.0 WITH LLVM-exception", "gpl-2.0"),
    ("gpl-2.0-or-later", "apache-2.0", "gpl-3.0 or agpl-3.0"),
    ("gpl-2.0-only", "agpl-3.0", NONE),
    ("gpl-2.0-or-later", "agpl-3.0", "agpl-3.0"),
    ("gpl-2.0-only", "lgpl-2.1", "gpl-2.0"),
    ("gpl-2.0-only", "lgpl-3.0", NONE),
    ("gpl-2.0-only", "mpl-2.0", "gpl-2.0"),
    ("gpl-2.0-only", "cc-by-sa-4.0", NONE),
    ("gpl-2.0-only", "cc-by-nc-4.0", NONE),
    ("gpl-2.0-only", "bsd-3-clause", "gpl-2.0"),
    ("agpl-3.0", "cc-by-nc-4.0", NONE),
    ("agpl-3.0", "apache-2.0", "agpl-3.0"),
    ("agpl-3.0", "lgpl-3.0", "agpl-3.0"),
    ("lgpl-2.1", "apache-2.0", "gpl-3.0 or agpl-3.0"),
    ("lgpl-2.1", "lgpl-3.0", "gpl-3.0 or agpl-3.0"),
    ("lgpl-2.1-or-later", "lgpl-3.0", "lgpl-3.0"),
    ("lgpl-2.1", "cc-by-nc-4.0", NONE),
    ("mpl-2.0", "apache-2.0", "mpl-2.0"),
    ("mpl-2.0", "cc-by-sa-4.0", "gpl-3.0"),
    ("mpl-2.0", "cc-by-nc-4.0", NONE),
    ("cc-by-sa-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    ("cc-by-sa-4.0", "cc-by-4.0", "cc-by-sa-4.0"),
    ("cc-by-sa-4.0", "apache-2.0", "cc-by-sa-4.0"),
    ("cc-by-sa-4.0", "cc-by-nc-4.0", NONE),
    ("cc-by-sa-4.0", "cc-by-nc-sa-4.0", NONE),
    ("cc-by-sa-3.0", "cc-by-nc-3.0", NONE),
    ("cc-by-sa-3.0", "mit", "cc-by-sa-3.0"),
    ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    ("cc-by-nc-sa-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    ("cc-by-nc-sa-4.0", "gemma", NONE),
    ("cc-by-nc-4.0", "apache-2.0", ANY),
    ("cc-by-nc-4.0", "llama3.1", ANY),
    ("cc-by-4.0", "mit", ANY),
    ("odc-by", "gemma", ANY),
    ("openmdw", "llama3.2", ANY),
    ("gemma", "llama3.1", ANY),
]


@pytest.mark.parametrize(("one", "other", "whole"), PAIRS)
def test_pairs_in_one_model(one: str, other: str, whole: str) -> None:
    for pair in ((one, other), (other, one)):
        owed = compute([Component(name, "model", name, True) for name in pair])
        assert bool(owed.conflicts) is (whole == NONE), owed.conflicts
        assert whole == NONE or sorted(owed.result) == sorted(whole.split(" or ") if whole else [])


@pytest.mark.parametrize(("one", "other", "whole"), PAIRS)
def test_rows_bind_as_a_base_does(one: str, other: str, whole: str) -> None:
    owed = compute(
        [Component("base", "model", other, True), Component("rows", "dataset", one)], "bank/Llama-x"
    )
    free = table()[terms(one).licence].trained_on is not None
    assert bool(owed.conflicts) is (whole == NONE and not free), owed.conflicts


def test_three_parts_have_one_licence_in_common_or_none() -> None:
    three = [Component(name, "model", name, True) for name in ("mpl-2.0", "cc-by-sa-4.0", "gpl-2.0-or-later")]
    assert compute(three).result == ["gpl-3.0"]
    some = [
        Component(name, "model", name, True) for name in ("gpl-2.0-or-later", "apache-2.0", "gpl-2.0-only")
    ]
    assert compute(some).conflicts
    assert compute(some).result == []


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("gpl-3.0", ""),
        ("cc-by-sa-4.0", "not possible for the result"),
        ("apache-2.0", "not possible for the result"),
    ],
)
def test_share_alike_rows_go_into_gpl_and_not_back(licence: str, told: str) -> None:
    parts = [Component("base", "model", "gpl-3.0", True), Component("rows", "dataset", "cc-by-sa-4.0")]
    conflicts = compute(parts, "x", licence).conflicts
    assert any(told in text for text in conflicts) if told else not conflicts


def test_a_result_cannot_allow_what_a_part_forbids() -> None:
    parts = [Component("base", "model", "apache-2.0", True), Component("rows", "dataset", "cc-by-nc-4.0")]
    assert "allows commercial use" in compute(parts, "x", "mit").conflicts[0]
    assert not compute(parts, "x", "cc-by-nc-4.0").conflicts
    assert compute(parts, "x", "house-rules").unknown == [
        "the result: the licence 'house-rules' is not known to Freehold"
    ]


@pytest.mark.parametrize("licence", ["cc-by-nd-4.0", "cc-by-nd-3.0", "cc-by-nc-nd-4.0"])
def test_nothing_is_made_from_what_must_not_be_changed(licence: str) -> None:
    assert compute([Component("a", "model", licence, True)]).conflicts
    assert compute([Component("a", "model", "mit", True), Component("d", "dataset", licence)]).conflicts
    assert not compute([Component("a", "model", licence)]).conflicts


@pytest.mark.parametrize("licence", ["odbl", "odc-by", "cdla-permissive-2.0"])
def test_databases_leave_models_free(licence: str) -> None:
    owed = compute([Component("base", "model", "gemma", True), Component("places", "dataset", licence)])
    assert not owed.conflicts
    assert not owed.result
    told = [text for text in owed.pass_on if "(places)" in text]
    assert bool(told) is (licence != "cdla-permissive-2.0")
    assert ("Contains information from places" in notice(owed, "x")) is (licence != "cdla-permissive-2.0")


TEACHERS = [
    ("llama3.1", "bank/helper", "must begin with 'Llama'"),
    ("llama3.1", "bank/Llama-helper", ""),
    ("llama3.3", "helper-of-Llama", "must begin with 'Llama'"),
    ("llama4", "helper", "must begin with 'Llama'"),
    ("llama3", "Llama-3-helper", "does not allow"),
    ("llama2", "helper", "does not allow"),
    ("stabilityai-community", "helper", "does not allow"),
    (
        "flux-1-dev-non-commercial-license",
        "helper",
        "does not allow: not to train, tune or distil a model that competes",
    ),
    ("tongyi-qianwen", "helper", "does not allow"),
    ("qwen", "helper", ""),
    ("gemma", "helper", ""),
    ("nvidia-open-model-license", "helper", ""),
    ("gpl-3.0", "helper", ""),
    ("apache-2.0", "helper", ""),
]


@pytest.mark.parametrize("kind", ["model", "dataset"])
@pytest.mark.parametrize(("teacher", "name", "told"), TEACHERS)
def test_teachers(kind: str, teacher: str, name: str, told: str) -> None:
    conflicts = compute(
        [Component("t", kind, teacher), Component("pupil", "model", "apache-2.0", True)], name
    ).conflicts
    assert any(told in text for text in conflicts) if told else not conflicts


def test_what_a_pupil_owes() -> None:
    pupil = Component("pupil", "model", "apache-2.0", True)
    assert not compute([Component("t", "model", "cc-by-nd-4.0"), pupil]).conflicts, (
        "it is not changed by answering"
    )
    llama = compute([Component("t", "model", "llama3.1"), pupil], "Llama-x")
    assert any("a model taught by its answers begins with 'Llama'" in text for text in llama.naming)
    assert "Built with Llama" in notice(llama, "Llama-x")
    assert any("Built with Qwen" in text for text in compute([Component("t", "model", "qwen"), pupil]).naming)
    assert compute([Component("t", "model", "mrl"), pupil]).commercial is False
    bound = Component("pupil", "model", "gpl-3.0", True)
    assert compute([Component("t", "model", "gemma"), bound]).conflicts, (
        "a pupil of Gemma is a derivative of it"
    )
    assert not compute([Component("t", "model", "llama3.1"), bound], "Llama-x").conflicts
    same = Component("pupil", "model", "llama3", True)
    assert not compute([Component("t", "model", "llama3"), same], "Llama-3-x").conflicts
    adapter = Component("a", "model", "cc-by-nc-4.0", role="adapter")
    assert compute([adapter, bound]).conflicts


PRESCRIBED = [
    (
        "flux-1-dev-non-commercial-license",
        "The FLUX.1 [dev] Model is licensed by Black Forest Labs. Inc. under the FLUX.1 [dev] "
        "Non-Commercial License.",
        True,
    ),
    ("flux-1-dev-non-commercial-license", "IN NO EVENT SHALL BLACK FOREST LABS, INC. BE LIABLE", True),
    (
        "stabilityai-ai-community",
        "This Stability AI Model is licensed under the Stability AI Community License, Copyright © "
        "Stability AI Ltd.",
        True,
    ),
    ("stabilityai-ai-community", "Powered by Stability AI", True),
    ("mrl", "Licensed by Mistral AI under the Mistral AI Research License", True),
    (
        "nvidia-open-model-license",
        "Licensed by NVIDIA Corporation under the NVIDIA Open Model License",
        False,
    ),
    (
        "qwen",
        "Qwen is licensed under the Qwen LICENSE AGREEMENT, Copyright (c) Alibaba Cloud. All Rights "
        "Reserved.",
        False,
    ),
    (
        "llama3.1",
        "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright © Meta Platforms, Inc. All "
        "Rights Reserved.",
        False,
    ),
]


@pytest.mark.parametrize(("licence", "line", "says_changed"), PRESCRIBED)
def test_prescribed_lines(licence: str, line: str, says_changed: bool, tmp_path: Path) -> None:
    owed = compute([Component("a/base", "model", licence, True, how="tuned and shrunk")], "bank/mine")
    write(owed, "bank/mine", tmp_path)
    text = (tmp_path / NOTICE).read_text(encoding="utf-8")
    assert line in text
    assert ("bank/mine is a modified version of a/base" in text) is says_changed
    assert not says_changed or "tuned and shrunk" in text
    assert "modified version" not in notice(compute([Component("a/base", "model", licence)]), "a/base")


def test_bans_of_flux_and_terms_of_nvidia() -> None:
    flux = compute([Component("a", "model", "flux-1-dev-non-commercial-license", True)])
    told = " ".join(flux.may_not)
    assert flux.commercial is False
    for ban in (
        "commercially or in production",
        "military",
        "surveillance",
        "biometric",
        "train a competing model",
    ):
        assert ban in told
    nvidia = compute([Component("nvidia/nemotron", "model", "nvidia-open-model-license", True)])
    assert nvidia.commercial is True
    assert any("Trustworthy AI" in text for text in nvidia.must)
    assert any("guardrails" in text for text in nvidia.may_not)
    assert nvidia.licences["nvidia-open-model-license"].endswith("of 2025-10-24; read 2026-11")
    assert not nvidia.naming
    cosmos = compute([Component("nvidia/Cosmos-Reason1-7B", "model", "nvidia-open-model-license", True)])
    assert any("Built on NVIDIA Cosmos" in text for text in cosmos.naming)


@pytest.mark.parametrize(
    "key",
    [
        "gpl-2.0",
        "mpl-2.0",
        "lgpl-2.1",
        "cc-by-sa-3.0",
        "odc-by",
        "odbl",
        "cdla-permissive-2.0",
        "openmdw",
        "mrl",
        "llama3.1",
        "llama3.3",
        "llama4",
        "stabilityai-community",
        "nvidia-open-model-license",
    ],
)
def test_texts_that_were_read(key: str) -> None:
    assert table()[key].read
    assert all(one in table() for one in (*table()[key].becomes, *table()[key].not_into))


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("MIT", [("MIT",)]),
        ("MIT OR GPL-2.0-only", [("MIT",), ("GPL-2.0-only",)]),
        ("mit or apache-2.0", [("MIT",), ("Apache-2.0",)]),
        ("MIT AND CC-BY-4.0", [("MIT", "CC-BY-4.0")]),
        ("(MIT OR Apache-2.0) AND llama3.1", [("MIT", "llama3.1"), ("Apache-2.0", "llama3.1")]),
        ("Apache-2.0 WITH LLVM-exception", [("Apache-2.0 WITH LLVM-exception",)]),
        ("MIT/Apache-2.0", [("MIT",), ("Apache-2.0",)]),
        ("GNU GPL v2 or later", [("GNU GPL v2 or later",)]),
        ("MIT OR", [("MIT OR",)]),
        ("my (own) licence", [("my (own) licence",)]),
        ("", [("",)]),
    ],
)
def test_expressions(text: str, ways: list[tuple[str, ...]]) -> None:
    assert choices(text) == ways


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("Apache License, Version 2.0", "apache-2.0"),
        ("Apache-2.0 WITH LLVM-exception", "apache-2.0"),
        ("GPL-2.0+", "gpl-2.0-or-later"),
        ("GPL-2.0", "gpl-2.0"),
        ("GNU General Public License v3.0", "gpl-3.0"),
        ("GPL-3.0-or-later", "gpl-3.0"),
        ("AGPL-3.0-only", "agpl-3.0"),
        ("LGPLv2.1+", "lgpl-2.1-or-later"),
        ("Mozilla Public License 2.0", "mpl-2.0"),
        ("ODC-By-1.0", "odc-by"),
        ("ODbL-1.0", "odbl"),
        ("OpenMDW-1.0", "openmdw"),
        ("LicenseRef-scancode-openmdw-1.0", "openmdw"),
        ("llama3.1", "llama3.1"),
        ("Llama 3.1 Community License Agreement", "llama3.1"),
        ("gemma", "gemma"),
        ("CC BY-NC 4.0", "cc-by-nc-4.0"),
        ("FLUX.1 [dev] Non-Commercial License", "flux-1-dev-non-commercial-license"),
        ("mrl", "mrl"),
        ("stabilityai-ai-community", "stabilityai-community"),
        ("MIT OR GPL-2.0-only", "mit"),
        ("GPL-2.0-only OR MIT", "mit"),
        ("house-rules OR MIT", "mit"),
    ],
)
def test_names(written: str, key: str) -> None:
    assert terms(written).licence == key
    assert terms(written).known


@pytest.mark.parametrize(
    "written", ["other", "unknown", "openmdw-9.0", "GPL-4.0", "bsd", "MIT OR", "house-rules AND MIT"]
)
def test_names_that_are_not_guessed_at(written: str) -> None:
    assert not terms(written).known
    assert compute([Component("m", "model", written)]).commercial is None


@pytest.mark.parametrize(
    ("licence", "commercial"),
    [
        ("cc-by-nc-4.0", False),
        ("MIT AND CC-BY-NC-4.0", False),
        ("MIT OR CC-BY-NC-4.0", True),
        ("mrl", False),
        ("llama3.1", True),
        ("house-rules AND MIT", None),
        ("openmdw", True),
        ("gpl-2.0", True),
    ],
)
def test_commercial_policies(licence: str, commercial: bool | None) -> None:
    assert allowed(licence, "commercial")[0] is commercial
    policy = read("name: x\nlicences: {allow: commercial, unknown: refuse}", "policy.yaml")
    assert bool(object_to_licence(policy, licence)) is (commercial is not True)


def test_a_policy_looks_at_each_licence_of_an_expression() -> None:
    policy = read("name: x\nlicences: {refuse: [cc-by-4.0, mit]}", "policy.yaml")
    assert object_to_licence(policy, "apache-2.0 AND CC-BY-4.0")
    assert object_to_licence(policy, "MIT AND apache-2.0")
    assert not object_to_licence(policy, "MIT OR apache-2.0")
    listed = read("name: x\nlicences: {allow: [mit, apache-2.0]}", "policy.yaml")
    assert not object_to_licence(listed, "MIT AND Apache-2.0")
    assert object_to_licence(listed, "MIT AND cc-by-4.0")


def test_the_choice_that_fits_is_taken() -> None:
    parts = [
        Component("base", "model", "gpl-2.0-only", True),
        Component("code", "dataset", "Apache-2.0 OR MIT"),
    ]
    owed = compute(parts)
    assert not owed.conflicts
    assert owed.chosen == ["code is offered under Apache-2.0 OR MIT, and used here under MIT"]
    both = compute([parts[0], Component("code", "dataset", "Apache-2.0 AND MIT")])
    assert both.conflicts
    assert len(alternatives("Apache-2.0 AND MIT")[0]) == 2


@pytest.mark.parametrize(
    ("head", "stated"),
    [
        ({"license": "mit"}, "mit"),
        ({"license": ["mit", "cc-by-4.0"]}, "mit AND cc-by-4.0"),
        ({"license": "other", "license_name": "mrl"}, "mrl"),
        ({"license": "other"}, "other"),
        ({"license": "apache-2.0", "license_name": "mrl"}, "apache-2.0"),
        ({"license": None}, ""),
        ({}, ""),
    ],
)
def test_what_a_card_states(head: dict[str, object], stated: str) -> None:
    assert stated_licence(head) == stated
