"""The real client as two people and nobody, on one machine with one cache: public, private and gated
repositories, chunked and plain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.hub import repository_checks
from freehold.hub.repositories import Repositories
from freehold.hub.users import Users
from freehold.models.store import Store
from tests.hub.serving import hub_at

PROGRAM = """
import os, sys, tempfile
from pathlib import Path
from huggingface_hub import CommitOperationCopy, HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

ada, bob, nobody = HfApi(token=sys.argv[1]), HfApi(token=sys.argv[2]), HfApi(token=False)
data = os.urandom(3_000_000)
near = data[:1_500_000] + b"something else " * 1000 + data[1_500_000:]


def fails(kind, call):
    try:
        call()
    except kind:
        return
    raise SystemExit(f"no {kind.__name__}")


def fetched(api, repo):
    with tempfile.TemporaryDirectory() as folder:
        return Path(api.hf_hub_download(repo, "w.bin", local_dir=folder)).read_bytes()


def put(api, repo, content, path="w.bin", **more):
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo, **more)


for name in ("open", "private", "gated"):
    ada.create_repo(f"ada/{name}", private=name == "private")
put(ada, "ada/private", data)
put(ada, "ada/gated", data)
ada.update_repo_settings("ada/gated", gated="manual")
for outsider in (bob, nobody):
    fails(RepositoryNotFoundError, lambda: fetched(outsider, "ada/private"))
    fails(GatedRepoError, lambda: fetched(outsider, "ada/gated"))
    fails(GatedRepoError, lambda: snapshot_download("ada/gated", token=outsider.token, cache_dir=sys.argv[3]))
    assert {one.path for one in outsider.list_repo_tree("ada/gated")} == {".gitattributes", "w.bin"}
    assert [one.blob_id for one in outsider.get_paths_info("ada/gated", ["w.bin"])] == [""]
    assert outsider.model_info("ada/gated", files_metadata=True).siblings
assert fetched(ada, "ada/private") == fetched(ada, "ada/gated") == data

# the same bytes, and near ones, sent by who may not read what the hub has
bob.create_repo("bob/own")
put(bob, "bob/own", data)
put(bob, "bob/own", near, "near.bin")
assert fetched(bob, "bob/own") == fetched(nobody, "bob/own") == data

# a copy between repositories, which only who reads the first can make
put(ada, "ada/open", near)
if sys.argv[4] == "xet":
    copy = CommitOperationCopy("w.bin", "copied.bin", src_repo_id="ada/open", src_repo_type="model")
    bob.create_commit("bob/own", [copy], commit_message="copy")
    assert bob.hf_hub_download("bob/own", "copied.bin", cache_dir=sys.argv[3])
    hidden = CommitOperationCopy("w.bin", "copied.bin", src_repo_id="ada/private", src_repo_type="model")
    fails(HfHubHTTPError, lambda: bob.create_commit("bob/own", [hidden], commit_message="copy"))

# a request by another, and one who is let in
put(bob, "ada/open", os.urandom(100_000), "proposed.bin", create_pr=True)
ada.merge_pull_request("ada/open", 1)
assert fetched(nobody, "ada/open") == near
ada.grant_access("ada/gated", "bob")
assert fetched(bob, "ada/gated") == data
put(bob, "bob/own", data, "again.bin")
assert snapshot_download("ada/open", token=False, cache_dir=sys.argv[3])

# what was deleted can be sent again, by the client that remembers having sent it
ada.delete_repo("ada/private")
ada.create_repo("ada/private", private=True)
put(ada, "ada/private", data)
assert fetched(ada, "ada/private") == data
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["xet", "lfs"])
def test_people_upload_and_download_what_they_may(tmp_path: Path, way: str) -> None:
    store = Store(tmp_path / "hub")
    accounts = Users(store)
    ada, bob = (accounts.create_token(name) for name in ("ada", "bob"))
    with hub_at(tmp_path / "hub") as address:
        own = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
        own |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "client")}
        own |= {"HF_HUB_DISABLE_XET": "1"} if way == "lfs" else {}
        words = [sys.executable, "-c", PROGRAM, ada, bob, str(tmp_path / "cache"), way]
        done = subprocess.run(words, env=own, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    assert repository_checks.check(Repositories(store)) == []
