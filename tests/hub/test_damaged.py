"""Blobs whose bytes changed on the disk: refused before they are used, moved aside, and replaced by the
remedy that is named."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core.errors import BadModel
from freehold.hub import repository_checks, xet
from freehold.hub.blob_store import BlobStore, Content
from freehold.hub.client import read_address
from freehold.hub.damage import whole_file
from freehold.hub.mirror import mirror
from freehold.hub.repositories import Repositories
from freehold.models.archive import archive
from freehold.models.store import Model, Store
from freehold.servers.hub.app import make_app
from tests.entry import pull, restore
from tests.hub.client import Client
from tests.hub.models import gguf
from tests.hub.people import Person, file_name, packed, sha256, xorb_name
from tests.hub.serving import freehold, hub_at
from tests.servers.hub.test_pages import push


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


# -- the hub ----------------------------------------------------------------------------------------


def upload(client: Client, data: bytes) -> bool:
    """Offer a content as LFS clients do and send it if it is asked for; whether it was."""
    return Person(client, {}).upload("ada/one", data)


@DAMAGES
@pytest.mark.parametrize("mended", ["by itself", "by hub check"])
def test_a_damaged_content_of_the_hub_is_not_served_and_an_upload_replaces_it(
    tmp_path: Path, damage: Callable[[Path], None], mended: str
) -> None:
    store, data = Store(tmp_path), bytes(range(256)) * 64
    client = Client(make_app(store))
    push(client, "ada/one", {"w.bin": data})
    address, digest = "/ada/one/resolve/main/w.bin", sha256(data)
    assert client.get(address).content == data
    damage(store.blob(digest))
    if mended == "by hub check":
        assert "w.bin was changed; its bytes no longer match" in " ".join(
            repository_checks.check(Repositories(store))
        )
        repository_checks.set_damaged_aside(Repositories(store))
    assert client.get(address).status_code >= 400
    assert [path.name[:64] for path in (tmp_path / "damaged").iterdir()] == [digest]
    assert upload(client, data)
    assert client.get(address).content == data
    assert repository_checks.check(Repositories(store)) == []


def test_a_damaged_chunk_is_found_set_aside_and_replaced_by_an_upload(tmp_path: Path) -> None:
    store = Store(tmp_path)
    client = Client(make_app(store))
    data = bytes(range(256)) * 64
    push(client, "ada/one", {"w.bin": data})
    digest = sha256(data)
    chunked_content(store, data)
    store.blob(digest).unlink()
    address = "/ada/one/resolve/main/w.bin"
    assert client.get(address).content == data
    (xorb,) = [path for path in (tmp_path / "xorbs").rglob("*") if len(path.name) == 64]
    damaged = bytearray(xorb.read_bytes())
    damaged[100] ^= 1
    xorb.chmod(0o644)
    xorb.write_bytes(damaged)
    repositories = Repositories(store)
    assert any("w.bin" in fault for fault in repository_checks.check(repositories))
    with pytest.raises(BadModel, match="hub is damaged"):
        whole_file(repositories.contents, digest, tmp_path / "out", "w.bin")
    (told,) = repository_checks.set_damaged_aside(repositories)
    assert "damaged chunks" in told
    assert upload(client, data)
    assert client.get(address).content == data
    assert repository_checks.check(repositories) == []


def test_a_damaged_list_of_chunks_is_written_again_from_the_chunks(tmp_path: Path) -> None:
    store = Store(tmp_path)
    client = Client(make_app(store))
    data = bytes(range(256)) * 64
    push(client, "ada/one", {"w.bin": data})
    chunked_content(store, data)
    store.blob(sha256(data)).unlink()
    (index,) = (tmp_path / "xorbs").rglob("*.index")
    index.chmod(0o644)
    index.write_bytes(bytes(index.stat().st_size))
    (told,) = repository_checks.set_damaged_aside(Repositories(store))
    assert "can be read again" in told
    assert repository_checks.check(Repositories(store)) == []


def chunked_content(store: Store, data: bytes) -> None:
    """Keep a content as two chunks, as Xet clients send them."""
    contents, half = BlobStore(store), len(data) // 2
    parts = [data[:half], data[half:]]
    temporary = store.incoming / "xorb"
    temporary.write_bytes(b"".join(map(packed, parts)))
    contents.put_xorb(xorb_name(parts), temporary)
    terms = (xet.Term(xorb_name(parts), 0, 2, len(data)),)
    contents._register(Content(sha256(data), len(data), file_name(parts), terms))


def test_a_pull_from_the_hub_does_not_take_damaged_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    client = Client(make_app(store))
    weights = gguf(tmp_path / "tiny.gguf").read_bytes()
    push(client, "ada/one", {"tiny.gguf": weights})
    zeroed(store.blob(sha256(weights)))
    with pytest.raises(BadModel, match=r"tiny\.gguf in ada/one"):
        pull(Store(tmp_path), "hub:ada/one", "one")
    assert Store(tmp_path).models() == []
    assert upload(client, weights)
    assert pull(Store(tmp_path), "hub:ada/one", "one").digest == sha256(weights)


def test_a_mirror_brings_damaged_contents_again(tmp_path: Path) -> None:
    other, store = Store(tmp_path / "other"), Store(tmp_path / "home")
    data = bytes(range(256)) * 64
    push(Client(make_app(other)), "ada/one", {"w.bin": data, "README.md": b"# One"})
    repositories = Repositories(store)
    with hub_at(tmp_path / "other") as address:
        mirror(repositories, read_address(f"{address}/ada/one"))
        for content in (data, b"# One"):
            zeroed(store.blob(sha256(content)))
        mirror(repositories, read_address(f"{address}/ada/one"))
    assert repository_checks.check(repositories) == []
