"""Addresses: a repository's kind in them, slashes that were escaped, links to the next page."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from freehold.servers.hub.addresses import next_link, page_path, plural_and_name, unescape_slashes


@pytest.mark.parametrize(
    ("where", "plural", "name"),
    [
        ("ada/one", "models", "ada/one"),
        ("one", "models", "one"),
        ("models/ada/one", "models", "ada/one"),
        ("datasets/ada/rows", "datasets", "ada/rows"),
        ("spaces/app", "spaces", "app"),
        ("datasets", "models", "datasets"),
    ],
)
def test_an_address_names_a_kind_and_a_repository(where: str, plural: str, name: str) -> None:
    assert plural_and_name(where) == (plural, name)


def test_pages_of_models_have_no_kind_in_their_address() -> None:
    assert page_path("model", "ada/one", "tree", "main", "a b/c?") == "/ada/one/tree/main/a%20b/c%3F"
    assert page_path("dataset", "ada/rows", "", "lineage") == "/datasets/ada/rows/lineage"


def test_a_revision_may_hold_slashes() -> None:
    assert unescape_slashes("refs%2Fpr%2F1") == "refs/pr/1"


def test_the_next_page_keeps_what_was_asked_for() -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "server": ("127.0.0.1", 8600),
        "path": "/api/models",
        "raw_path": b"/api/models",
        "query_string": b"filter=a&filter=b&cursor=old",
        "headers": [],
    }
    link = next_link(Request(scope), cursor="new one")
    address = "http://127.0.0.1:8600/api/models?filter=a&filter=b&cursor=new+one"
    assert link == f'<{address}>; rel="next"'
