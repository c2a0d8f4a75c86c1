"""Blobs whose bytes changed on the disk: refused before they are used, moved aside, and replaced by the remedy that is named."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.errors import BadModel
from freehold.hub.archive import archive
from freehold.hub.store import Model, Store
from tests.entry import pull, restore
from tests.hub.models import gguf
from tests.hub.serving import freehold


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def model(store: Store, tmp_path: Path) -> Model:
    return pull(store, f"file:{gguf(tmp_path / 'tiny.gguf')}", "tiny")


def zeroed(path: Path) -> None:
    """The second half as zeros, the size as before, and the times as if nobody had written."""
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        file.write(bytes(status.st_size - status.st_size // 2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def shortened(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


DAMAGES = pytest.mark.parametrize("damage", [zeroed, shortened])


@DAMAGES
def test_a_damaged_blob_is_refused_when_it_is_opened_and_kept_aside(
    store: Store, model: Model, damage: Callable[[Path], None]
) -> None:
    damage(store.weights(model))
    with pytest.raises(BadModel, match=r"tiny: tiny\.gguf is damaged.*was moved to") as caught:
        Store(store.folder).weights(model)
    assert "freehold pull file:" in caught.value.remedy
    assert not store.blob(model.digest).exists()
    assert [path.name[:64] for path in (store.folder / "damaged").iterdir()] == [model.digest]
    with pytest.raises(BadModel, match=r"tiny: tiny\.gguf is missing"):
        Store(store.folder).weights(model)


@DAMAGES
@pytest.mark.parametrize(
    "verb",
    [
        ("run", "tiny", "a"),
        ("chat", "tiny"),
        ("export", "tiny", "--to", "gguf", "--out", "out"),
        ("serve", "tiny", "--port", "0"),
    ],
)
def test_every_verb_that_reads_a_model_says_so(
    store: Store, model: Model, tmp_path: Path, damage: Callable[[Path], None], verb: tuple[str, ...]
) -> None:
    damage(store.weights(model))
    words = [str(tmp_path / word) if word == "out" else word for word in verb]
    done = freehold(store.folder, *words)
    assert done.returncode == 6, done.stderr
    assert "tiny.gguf is damaged" in done.stderr
    assert "what to do: pull it again: freehold pull file:" in done.stderr


@DAMAGES
def test_the_remedy_that_is_named_brings_the_model_back(
    store: Store, model: Model, damage: Callable[[Path], None]
) -> None:
    damage(store.weights(model))
    said = freehold(store.folder, "run", "tiny", "a").stderr
    command = re.search(r"pull it again: freehold (.*)", said)
    assert command is not None, said
    pull(store, shlex.split(command[1])[1], "tiny")
    assert store.verify([model]) == []
    assert Store(store.folder).weights(model).exists()


@DAMAGES
@pytest.mark.parametrize("way", ["pull", "restore", "rm, gc, pull"])
def test_every_way_in_replaces_the_bad_bytes(
    store: Store, model: Model, tmp_path: Path, damage: Callable[[Path], None], way: str
) -> None:
    kept = archive(store, model, tmp_path / "tiny.tar")
    damage(store.weights(model))
    if way == "restore":
        restore(store, kept)
    else:
        if way != "pull":
            store.remove("tiny")
            store.collect(grace_s=0)
        pull(store, f"file:{tmp_path / 'tiny.gguf'}", "tiny")
    assert store.verify(store.models()) == []


def test_bytes_that_did_not_change_are_not_read_again(store: Store, model: Model) -> None:
    path = store.weights(model)
    seen: list[int] = []
    assert store.checked.is_whole(model.digest, on_bytes=seen.append)
    assert seen == []
    os.utime(path)
    assert Store(store.folder).checked.is_whole(model.digest, on_bytes=seen.append)
    assert sum(seen) == path.stat().st_size


def test_a_view_that_leads_elsewhere_is_put_right(store: Store, model: Model, tmp_path: Path) -> None:
    view = store.folder_of(model) / "tiny.gguf"
    view.unlink()
    view.write_bytes(b"something else")
    assert store.folder_of(model).joinpath("tiny.gguf").resolve() == store.blob(model.digest)


@pytest.mark.slow
def test_the_store_is_checked_and_repaired_from_the_command_line(store: Store, model: Model) -> None:
    assert freehold(store.folder, "store", "check").returncode == 0
    zeroed(store.weights(model))
    checked = freehold(store.folder, "store", "check", "--json")
    assert checked.returncode == 15
    assert "tiny: tiny.gguf is damaged" in checked.stdout
    repaired = freehold(store.folder, "store", "repair")
    assert repaired.returncode == 15
    assert "tiny: tiny.gguf was damaged and is moved to" in repaired.stderr
    assert "freehold pull file:" in repaired.stderr
