from collections.abc import Mapping
from pathlib import Path

import pytest
from huggingface_hub import HfApi, RepoFile

from freehold.hub.scans import Danger
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from freehold.trust import scan
from tests.hub.client import Client
from tests.hub.serving import hub_at
from tests.servers.hub.test_pages import BROWSER, push
from tests.trust.corpus import malicious

CLEAN = {
    "README.md": b"---\nlicense: mit\n---\n# Plain\n",
    "config.json": b'{"model_type": "llama"}',
    "merges.txt": b"a b\n",
    ".gitattributes": b"*.gguf\n",
}


def _tree(client: Client, where: str) -> dict[str, dict[str, str] | None]:
    rows = client.get(f"/api/{where}/tree/main", params={"recursive": "true", "expand": "true"}).json()
    return {row["path"]: row["securityFileStatus"] for row in rows if row["type"] == "file"}


def test_nothing_malicious_in_a_model_is_told_to_be_safe(tmp_path: Path) -> None:
    corpus = malicious(tmp_path / "mark")
    client = Client(make_app(Store(tmp_path / "hub")))
    push(
        client,
        "ada/evil",
        {name: data for name, (_, data) in corpus.items()}
        | {f"clean/{name}": data for name, data in CLEAN.items()},
    )
    told = _tree(client, "models/ada/evil")
    for name, (kind, _) in corpus.items():
        status = told[name]
        assert status is not None
        assert (
            status["status"] == "unsafe"
            if kind in ("pickle", "pickle in zip", "remote code", "template", "yaml")
            else status["status"] != "safe"
        ), name
        assert status["message"]
    for name in CLEAN:
        assert told[f"clean/{name}"] == {
            "status": "safe",
            "avScan": None,
            "pickleImportScan": None,
            "message": "",
        }
    assert not (tmp_path / "mark").exists()


def test_a_file_is_scanned_once_and_again_by_other_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    dangers = scan.dangers

    def look(files: Mapping[str, Path]) -> dict[str, list[Danger]]:
        looked.extend(files)
        return dangers(files)

    monkeypatch.setattr(scan, "dangers", look)
    store = Store(tmp_path)
    client = Client(make_app(store))
    push(client, "ada/one", {"a.pkl": b"\x80\x04N.", "README.md": b"# One"})
    push(client, "ada/rows", {"a.pkl": b"\x80\x04N."}, "dataset")
    for _ in range(2):
        assert client.get("/api/models/ada/one", params={"securityStatus": "true"}).json()[
            "securityRepoStatus"
        ] == {
            "scansDone": True,
            "filesWithIssues": [{"path": "a.pkl", "level": "unsafe"}],
        }
        assert "Unsafe files" in client.get("/ada/one", headers=BROWSER).text
        assert 'class="mark unsafe"' in client.get("/ada/one/tree/main", headers=BROWSER).text
        assert "it is a pickle" in client.get("/ada/one/blob/main/a.pkl", headers=BROWSER).text
    assert sorted(looked) == [".gitattributes", "README.md", "a.pkl"]
    assert _tree(client, "datasets/ada/rows") == {
        ".gitattributes": None,
        "a.pkl": None,
    }  # what data are made of is not judged as a model
    monkeypatch.setattr(scan, "RULES", "of another version")
    Client(make_app(store)).get("/ada/one", headers=BROWSER)
    assert sorted(looked) == sorted([".gitattributes", "README.md", "a.pkl"] * 2)


def test_a_strict_hub_takes_no_unsafe_files(tmp_path: Path) -> None:
    client = Client(make_app(Store(tmp_path), strict=True))
    push(client, "ada/one", CLEAN)
    before = client.get("/api/models/ada/one").json()["sha"]
    with pytest.raises(
        AssertionError,
        match=r"does not accept unsafe files, and the commit adds a\.pkl: it is a pickle",
    ):
        push(client, "ada/one", {"a.pkl": b"\x80\x04N.", "more.txt": b"more"})
    assert client.get("/api/models/ada/one").json()["sha"] == before
    push(client, "ada/one", {"notes.txt": b"plain"})
    push(client, "ada/rows", {"a.pkl": b"\x80\x04N."}, "dataset")


def test_the_official_client_reads_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    push(Client(make_app(Store(tmp_path))), "ada/one", {"a.pkl": b"\x80\x04N.", "README.md": b"# One"})
    with hub_at(tmp_path) as address:
        api = HfApi(endpoint=address)
        assert api.model_info("ada/one", securityStatus=True).security_repo_status == {
            "scansDone": True,
            "filesWithIssues": [{"path": "a.pkl", "level": "unsafe"}],
        }
        found = {
            one.path: one
            for one in api.get_paths_info("ada/one", ["a.pkl", "README.md"], expand=True)
            if isinstance(one, RepoFile)
        }
    assert found["README.md"].security is not None
    assert found["README.md"].security.safe
    assert found["a.pkl"].security is not None
    assert not found["a.pkl"].security.safe
    assert found["a.pkl"].security.pickle_import_scan
