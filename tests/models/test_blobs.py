"""Whether blobs still are what their names say, without reading every byte before each use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from freehold.core import atomic_files
from freehold.models.blobs import Blobs
from freehold.models.store import Store


class Reading:
    """Counts how often bytes are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.times = 0
        read = atomic_files.sha256_file

        def counted(path: Path, on_bytes: object = None) -> str:
            self.times += 1
            return read(path, on_bytes)  # type: ignore[arg-type]

        monkeypatch.setattr(atomic_files, "sha256_file", counted)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return fresh(tmp_path)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    return Reading(monkeypatch)


def fresh(folder: Path) -> Blobs:
    """The same blobs as another process has them."""
    return Blobs(folder / "blobs", folder / "damaged", Store(folder).engine)


def put(blobs: Blobs, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    blobs.path(digest).parent.mkdir(parents=True, exist_ok=True)
    blobs.path(digest).write_bytes(data)
    return digest


def write_over(path: Path, data: bytes) -> None:
    """Other bytes of the same length with the same time of modification."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_whole_blob_is_read_once_by_all_processes(blobs: Blobs, reading: Reading, tmp_path: Path) -> None:
    digest = put(blobs, b"weights")
    assert blobs.is_whole(digest)
    assert blobs.is_whole(digest)
    assert fresh(tmp_path).is_whole(digest)
    assert reading.times == 1


def test_everything_is_read_again_where_that_is_asked(blobs: Blobs, reading: Reading) -> None:
    digest = put(blobs, b"weights")
    read: list[int] = []
    assert blobs.is_whole(digest)
    assert blobs.is_whole(digest, again=True, on_bytes=read.append)
    assert reading.times == 2
    assert sum(read) == 7


def test_a_blob_that_was_written_to_is_found_whatever_its_time_of_modification(blobs: Blobs) -> None:
    digest = put(blobs, b"weights")
    assert blobs.is_whole(digest)
    write_over(blobs.path(digest), b"WEIGHTS")
    assert not blobs.is_whole(digest)
    assert blobs.was_damaged(digest)
    write_over(blobs.path(digest), b"weights")
    assert blobs.is_whole(digest)


def test_a_blob_that_was_touched_is_read_and_stays_whole(blobs: Blobs, reading: Reading) -> None:
    digest = put(blobs, b"weights")
    assert blobs.is_whole(digest)
    os.utime(blobs.path(digest), (1, 1))
    assert not blobs.was_damaged(digest)
    assert not blobs.was_damaged(digest)
    assert reading.times == 2


def test_a_blob_that_was_never_read_is_not_called_damaged(blobs: Blobs, reading: Reading) -> None:
    digest = put(blobs, b"weights")
    blobs.path(digest).write_bytes(b"other")
    assert not blobs.was_damaged(digest)
    assert reading.times == 0


def test_bytes_that_were_just_written_need_not_be_read(
    blobs: Blobs, reading: Reading, tmp_path: Path
) -> None:
    digest, other = put(blobs, b"weights"), put(blobs, b"others")
    blobs.note(digest)
    blobs.note(other, keep=False)
    assert blobs.is_whole(digest)
    assert blobs.is_whole(other)
    assert fresh(tmp_path).is_whole(digest)
    assert reading.times == 0
    assert fresh(tmp_path).is_whole(other)
    assert reading.times == 1


def test_renewing_a_blob_does_not_have_it_read_again(blobs: Blobs, reading: Reading) -> None:
    digest = put(blobs, b"weights")
    assert blobs.is_whole(digest)
    blobs.renewed(digest, lambda: os.utime(blobs.path(digest)))
    assert not blobs.was_damaged(digest)
    assert reading.times == 1


def test_renewing_a_blob_that_was_written_to_hides_nothing(blobs: Blobs) -> None:
    digest = put(blobs, b"weights")
    assert blobs.is_whole(digest)
    write_over(blobs.path(digest), b"WEIGHTS")
    blobs.renewed(digest, lambda: os.utime(blobs.path(digest)))
    assert blobs.was_damaged(digest)


def test_a_damaged_blob_is_moved_aside_and_a_good_one_takes_its_place(blobs: Blobs) -> None:
    digest = put(blobs, b"weights")
    blobs.path(digest).write_bytes(b"WEIGHTS")
    aside = blobs.set_aside(digest)
    assert aside.read_bytes() == b"WEIGHTS"
    assert not blobs.path(digest).exists()
    put(blobs, b"weights")
    assert blobs.is_whole(digest)


def test_a_blob_that_is_not_there_is_an_error(blobs: Blobs) -> None:
    for asked in (blobs.is_whole, blobs.was_damaged):
        with pytest.raises(FileNotFoundError):
            asked("a" * 64)
