"""Client calls against a hub, each by name: run by tests/e2e/test_hub_clients.py in a process that is not
offline.

Run: HF_ENDPOINT=... python tests/e2e/hub_calls.py MODEL_FOLDER; prints one JSON object of name -> null or the
error.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

api = HfApi()
REPO, DATA = "freehold/first", "freehold/rows"
NOISE = os.urandom(3_000_000)
CARD = (
    "---\nlicense: mit\ntags: [bank, small]\npipeline_tag: text-classification\nlibrary_name:"
    " transformers\n---\n# A card\n"
)
CALLS: dict[str, Callable[[], object]] = {}


def call(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Register a call; they run in the order they are written."""

    def register(function: Callable[[], object]) -> Callable[[], object]:
        CALLS[name] = function
        return function

    return register


def fails(kind: type[Exception], function: Callable[[], object], *, status: int = 0) -> None:
    """The call must raise ``kind``."""
    try:
        function()
    except kind as error:
        found = getattr(getattr(error, "response", None), "status_code", 0)
        assert not status or found == status, f"status {found}"
        return
    raise AssertionError(f"{kind.__name__} was not raised")


@call("whoami")
def _() -> None:
    assert api.whoami()["name"] == "freehold"


@call("create_repo")
def _() -> None:
    assert api.create_repo(REPO).repo_id == REPO
    api.create_repo(REPO, exist_ok=True)
    fails(HfHubHTTPError, lambda: api.create_repo(REPO), status=409)
    fails(HfHubHTTPError, lambda: api.create_repo(REPO.upper().replace("FREEHOLD", "freehold")), status=409)


@call("repo_exists, revision_exists, file_exists")
def _() -> None:
    assert api.repo_exists(REPO)
    assert not api.repo_exists("freehold/other")
    assert api.revision_exists(REPO, "main")
    assert not api.revision_exists(REPO, "other")
    assert api.file_exists(REPO, ".gitattributes")
    assert not api.file_exists(REPO, "other")


@call("upload_file")
def _() -> None:
    api.upload_file(path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id=REPO)
    api.upload_file(path_or_fileobj=NOISE, path_in_repo="weights/model.safetensors", repo_id=REPO)


@call("hf_hub_download")
def _() -> None:
    assert Path(hf_hub_download(REPO, "weights/model.safetensors")).read_bytes() == NOISE
    fails(EntryNotFoundError, lambda: hf_hub_download(REPO, "other"))
    fails(RevisionNotFoundError, lambda: hf_hub_download(REPO, "README.md", revision="other"))
    fails(RepositoryNotFoundError, lambda: hf_hub_download("freehold/other", "README.md"))


@call("upload_folder")
def _() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(300):
            (folder / f"{number}.txt").write_text(str(number))
        (folder / "near.bin").write_bytes(NOISE[:100_000] + b"inserted" + NOISE[100_000:])
        (folder / "ümläut 100%?.txt").write_text("a name to escape")
        api.upload_folder(folder_path=folder, repo_id=REPO, path_in_repo="many")
    assert len(api.list_repo_files(REPO)) == 305


@call("snapshot_download")
def _() -> None:
    folder = Path(
        snapshot_download(REPO, allow_patterns=["README.md", "many/1*.txt", "many/near.bin", "many/ü*"])
    )
    assert (folder / "many/near.bin").read_bytes()[100_000:100_008] == b"inserted"
    assert (folder / "many/ümläut 100%?.txt").read_text() == "a name to escape"
    assert not (folder / "weights").exists()


@call("create_commit")
def _() -> None:
    parent = api.model_info(REPO).sha
    operations = [
        CommitOperationAdd("new.txt", b"new"),
        CommitOperationDelete("many/1.txt"),
        CommitOperationCopy("weights/model.safetensors", "copied.safetensors"),
        CommitOperationCopy("README.md", "copied.md"),
    ]
    done = api.create_commit(REPO, operations, commit_message="four changes", parent_commit=parent)
    assert api.model_info(REPO).sha == done.oid
    paths = set(api.list_repo_files(REPO))
    assert {"new.txt", "copied.safetensors", "copied.md"} <= paths
    assert "many/1.txt" not in paths
    fails(
        HfHubHTTPError,
        lambda: api.create_commit(
            REPO, [CommitOperationAdd("late.txt", b"")], commit_message="late", parent_commit=parent
        ),
        status=412,
    )


@call("delete_file, delete_folder")
def _() -> None:
    api.delete_file("new.txt", REPO)
    api.delete_folder("many", REPO)
    assert not any(path.startswith("many/") for path in api.list_repo_files(REPO))
    fails(EntryNotFoundError, lambda: api.delete_file("new.txt", REPO))


@call("model_info")
def _() -> None:
    info = api.model_info(REPO, files_metadata=True)
    sizes = {one.rfilename: one.size for one in info.siblings or []}
    assert sizes["weights/model.safetensors"] == len(NOISE)
    assert info.pipeline_tag == "text-classification"
    assert info.library_name == "transformers"
    assert {"license:mit", "bank", "safetensors"} <= set(info.tags or [])
    assert api.model_info(REPO, expand=["downloads", "tags"]).downloads


@call("list_repo_tree, get_paths_info")
def _() -> None:
    names = {one.path for one in api.list_repo_tree(REPO)}
    assert {"README.md", "weights"} <= names
    whole = {one.path: one for one in api.list_repo_tree(REPO, recursive=True, expand=True)}
    assert whole["weights/model.safetensors"].last_commit.title.startswith("Upload")
    found = api.get_paths_info(REPO, ["README.md", "weights", "other"])
    assert [one.path for one in found] == ["README.md", "weights"]


@call("create_branch, create_tag, list_repo_refs")
def _() -> None:
    api.create_branch(REPO, branch="work/one")
    fails(HfHubHTTPError, lambda: api.create_branch(REPO, branch="work/one"), status=409)
    api.upload_file(path_or_fileobj=b"there", path_in_repo="branch.txt", repo_id=REPO, revision="work/one")
    assert Path(hf_hub_download(REPO, "branch.txt", revision="work/one")).read_text() == "there"
    assert not api.file_exists(REPO, "branch.txt")
    api.create_tag(REPO, tag="v1", revision="work/one")
    refs = api.list_repo_refs(REPO)
    assert {one.name for one in refs.branches} == {"main", "work/one"}
    assert [one.name for one in refs.tags] == ["v1"]
    api.delete_branch(REPO, branch="work/one")
    assert Path(hf_hub_download(REPO, "branch.txt", revision="v1")).exists()
    api.delete_tag(REPO, tag="v1")
    fails(RevisionNotFoundError, lambda: api.delete_tag(REPO, tag="v1"))


@call("list_repo_commits, super_squash_history")
def _() -> None:
    titles = [one.title for one in api.list_repo_commits(REPO)]
    assert titles[-1] == "initial commit"
    assert "four changes" in titles
    before = api.list_repo_files(REPO)
    api.super_squash_history(REPO)
    assert len(api.list_repo_commits(REPO)) == 1
    assert api.list_repo_files(REPO) == before


@call("create_commit as a pull request")
def _() -> None:
    done = api.upload_file(path_or_fileobj=b"?", path_in_repo="proposed.txt", repo_id=REPO, create_pr=True)
    assert done.pr_num == 1
    assert api.file_exists(REPO, "proposed.txt", revision="refs/pr/1")
    assert not api.file_exists(REPO, "proposed.txt")
    assert [one.name for one in api.list_repo_refs(REPO, include_pull_requests=True).pull_requests or []] == [
        "refs/pr/1"
    ]


@call("list_models")
def _() -> None:
    assert [one.id for one in api.list_models(search="FIRST")] == [REPO]
    assert [
        one.id
        for one in api.list_models(
            filter=["license:mit", "bank"], pipeline_tag="text-classification", full=True
        )
    ] == [REPO]
    assert list(api.list_models(filter="license:apache-2.0")) == []
    for number in range(5):
        api.create_repo(f"freehold/page{number}")
    assert len(list(api.list_models(search="page", limit=3))) == 3
    assert [one.id for one in api.list_models(author="freehold", sort="created_at", limit=1)] == [
        "freehold/page4"
    ]


@call("dataset_info, list_datasets")
def _() -> None:
    api.create_repo(DATA, repo_type="dataset")
    api.upload_file(
        path_or_fileobj=b'{"n": 1}\n{"n": 2}\n', path_in_repo="train.jsonl", repo_id=DATA, repo_type="dataset"
    )
    assert "train.jsonl" in {one.rfilename for one in api.dataset_info(DATA).siblings or []}
    assert [one.id for one in api.list_datasets(search="rows")] == [DATA]


@call("move_repo")
def _() -> None:
    api.move_repo(REPO, "freehold/second")
    assert api.model_info(REPO).id == "freehold/second"
    api.move_repo("freehold/second", REPO)
    fails(HfHubHTTPError, lambda: api.move_repo(REPO, "freehold/page1"), status=409)


@call("update_repo_settings, auth_check")
def _() -> None:
    nobody = HfApi(token=False)
    api.auth_check(REPO)
    api.update_repo_settings(REPO, gated="manual", private=True)
    assert api.model_info(REPO).private
    if os.environ.get("HUB_HAS_PEOPLE"):
        fails(RepositoryNotFoundError, lambda: nobody.model_info(REPO))
        api.update_repo_settings(REPO, private=False)
        fails(GatedRepoError, lambda: nobody.hf_hub_download(REPO, "README.md", force_download=True))
    api.update_repo_settings(REPO, gated=False, private=False)


@call("create_discussion, comment_discussion, change_discussion_status")
def _() -> None:
    made = api.create_discussion(REPO, title="A question", description="why?")
    api.comment_discussion(REPO, made.num, comment="because")
    api.rename_discussion(REPO, made.num, new_title="An answer")
    api.change_discussion_status(REPO, made.num, new_status="closed")
    found = api.get_discussion_details(REPO, made.num)
    assert (found.title, found.status) == ("An answer", "closed")
    assert [event.type for event in found.events] == ["comment", "comment", "title-change", "status-change"]
    assert made.num in [one.num for one in api.get_repo_discussions(REPO)]


@call("create_pull_request, merge_pull_request")
def _() -> None:
    made = api.create_pull_request(REPO, title="A change")
    api.upload_file(
        path_or_fileobj=b"proposed",
        path_in_repo="proposed.txt",
        repo_id=REPO,
        revision=made.git_reference or "",
    )
    assert not api.file_exists(REPO, "proposed.txt")
    assert "+proposed" in (api.get_discussion_details(REPO, made.num).diff or "")
    api.merge_pull_request(REPO, made.num)
    assert api.get_discussion_details(REPO, made.num).status == "merged"
    assert api.file_exists(REPO, "proposed.txt")


@call("datasets.load_dataset")
def _() -> None:
    from datasets import load_dataset

    assert load_dataset(DATA)["train"]["n"][:] == [1, 2]


@call("Dataset.push_to_hub")
def _() -> None:
    from datasets import Dataset, load_dataset

    Dataset.from_dict({"text": ["a", "b", "c"]}).push_to_hub("freehold/pushed")
    assert load_dataset("freehold/pushed", split="train")["text"][:] == ["a", "b", "c"]


@call("transformers from_pretrained")
def _() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    api.create_repo("freehold/smollm2")
    api.upload_folder(folder_path=sys.argv[1], repo_id="freehold/smollm2")
    model = AutoModelForCausalLM.from_pretrained("freehold/smollm2")
    assert sum(one.numel() for one in model.parameters()) == 134_515_008
    assert AutoTokenizer.from_pretrained("freehold/smollm2").chat_template


@call("hf command: upload, download")
def _() -> None:
    import subprocess

    command = str(Path(sys.executable).with_name("hf"))
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "one.txt").write_text("by hand")
        subprocess.run([command, "upload", "freehold/by-hand", name], check=True, capture_output=True)
        subprocess.run(
            [command, "download", "freehold/by-hand", "--local-dir", f"{name}/back"],
            check=True,
            capture_output=True,
        )
        assert (Path(name) / "back/one.txt").read_text() == "by hand"


@call("delete_repo")
def _() -> None:
    api.delete_repo(REPO)
    fails(RepositoryNotFoundError, lambda: api.model_info(REPO))
    fails(RepositoryNotFoundError, lambda: api.delete_repo(REPO))


if __name__ == "__main__":
    results: dict[str, str | None] = {}
    for name, function in CALLS.items():
        try:
            function()
            results[name] = None
        except BaseException:
            results[name] = traceback.format_exc()[-1500:]
    print(json.dumps({"client": huggingface_hub.__version__, "calls": results}))
