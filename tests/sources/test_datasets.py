"""Rows that lie in a hub: this home's own, and a server of the Hugging Face protocol (ours, here)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.core.errors import BadData, FreeholdError, NotFound, UsageError
from freehold.data.readers import read_tables
from freehold.hub.commits import Change, File, git_oid
from freehold.hub.repositories import Repositories
from freehold.models.store import Store
from freehold.sources.datasets import local_source
from tests.hub.serving import hub_at

FILES = {
    "data/train.jsonl": b'{"text": "a", "label": "x"}\n',
    "data/test.csv": b"text,label\nb,y\n",
    "README.md": b"# Tickets\n",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "home")
    commit(store, "office/tickets", FILES)
    commit(
        store, "office/two", {"main/train.csv": b"text,label\nm,x\n", "other/train.csv": b"text,label\no,x\n"}
    )
    return store


def commit(store: Store, name: str, files: dict[str, bytes]) -> str:
    repositories = Repositories(store)
    names = {
        path: File(repositories.contents.put(data), len(data), False, git_oid("blob", data))
        for path, data in files.items()
    }
    try:
        repository = repositories.find("dataset", name)
    except NotFound:
        repository = repositories.create("dataset", name)
    return repositories.apply(repository, "main", Change("add rows", put=names), "office").id


def texts(source: str) -> dict[str, list[str]]:
    return {split: [row.fields["text"] for row in table.rows] for split, table in read_tables(source).items()}


def test_a_source_on_this_machine_stays_what_it_is(store: Store) -> None:
    assert local_source("rows.csv", store) == "rows.csv"
    assert local_source("sqlite:a.db?SELECT 1", store) == "sqlite:a.db?SELECT 1"


def test_a_dataset_of_this_homes_hub_is_read_as_a_folder(store: Store) -> None:
    assert texts(local_source("hub:office/tickets", store)) == {"train": ["a"], "test": ["b"]}


def test_a_revision_is_what_it_was(store: Store) -> None:
    first = Repositories(store).commit(Repositories(store).find("dataset", "office/tickets"), "main").id
    commit(store, "office/tickets", {"data/train.jsonl": b'{"text": "new", "label": "x"}\n'})
    assert texts(local_source("hub:office/tickets", store))["train"] == ["new"]
    assert texts(local_source(f"hub:office/tickets@{first}", store))["train"] == ["a"]


def test_a_folder_or_a_file_of_it_can_be_named(store: Store) -> None:
    with pytest.raises(
        BadData, match=r'hub:office/two has several files .*"main/train\.csv", "other/train\.csv"'
    ):
        local_source("hub:office/two", store)
    assert texts(local_source("hub:office/two:other", store)) == {"train": ["o"]}
    assert texts(local_source("hub:office/two:main/train.csv", store)) == {"train": ["m"]}


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("hub:office/none", NotFound, "no dataset is named office/none"),
        ("hub:office/tickets@none", NotFound, "has no revision 'none'"),
        ("hub:office/tickets:none", NotFound, "has no folder or file 'none'"),
        ("hub:", UsageError, "does not name a dataset"),
        ("hf:a/b/c", UsageError, "does not name a dataset"),
    ],
)
def test_what_is_not_there_is_named(store: Store, source: str, error: type[FreeholdError], says: str) -> None:
    with pytest.raises(error) as caught:
        local_source(source, store)
    assert says in str(caught.value)


def brought(home: Path, source: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own, since the client reads its settings once."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    environment |= {"FREEHOLD_HOME": str(home), "HF_HOME": str(home / "client"), "HF_ENDPOINT": endpoint}
    program = (
        "import sys; from freehold.sources.datasets import local_source; print(local_source(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, source]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_dataset_of_a_server_is_brought_once(store: Store, tmp_path: Path) -> None:
    with hub_at(store.folder) as address:
        folder = Path(brought(tmp_path / "elsewhere", "hf:office/tickets", address).stdout.strip())
        assert texts(str(folder)) == {"train": ["a"], "test": ["b"]}
        assert not list(folder.rglob("README.md"))
        (folder / "data" / "test.csv").write_text("text,label\nkept,y\n")
        again = brought(tmp_path / "elsewhere", "hf:datasets/office/tickets", address).stdout.strip()
        assert texts(again)["test"] == ["kept"]
        missing = brought(tmp_path / "elsewhere", "hf:office/none", address)
        assert "hf:office/none could not be fetched" in missing.stderr
