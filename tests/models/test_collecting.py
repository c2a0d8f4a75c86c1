"""A collection beside work under way: what is about to be named stays."""

import os
import threading
from pathlib import Path

import pytest

from freehold.core import progress
from freehold.hub.blob_store import BlobStore
from freehold.models.intake import made_here
from freehold.models.store import Store
from tests.hub.models import gguf


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def two_files(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    (folder / "notes.txt").write_text("beside the weights")
    return {"a-notes.txt": folder / "notes.txt", "model.gguf": gguf(folder / "model.gguf")}


class CollectsOnce:
    """A sink that starts a collection as soon as the first file was taken, and gives it a second."""

    def __init__(self, store: Store, first_bytes: int):
        self.store, self.first_bytes = store, first_bytes
        self.thread = threading.Thread(target=store.collect)

    def __call__(self, event: progress.Event) -> None:
        if event.done > self.first_bytes and self.thread.ident is None:
            self.thread.start()
            self.thread.join(timeout=1)


@pytest.mark.parametrize("move", [False, True])
def test_a_blob_that_is_about_to_be_named_is_not_collected(store: Store, tmp_path: Path, move: bool) -> None:
    files = two_files(tmp_path / "first")
    before = store.add("before", made_here(files), {})
    store.remove("before")  # its blobs are there, old, and named by nothing
    for digest, _ in before.manifest.values():
        os.utime(store.blob(digest), (0, 0))
    sink = CollectsOnce(Store(store.folder), files["a-notes.txt"].stat().st_size)
    model = store.add("after", made_here(files), {}, move=move, sink=sink)
    sink.thread.join()
    assert store.verify([model]) == []


def test_a_file_that_came_an_hour_ago_is_not_collected_before_it_is_named(
    store: Store, tmp_path: Path
) -> None:
    files = two_files(tmp_path / "first")
    for path in files.values():
        os.utime(path, (0, 0))
    sink = CollectsOnce(Store(store.folder), files["a-notes.txt"].stat().st_size)
    model = store.add("long", made_here(files), {}, move=True, sink=sink)
    sink.thread.join()
    assert store.verify([model]) == []


def test_a_content_that_was_collected_a_moment_ago_is_written_again_and_not_made_empty(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = BlobStore(store)
    digest = contents.put(b"some bytes")
    found = contents.find(digest)
    store.blob(digest).unlink()
    monkeypatch.setattr(contents, "find", lambda _: found)  # asked before the collection
    assert contents.put(b"some bytes") == digest
    assert store.blob(digest).read_bytes() == b"some bytes"
