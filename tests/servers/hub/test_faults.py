"""A full disk, and a clock that goes backwards: a clear answer, and a catalogue and contents that agree
afterwards."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.hub import repository_checks
from freehold.hub.repositories import Repositories
from freehold.hub.users import Users
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from tests import disks
from tests.hub.client import Client
from tests.hub.people import Person, commit_body, small_line
from tests.servers.hub.test_pages import push


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB."""
    with disks.small_disk(tmp_path / "disk", megabytes=12) as folder:
        yield folder


def commit(client: Client, name: str, data: bytes) -> int:
    done = client.post("/api/models/ada/one/commit/main", content=commit_body(small_line(name, data)))
    if done.status_code != 200:
        assert "full" in done.json()["error"] or "MB free" in done.json()["error"]
    return done.status_code


def test_a_full_disk_loses_nothing_and_says_so(small_disk: Path) -> None:
    store = Store(small_disk / "home")
    client = Client(make_app(store))
    push(client, "ada/one", {"README.md": b"# One"})
    # too much for the disk, whole and as an upload of its own
    assert commit(client, "big.txt", os.urandom(9_000_000)) in (200, 507)
    assert commit(client, "bigger.txt", os.urandom(14_000_000)) == 507

    def offered(data: bytes) -> dict[str, Any]:
        return Person(client, {}).batch("ada/one", "upload", data)

    assert offered(os.urandom(14_000_000))["error"]["code"] == 507
    data = os.urandom(100_000)
    address = offered(data)["actions"]["upload"]["href"]
    # and not a byte left for the catalogue either
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={small_disk / 'filler'}", "bs=4096"], capture_output=True, check=False
    )
    assert client.put(address, content=data).status_code == 507
    for number in range(40):  # until its log cannot grow
        status = commit(client, f"{number}.txt", b"x" * 5000)
        if status == 507:
            break
    assert status == 507
    (small_disk / "filler").unlink()
    assert commit(client, "after.txt", b"room again") == 200
    repositories = Repositories(store)
    assert repository_checks.check(repositories) == []
    assert Users(store).audit_faults() == []
    assert not list((store.incoming / "hub").glob("*.part"))
    files = repositories.commit(repositories.find("model", "ada/one"), "main").files
    assert {"README.md", "after.txt"} <= files.keys()


def test_a_clock_that_goes_backwards_changes_no_order_and_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    client = Client(make_app(store))
    now = time.time()
    for number, at in enumerate((now, now - 86_400, now - 40 * 86_400, now - 40 * 86_400)):
        monkeypatch.setattr(time, "time", lambda at=at: at)
        push(client, "ada/one", {"a.txt": f"{number}".encode()}, summary=f"number {number}")
    repositories = Repositories(store)
    found = repositories.find("model", "ada/one")
    assert [one.title for one in repositories.history(found, "main")] == [
        "number 3",
        "number 2",
        "number 1",
        "number 0",
        "initial commit",
    ]
    line = client.get("/api/models/ada/one/commits/main").json()
    assert [one["title"] for one in line][:2] == ["number 3", "number 2"]
    stray = repositories.contents.put(b"on its way into a commit")
    assert repositories.collect()[0] == 0
    monkeypatch.undo()
    assert repositories.collect()[0] == 0  # it came a moment ago, by the disk's clock
    assert repositories.contents.find(stray) is not None
    assert repository_checks.check(repositories) == []
    assert Users(store).audit_faults() == []
