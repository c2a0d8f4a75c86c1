"""The lines of a commit as clients send them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.core.errors import UsageError
from freehold.hub.users import User
from freehold.models.store import Store
from freehold.servers.hub import commit_body
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.commit_body import NamedBlob, named_files, read_commit
from freehold.servers.hub.state import Hub

ADA = User("ada", "write", {})
HEADER = {"key": "header", "value": {"summary": "a change"}}
Send = Callable[..., Path]


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(Store(tmp_path / "home"), public=True)


@pytest.fixture
def send(tmp_path: Path) -> Send:
    """Writes a body and gives its file; what is no dict is written as it is."""

    def write(*lines: Any) -> Path:
        path = tmp_path / "body"
        path.write_bytes(
            b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        )
        return path

    return write


def line(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def test_each_kind_of_line(hub: Hub, send: Send) -> None:
    body = send(
        line("header", summary="a change", description="more", parentCommit="c" * 40),
        line("file", path="a.txt", content=base64.b64encode(b"text").decode(), encoding="base64"),
        line("file", path="b.txt", content="\u00e9", encoding="utf-8"),
        line("lfsFile", path="w.bin", oid="d" * 64, size=7, algo="sha256"),
        line("deletedFile", path="old.txt"),
        line("deletedFolder", path="old/"),
        line("copyFile", srcPath="x", srcRevision="v1", path="y"),
    )
    change, named = read_commit(body, hub)
    assert change.title == "a change"
    assert {path: (file.size, file.lfs) for path, file in change.put.items()} == {
        "a.txt": (4, False),
        "b.txt": (2, False),
    }
    assert hub.blobs.small(change.put["a.txt"].sha256, 100) == b"text"
    assert named == {"w.bin": NamedBlob("d" * 64, 7)}
    assert (change.removed, change.removed_folders) == (["old.txt"], ["old/"])
    assert change.copied == [("x", "v1", "y")]


def test_a_later_line_about_a_path_replaces_an_earlier_one(hub: Hub, send: Send) -> None:
    small = line("file", path="a", content="eA==")
    large = line("lfsFile", path="a", oid="d" * 64, size=1)
    change, named = read_commit(send(HEADER, small, large), hub)
    assert (list(change.put), list(named)) == ([], ["a"])
    change, named = read_commit(send(HEADER, large, small), hub)
    assert (list(change.put), list(named)) == (["a"], [])


def test_empty_lines_are_passed_over(hub: Hub, send: Send) -> None:
    change, _ = read_commit(send(b"", HEADER, b"  ", b""), hub)
    assert change.title == "a change"


@pytest.mark.parametrize(
    "bad",
    [
        b"not json",
        b"[]",
        b'{"key": "file"}',
        line("file", path="a", content="not base64!"),
        line("file", path="a"),
        line("file", path="a", content=5),
        line("lfsFile", path="a", oid=5),
        line("deletedFile", path=["a"]),
        {"key": "header", "value": "a change"},
        b'{"key": "header", "key": "file", "value": {}}',
        b"\xff",
    ],
)
def test_a_line_that_cannot_be_read_is_named(hub: Hub, send: Send, bad: object) -> None:
    with pytest.raises(ApiError, match="line 2 of the commit cannot be read") as raised:
        read_commit(send(HEADER, bad), hub)
    assert raised.value.status == 400


@pytest.mark.parametrize("path", ["../a", "/a", "a/.git/b", ""])
def test_a_path_that_leaves_the_repository_is_refused(hub: Hub, send: Send, path: str) -> None:
    for bad in (
        line("file", path=path, content=""),
        line("lfsFile", path=path, oid="d" * 64),
        line("copyFile", srcPath="x", path=path),
    ):
        with pytest.raises((UsageError, ApiError)):
            read_commit(send(HEADER, bad), hub)


def test_a_commit_without_a_summary_is_refused(hub: Hub, send: Send) -> None:
    with pytest.raises(ApiError, match="summary"):
        read_commit(send(line("file", path="a", content="")), hub)


def test_a_line_that_memory_should_not_hold_is_refused(
    hub: Hub, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_body, "MOST_LINE_BYTES", 1000)
    with pytest.raises(ApiError, match="send large files by LFS") as raised:
        read_commit(send(HEADER, line("file", path="a", content="A" * 2000)), hub)
    assert raised.value.status == 413


def test_named_bytes_must_have_been_uploaded_and_have_the_size_that_is_said(hub: Hub) -> None:
    repository = hub.repositories.create("model", "ada/m")
    digest = hub.blobs.put(b"weights")
    asked = {"w.bin": NamedBlob(digest, 7)}
    with pytest.raises(ApiError, match="was not uploaded, or has another size"):
        named_files(hub, ADA, repository, asked)
    hub.uploads.content("ada", repository.id, digest)
    (file,) = named_files(hub, ADA, repository, asked).values()
    assert (file.sha256, file.size, file.lfs) == (digest, 7, True)
    assert named_files(hub, ADA, repository, {"w.bin": NamedBlob(digest, None)})["w.bin"] == file
    for wrong in (NamedBlob(digest, 8), NamedBlob("d" * 64, 7), NamedBlob("no digest", 7)):
        with pytest.raises(ApiError, match="was not uploaded"):
            named_files(hub, ADA, repository, {"w.bin": wrong})
