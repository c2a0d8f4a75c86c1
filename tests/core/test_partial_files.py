"""Files under way: removed when their writer ends, and by the next writer where it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from freehold.core import partial_files


def abandoned(target: Path, name: str = "abcdefgh", age_s: float = 120.0) -> Path:
    """A part file that nobody writes, as old as ``age_s`` says."""
    part = target.parent / f".{target.name}.{name}.part"
    part.write_bytes(b"half")
    _age(part, age_s)
    return part


def _age(path: Path, age_s: float) -> None:
    """Make the file look old: its time of change cannot be set, so the clock is what the tests move."""
    os.utime(path, (time.time() - age_s, time.time() - age_s))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes have gone by: no file of this test is young any more."""
    now = time.time
    monkeypatch.setattr(partial_files.time, "time", lambda: now() + 120)


def test_a_part_lies_beside_its_target_and_is_gone_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "weights.gguf"
    with partial_files.new(target) as part:
        assert part.path.parent == tmp_path
        assert part.path.name.startswith(".weights.gguf.")
        assert part.path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_became_its_target_is_not_missed(tmp_path: Path) -> None:
    target = tmp_path / "weights.gguf"
    with partial_files.new(target) as part:
        part.path.write_bytes(b"whole")
        part.path.rename(target)
    assert target.read_bytes() == b"whole"


def test_a_part_is_removed_when_its_writer_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), partial_files.new(tmp_path / "a"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_the_disk_allows_can_be_under_way(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    with partial_files.new(target) as part:
        assert len(part.path.name) < 100


@pytest.mark.usefixtures("later")
def test_an_abandoned_part_is_removed_and_other_files_stay(tmp_path: Path) -> None:
    target = tmp_path / "weights.gguf"
    part = abandoned(target)
    others = [
        tmp_path / name
        for name in (
            "weights.gguf",
            ".weights.gguf.abcdefgh.part.txt",
            ".weights.gguf.ABCDEFGH.part",
            ".other.gguf.abcdefgh.part",
            "weights.gguf.abcdefgh.part",
        )
    ]
    for path in others:
        path.write_bytes(b"")
    partial_files.remove_abandoned(target)
    assert not part.exists()
    assert all(path.exists() for path in others)


def test_a_young_part_is_left_to_its_writer(tmp_path: Path) -> None:
    part = abandoned(tmp_path / "a", age_s=0.0)
    partial_files.remove_abandoned(tmp_path / "a")
    assert part.exists()


def test_a_part_that_was_moved_here_a_moment_ago_is_young(tmp_path: Path) -> None:
    part = abandoned(tmp_path / "a", age_s=3600.0)  # its time of change is now
    partial_files.remove_abandoned(tmp_path / "a")
    assert part.exists()


@pytest.mark.usefixtures("later")
def test_a_part_that_is_being_written_stays_and_goes_once_its_writer_is_killed(tmp_path: Path) -> None:
    target = tmp_path / "a"
    program = (
        "import sys; from pathlib import Path; from freehold.core import partial_files\n"
        f"with partial_files.new(Path({str(target)!r})) as part: print(part.path, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        part = Path(writer.stdout.readline().strip())
        partial_files.remove_abandoned(target)
        assert part.exists()
        writer.kill()
    partial_files.remove_abandoned(target)
    assert not part.exists()


@pytest.mark.usefixtures("later")
def test_a_link_under_a_parts_name_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"here")
    (tmp_path / ".a.abcdefgh.part").symlink_to(precious)
    partial_files.remove_abandoned(tmp_path / "a")
    assert precious.read_bytes() == b"here"
