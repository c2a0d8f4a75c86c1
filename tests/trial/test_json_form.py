"""Records as JSON: written with their fields' names, and read though other versions wrote them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from freehold.core.errors import BadData
from freehold.trial import json_form


@dataclass(frozen=True)
class Inner:
    """A record in a record."""

    share: float
    title: str = "none"


@dataclass(frozen=True)
class Outer:
    """A record."""

    name: str
    parts: tuple[Inner, ...] = ()
    counts: dict[str, int] | None = None


WHOLE = Outer("a", (Inner(0.5), Inner(1.0, "b")), {"x": 1})


def test_a_record_comes_back_from_its_json_as_it_was() -> None:
    value = json.loads(json.dumps(json_form.write(WHOLE)))
    assert value["parts"] == [{"share": 0.5, "title": "none"}, {"share": 1.0, "title": "b"}]
    assert json_form.read(Outer, value) == WHOLE


def test_fields_that_an_earlier_version_did_not_write_have_their_defaults() -> None:
    assert json_form.read(Outer, {"name": "a"}) == Outer("a")


def test_keys_that_a_later_version_added_are_passed_over() -> None:
    assert json_form.read(Outer, {"name": "a", "colour": 1, "parts": [{"share": 1, "size": 2}]}) == Outer(
        "a", (Inner(1.0),)
    )


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a", "parts": [{"share": 1}, {"share": "much"}]}, "parts.1.share"),
        ({"name": "a", "counts": {"x": "one"}}, "counts.x"),
        ("text", ""),
    ],
)
def test_a_value_that_is_no_such_record_is_refused_with_its_place(value: object, key: str) -> None:
    with pytest.raises(BadData) as raised:
        json_form.read(Outer, value, "step look/result.json")
    assert "step look/result.json" in raised.value.message
    assert repr(key) in raised.value.message


def test_a_schema_has_descriptions_and_no_titles_but_fields_called_so() -> None:
    schema = json_form.schema(Outer)
    assert "title" not in schema
    assert schema["description"] == "A record."
    assert set(schema["$defs"]["Inner"]["properties"]) == {"share", "title"}
    assert "title" not in schema["$defs"]["Inner"]["properties"]["title"]
