"""No API can forget a field's range: each route with a body reads it in one place, into types of
``fields.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from freehold.core import strict_json
from freehold.core.errors import BadData
from freehold.servers.hub import (
    api_access,
    api_commits,
    api_discussions,
    api_lfs,
    api_repositories,
)
from freehold.servers.inference import (
    api_anthropic,
    api_documents,
    api_embeddings,
    api_ollama,
    api_openai,
    api_responses,
    fields,
)
from freehold.servers.web.bodies import JsonRoute

SERVED = (api_openai, api_responses, api_embeddings, api_documents, api_anthropic, api_ollama)


def bodied(router: Any) -> Iterator[APIRoute]:
    """Routes that take a body."""
    return (route for route in router.routes if isinstance(route, APIRoute) and route.body_field is not None)


@pytest.mark.parametrize("module", SERVED)
def test_bodies_of_the_server_are_read_in_one_place_into_known_types(module: Any) -> None:
    for route in bodied(module.router):
        assert isinstance(route, JsonRoute), route.path
        assert route.body_field is not None
        model = route.body_field.field_info.annotation
        assert model is not None
        assert issubclass(model, fields.Fields), route.path
        assert list(unbounded(model.__pydantic_core_schema__)) == [], route.path


def unbounded(schema: Any, at: str = "") -> Iterator[str]:
    """Places in a model whose type has no range of its own; loading options of Ollama's, which nobody
    reads, apart.
    """
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float", "str", "bool", "dict", "bytes", "decimal"):
            yield f"{at}: {schema['type']}"
        for name, part in schema.items():
            yield from unbounded(part, f"{at}.{name}") if name not in ("metadata", "serialization") else ()
    elif isinstance(schema, list):
        for part in schema:
            yield from unbounded(part, at)


@pytest.mark.parametrize("module", [api_access, api_commits, api_discussions, api_lfs, api_repositories])
def test_bodies_of_the_hub_are_read_in_the_same_place(module: Any) -> None:
    routes = list(bodied(module.router))
    assert routes
    for route in routes:
        assert isinstance(route, JsonRoute), route.path


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"a": [1, {"b": 1e400}]}', "a.1.b: a number must be finite"),
        (b'{"a": NaN}', "a: a number must be finite"),
        (b"18446744073709551616", "a number must be finite, and a whole number below 2^64"),
        (b'{"a": 1, "a": 1}', "a name appears twice"),
        (b"[" * 250, "deeper than 200"),
    ],
)
def test_json_that_readers_disagree_about_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(BadData, match=re.escape(told)):
        strict_json.read(data)


def test_json_is_read_as_it_is() -> None:
    assert strict_json.read(
        b'\xef\xbb\xbf{"a": [18446744073709551615, -0.5, "NaN 1e999", "\\ud83d\\ude00\\u0000", null]}'
    ) == {"a": [2**64 - 1, -0.5, "NaN 1e999", "\U0001f600\0", None]}
