"""``freehold mirror`` between two hubs, each with a store of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.core.errors import UsageError
from freehold.hub import repository_checks
from freehold.hub.client import read_address
from freehold.hub.commits import Change, File, git_oid, lfs_file
from freehold.hub.repositories import Repositories
from freehold.hub.users import Users
from freehold.models.store import Store
from tests.conftest import FREEHOLD
from tests.hub.serving import freehold, hub_at

pytestmark = pytest.mark.slow

CARD = b"---\nlicense: mit\n---\n# Intents\n"


def push(repositories: Repositories, name: str, files: dict[str, bytes], kind: str = "model") -> None:
    try:
        found = repositories.find(kind, name)
    except Exception:
        found = repositories.create(kind, name)
    put = {}
    for path, data in files.items():
        digest = repositories.contents.put(data)
        put[path] = (
            lfs_file(digest, len(data))
            if path.endswith(".safetensors")
            else File(digest, len(data), False, git_oid("blob", data))
        )
    repositories.apply(found, "main", Change("more", put=put), "ada")


@pytest.fixture
def there(tmp_path: Path) -> Repositories:
    made = Repositories(Store(tmp_path / "there"))
    push(
        made,
        "ada/intents",
        {"README.md": CARD, "deep/notes.txt": b"one\n", "model.safetensors": b"\1" * 5_000_000},
    )
    return made


@pytest.fixture
def address(there: Repositories) -> Iterator[str]:
    with hub_at(there.store.folder) as running:
        yield running


def files_at(repositories: Repositories, name: str, revision: str = "main") -> dict[str, File]:
    return repositories.commit(repositories.find("model", name), revision).files


def test_a_copy_is_the_same_bit_by_bit_and_follows(there: Repositories, address: str, tmp_path: Path) -> None:
    home = tmp_path / "here"
    done = freehold(home, "mirror", f"{address}/ada/intents", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["changed"], said["files_fetched"]) == (True, 3)
    here = Repositories(Store(home))
    first = there.resolve(there.find("model", "ada/intents"), "main")
    assert files_at(here, "ada/intents") == files_at(there, "ada/intents")
    assert files_at(here, "ada/intents", first) == files_at(
        here, "ada/intents"
    )  # the other hub's commit is a revision here
    assert repository_checks.check(here) == []
    again = json.loads(freehold(home, "mirror", f"{address}/ada/intents", "--json").stdout)
    assert (again["changed"], again["bytes_fetched"]) == (False, 0)

    push(there, "ada/intents", {"deep/notes.txt": b"two\n"})
    third = json.loads(freehold(home, "mirror", f"{address}/ada/intents", "--json").stdout)
    assert (third["changed"], third["files_fetched"], third["bytes_fetched"]) == (True, 1, 4)
    assert files_at(here, "ada/intents") == files_at(there, "ada/intents")
    assert files_at(here, "ada/intents", first)["deep/notes.txt"].size == 4
    listed = json.loads(freehold(home, "mirror", "--json").stdout)
    assert [(one["name"], one["source"]) for one in listed] == [
        ("models/ada/intents", f"{address}/ada/intents")
    ]
    assert Users(here.store).audit_faults() == []


def test_what_is_here_under_another_name_is_not_fetched(
    there: Repositories, address: str, tmp_path: Path
) -> None:
    home = tmp_path / "here"
    push(Repositories(Store(home)), "bob/other", {"same.safetensors": b"\1" * 5_000_000})
    said = json.loads(
        freehold(home, "mirror", f"{address}/ada/intents", "--as", "copies/intents", "--json").stdout
    )
    assert said["name"] == "copies/intents"
    assert said["bytes_fetched"] < 1000


@pytest.mark.parametrize("closed", [{"private": True}, {"gated": "manual"}], ids=["private", "gated"])
def test_what_is_closed_here_does_not_become_open_by_a_copy(
    there: Repositories, address: str, tmp_path: Path, closed: dict[str, Any]
) -> None:
    """Another hub may name any digest: the bytes must come from there."""
    home = tmp_path / "here"
    here = Repositories(Store(home))
    push(here, "bob/other", {"same.safetensors": b"\1" * 5_000_000})
    here.settings(here.find("model", "bob/other"), **closed)
    said = json.loads(freehold(home, "mirror", f"{address}/ada/intents", "--json").stdout)
    assert said["bytes_fetched"] > 5_000_000


def test_a_repository_that_is_no_copy_is_not_overwritten(
    there: Repositories, address: str, tmp_path: Path
) -> None:
    home = tmp_path / "here"
    push(Repositories(Store(home)), "ada/intents", {"mine.txt": b"mine\n"})
    done = freehold(home, "mirror", f"{address}/ada/intents")
    assert done.returncode == 16
    assert "is a repository of its own here" in done.stderr
    assert "mine.txt" in files_at(Repositories(Store(home)), "ada/intents")


def test_bytes_that_are_not_what_the_hub_said_are_refused(
    there: Repositories, address: str, tmp_path: Path
) -> None:
    big = files_at(there, "ada/intents")["model.safetensors"]
    there.store.blob(big.sha256).write_bytes(b"\2" * big.size)
    done = freehold(tmp_path / "here", "mirror", f"{address}/ada/intents", HF_HUB_DISABLE_XET="1")
    assert done.returncode in (5, 7), done.stderr
    assert "Traceback" not in done.stderr
    here = Repositories(Store(tmp_path / "here"))
    assert list(files_at(here, "ada/intents")) == [".gitattributes"]
    assert repository_checks.check(here) == []


def test_a_hub_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    done = freehold(tmp_path, "mirror", "http://127.0.0.1:9/ada/intents")
    assert done.returncode == 7
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


def test_following_fetches_what_changes_until_ctrl_c(
    there: Repositories, address: str, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    environment |= {"FREEHOLD_HOME": str(tmp_path / "here"), "HF_HOME": str(tmp_path / "client")}
    running = subprocess.Popen(
        [*FREEHOLD, "mirror", f"{address}/ada/intents", "--follow", "--every", "1"],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert running.stdout is not None
    assert "3 files fetched" in running.stdout.readline()
    push(there, "ada/intents", {"deep/notes.txt": b"three\n"})
    assert "1 file fetched" in running.stdout.readline()
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 130
    assert files_at(Repositories(Store(tmp_path / "here")), "ada/intents") == files_at(there, "ada/intents")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf:org/name", ("", "model", "org/name", "")),
        ("hf:datasets/org/name@v1", ("", "dataset", "org/name", "v1")),
        ("hf:gpt2", ("", "model", "gpt2", "")),
        ("http://hub:8600/org/name/", ("http://hub:8600", "model", "org/name", "")),
        ("https://hub/models/org/name@abc", ("https://hub", "model", "org/name", "abc")),
    ],
)
def test_addresses(text: str, parts: tuple[str, str, str, str]) -> None:
    found = read_address(text)
    assert (found.endpoint, found.kind, found.name, found.revision) == parts


@pytest.mark.parametrize(
    "text", ["", "org/name", "ftp://hub/org/name", "hf:", "hf:a/b/c", "http://hub:8600/"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        read_address(text)
