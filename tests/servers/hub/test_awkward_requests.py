"""What the hub does with bodies and numbers that nobody should send: a sentence, never a fault, and never a
long wait."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from tests.hub.client import Client

REPO = "/api/models/ada/first"
DEEP = b'{"a":' * 100_000
SURROGATE = b'{"%s": "\\ud800"}'


@pytest.fixture
def client(tmp_path: Path) -> Client:
    made = Client(make_app(Store(tmp_path)), raise_server_exceptions=False)
    assert made.post("/api/repos/create", json={"name": "first", "organization": "ada"}).status_code == 200
    assert made.post(f"{REPO}/discussions", json={"title": "a change"}).status_code == 200
    return made


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/api/repos/create", SURROGATE % b"name"),
        (f"{REPO}/branch/dev", SURROGATE % b"startingPoint"),
        (f"{REPO}/tag/main", SURROGATE % b"tag"),
        (f"{REPO}/super-squash/main", SURROGATE % b"message"),
        (f"{REPO}/discussions", SURROGATE % b"title"),
        (f"{REPO}/discussions/1/comment", SURROGATE % b"comment"),
        (f"{REPO}/user-access-request/grant", SURROGATE % b"user"),
        (f"{REPO}/commit/main", b'{"key": "header", "value": {"summary": "\\ud800"}}'),
        (f"{REPO}/commit/main", DEEP),
        (f"{REPO}/paths-info/main", DEEP),
        (f"{REPO}/preupload/main", DEEP),
        (f"{REPO}/discussions", DEEP),
        ("/api/validate-yaml", DEEP),
        ("/api/repos/create", b'{"name": "a", "name": "b"}'),
        ("/api/repos/create", b'{"name": "\xff"}'),
        ("/api/repos/create", b"[]"),
        ("/api/repos/create", b""),
    ],
)
def test_a_body_that_is_no_clean_json_is_refused(client: Client, path: str, data: bytes) -> None:
    answer = client.post(path, content=data, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert 8 < len(answer.json()["error"]) < 500


def test_a_refusal_does_not_repeat_a_long_value_whole(client: Client) -> None:
    long = "x" * 5000
    moved = client.post("/api/repos/move", json={"fromRepo": "ada/first", "toRepo": "ada/b", "type": long})
    gated = client.put(f"{REPO}/settings", json={"gated": long})
    assert (moved.status_code, gated.status_code) == (400, 400)
    assert max(len(moved.json()["error"]), len(gated.json()["error"])) < 700


def test_json_is_read_whatever_it_is_sent_as(client: Client) -> None:
    body = json.dumps({"name": "second", "organization": "ada"})
    for kind in ("", "application/x-www-form-urlencoded"):
        answer = client.post("/api/repos/create", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (200, 409)


@pytest.mark.parametrize("number", [0, 2**31, 2**63, 2**64, 10**400])
def test_a_discussion_of_any_number_is_not_found(client: Client, number: int) -> None:
    for path in (f"{REPO}/discussions/{number}", f"/ada/first/discussions/{number}"):
        assert client.get(path).status_code == 404
    assert client.post(f"{REPO}/discussions/{number}/comment", json={"comment": "c"}).status_code == 404
    assert client.post(f"{REPO}/discussions/{number}/merge", json={}).status_code == 404


@pytest.mark.parametrize(
    ("rules", "ignored"),
    [
        ("*.bin\n!keep.bin", [True, False]),
        ("!\n\\\n*.bin", [True, True]),  # lines that are no patterns match nothing
        ("a*" * 40 + "b", [False, False]),  # years with a matcher that tries again
    ],
)
def test_rules_of_what_to_ignore_are_read_as_git_reads_them(
    client: Client, rules: str, ignored: list[bool]
) -> None:
    sample = base64.b64encode(b"abc").decode()
    names = ["a" * 150 + ".bin", "keep.bin"]
    files = [{"path": name, "size": 3, "sample": sample} for name in names]
    answer = client.post(f"{REPO}/preupload/main", json={"files": files, "gitIgnore": rules})
    assert [file["shouldIgnore"] for file in answer.json()["files"]] == ignored


def test_too_many_rules_are_refused(client: Client) -> None:
    for rules in ("x" * 1001, "x\n" * 1001):
        answer = client.post(f"{REPO}/preupload/main", json={"files": [], "gitIgnore": rules})
        assert answer.status_code == 400
        assert ".gitignore" in answer.json()["error"]
