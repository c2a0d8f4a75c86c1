"""A node keeps a job's files by digest: what arrives is checked, what a step leaves is found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from freehold.core.errors import BadData
from freehold.runtime import cluster_node as node
from freehold.runtime.cluster_node import SentFile


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's own home."""
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sent(content: bytes) -> SentFile:
    """The file with this content."""
    return SentFile(hashlib.sha256(content).hexdigest(), len(content))


def arrive(content: bytes) -> SentFile:
    """A file that has arrived whole."""
    file = sent(content)
    node.receive("job", file.sha256, 0, content)
    node.accept("job", file)
    return file


def test_a_file_arrives_in_pieces_in_any_order_and_twice() -> None:
    file = sent(b"weights")
    assert node.missing("job", [file]) == [file.sha256]
    for offset, piece in ((3, b"ghts"), (0, b"wei"), (3, b"ghts")):
        node.receive("job", file.sha256, offset, piece)
    node.accept("job", file)
    assert node.missing("job", [file]) == []
    assert node.send("job", file.sha256, 3) == b"ghts"


def test_a_damaged_file_is_refused_and_is_still_missing() -> None:
    file = sent(b"weights")
    node.receive("job", file.sha256, 0, b"wrights")
    with pytest.raises(BadData, match="arrived damaged"):
        node.accept("job", file)
    assert node.missing("job", [file]) == [file.sha256]


def test_an_unfinished_longer_piece_of_an_earlier_try_does_no_harm() -> None:
    file = sent(b"rows")
    node.receive("job", file.sha256, 0, b"rows and more")
    node.accept("job", file)
    assert node.missing("job", [file]) == []


def test_a_whole_blob_of_the_nodes_own_store_is_not_asked_for_and_a_damaged_one_is(home: Path) -> None:
    whole, damaged = sent(b"whole"), sent(b"damaged")
    for file, content in ((whole, b"whole"), (damaged, b"changed")):
        blob = home / "blobs" / file.sha256[:2] / file.sha256
        blob.parent.mkdir(parents=True)
        blob.write_bytes(content)
    assert node.missing("job", [whole, damaged]) == [damaged.sha256]
    assert node.send("job", whole.sha256, 0) == b"whole"


def test_what_is_laid_out_as_a_copy_can_be_written_to() -> None:
    file = arrive(b"answers")
    folder = node.lay_out("job", "measure-1", {"deep/answers.jsonl": file}, copied=True)
    with (folder / "deep" / "answers.jsonl").open("ab") as answers:
        answers.write(b" more")
    assert node.send("job", file.sha256, 0) == b"answers"


def test_what_a_step_leaves_is_a_blob_for_the_next_step() -> None:
    folder = node.lay_out("job", "tune-1", {"checkpoint": arrive(b"old")}, copied=True)
    (folder / "merged.gguf").write_bytes(b"merged")
    files = node.collect("job", folder)
    assert files == {"checkpoint": sent(b"old"), "merged.gguf": sent(b"merged")}
    assert not folder.exists()
    assert node.missing("job", list(files.values())) == []


def test_a_job_is_forgotten_and_another_stays(home: Path) -> None:
    file = arrive(b"rows")
    node.receive("other", file.sha256, 0, b"rows")
    node.forget("job")
    assert [path.name for path in (home / "cluster").iterdir()] == ["other"]


def test_a_jobs_files_are_their_owners_alone() -> None:
    file = arrive(b"rows")
    assert (node.job_folder("job") / "blobs" / file.sha256).stat().st_mode & 0o077 == 0
