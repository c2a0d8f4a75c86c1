"""Descriptions of repositories: what is left out, and what a client may ask for alone."""

from __future__ import annotations

import pytest

from freehold.hub.commits import Commit, File, Repository, lfs_file
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.repository_info import (
    RepositoryInfo,
    repository_info,
    requested_properties,
    revision_info,
    with_properties,
)

CARD = {"pipeline_tag": "text-generation"}
REPOSITORY = Repository(7, "model", "ada/one", "ada", False, "", 0.0, 1.5, 3, ["gguf"], CARD)
FILES = {"README.md": File("a" * 64, 5, False, "b" * 40), "copy": File("a" * 64, 5, False, "b" * 40)}
COMMIT = Commit("c" * 40, "", "first", "", "ada", 2.0, FILES | {"w.gguf": lfs_file("d" * 64, 90)})


def sent(info: RepositoryInfo) -> dict[str, object]:
    return info.model_dump(by_alias=True, exclude_unset=True)


def test_a_row_is_described_without_files() -> None:
    fields = sent(repository_info(REPOSITORY))
    assert list(fields)[:3] == ["_id", "id", "author"]
    assert fields["_id"] == "000000000000000000000007"
    assert fields["gated"] is False
    assert fields["lastModified"] == "1970-01-01T00:00:01.500Z"
    assert fields["pipeline_tag"] == "text-generation"
    assert fields["library_name"] is None
    assert "siblings" not in fields
    assert "gguf" not in fields


def test_bytes_that_two_files_share_are_counted_once() -> None:
    assert sent(revision_info(REPOSITORY, COMMIT))["usedStorage"] == 95


def test_digests_of_files_are_for_those_who_may_read_them() -> None:
    closed = revision_info(REPOSITORY, COMMIT, blobs=True).siblings
    opened = revision_info(REPOSITORY, COMMIT, blobs=True, digests=True).siblings
    assert closed is not None
    assert opened is not None
    assert [sibling.size for sibling in closed] == [5, 5, 90]
    assert {sibling.blobId for sibling in closed} == {None}
    assert {sibling.lfs for sibling in closed} == {None}
    assert opened[2].lfs is not None
    assert opened[2].lfs.sha256 == "d" * 64


def test_a_description_can_be_cut_to_some_properties() -> None:
    info = with_properties(revision_info(REPOSITORY, COMMIT), requested_properties(["sha,tags", "gguf"]))
    assert sent(info) == {
        "_id": "000000000000000000000007",
        "id": "ada/one",
        "tags": ["gguf"],
        "sha": "c" * 40,
    }


def test_an_unknown_property_is_refused_by_name() -> None:
    with pytest.raises(ApiError, match="expand has no property 'colour'"):
        requested_properties(["sha,colour"])
