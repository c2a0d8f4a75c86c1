"""Files whole or absent, on a disk that is really full."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from freehold.core import atomic_files
from freehold.core.errors import DoesNotFit
from tests.conftest import FREEHOLD


def on_small_disk(folder: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with ``folder`` on a file system of 8 MB, in a mount namespace of its own."""
    wrapper = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    script = f'mount -t tmpfs -o size=8m none "{folder}" && exec "$@"'
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*wrapper, "sh", "-c", script, "sh", "true"], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("this system allows no mount namespace")
    return subprocess.run(
        [*wrapper, "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from freehold.core import atomic_files
from freehold.core.errors import DoesNotFit
target = Path({str(tmp_path)!r}) / "file"
atomic_files.write_atomically(target, "old")
for attempt in (
    lambda: atomic_files.write_atomically(target, b"x" * 20_000_000),
    lambda: atomic_files.append_line(target.with_name("log"), "y" * 20_000_000),
):
    try:
        attempt()
    except DoesNotFit as error:
        print(error.message)
print(target.read_text(), sorted(path.name for path in target.parent.glob("*")))
"""
    done = on_small_disk(tmp_path, [sys.executable, "-c", script])
    assert done.stdout.splitlines()[:2] == [f"the disk that holds {tmp_path} is full"] * 2, done.stderr
    assert done.stdout.splitlines()[2] == "old ['file', 'log']"


def test_a_pull_onto_a_small_disk_says_what_it_needs(smollm2: Path, tmp_path: Path) -> None:
    done = on_small_disk(
        tmp_path, [*FREEHOLD, "pull", f"file:{smollm2}", "--as", "one"], FREEHOLD_HOME=str(tmp_path)
    )
    assert done.returncode == DoesNotFit.exit_code
    assert "needs 98 MB" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    atomic_files.append_line(file, "whole \u2028 line")
    with file.open("ab") as opened:
        opened.write(b'{"torn')
    assert atomic_files.read_lines(file) == ["whole \u2028 line"]
    atomic_files.append_line(file, "next")
    assert atomic_files.read_lines(file) == ["whole \u2028 line", "next"]


WRITES = """
import os, sys
from pathlib import Path
from freehold.core import atomic_files
with atomic_files.replacing(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    print(part.name, flush=True)
    sys.stdin.read()
    os._exit(9)
"""


def under_way(target: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process in the middle of writing ``target``, and its part file, made to look old."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, target.with_name(process.stdout.readline().strip())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is two minutes later than what the disk says of new files."""
    monkeypatch.setattr("freehold.core.partial_files.time.time", lambda: time.time_ns() / 1e9 + 120)


@pytest.mark.usefixtures("later")
def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    target = tmp_path / "big [1].tar"
    process, part = under_way(target)
    process.kill()
    process.communicate()
    other = tmp_path / ".other.tar.abcdefgh.part"
    mine = tmp_path / ".big [1].tar.my notes.part"
    for path in (other, mine):
        path.write_text("not ours")
    assert part.exists()
    atomic_files.write_atomically(target, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([target, other, mine])


@pytest.mark.usefixtures("later")
def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "big.tar"
    process, part = under_way(target)
    atomic_files.write_atomically(target, "whole")
    assert part.read_bytes() == b"half"
    process.communicate()


@pytest.mark.usefixtures("later")
def test_a_file_that_was_put_in_place_of_the_part_is_locked_too(tmp_path: Path) -> None:
    target = tmp_path / "blob"
    with atomic_files.replacing(target) as part:
        (tmp_path / "download").write_text("moved")
        os.replace(tmp_path / "download", part)
        part_of_other = part
    assert target.read_text() == "moved"
    assert not part_of_other.exists()


def test_a_new_part_is_left_alone_and_a_link_is_not_followed(tmp_path: Path) -> None:
    target, outside = tmp_path / "file", tmp_path / "outside"
    outside.write_text("somebody's")
    (tmp_path / ".file.abcdefgh.part").write_text("not locked yet")
    (tmp_path / ".file.bbcdefgh.part").symlink_to(outside)
    os.mkfifo(tmp_path / ".file.cbcdefgh.part")
    atomic_files.write_atomically(target, "whole")
    assert outside.read_text() == "somebody's"
    assert (tmp_path / ".file.abcdefgh.part").exists()
