"""Files whole or absent, on a disk that is really full."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freehold import durable
from freehold.errors import DoesNotFit
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
from freehold import durable
from freehold.errors import DoesNotFit
target = Path({str(tmp_path)!r}) / "file"
durable.write_atomically(target, "old")
for attempt in (lambda: durable.write_atomically(target, b"x" * 20_000_000), lambda: durable.append_line(target.with_name("log"), "y" * 20_000_000)):
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
    durable.append_line(file, "whole \u2028 line")
    with file.open("ab") as opened:
        opened.write(b'{"torn')
    assert durable.read_lines(file) == ["whole \u2028 line"]
    durable.append_line(file, "next")
    assert durable.read_lines(file) == ["whole \u2028 line", "next"]
