"""Keys and tokens that are shown once: where nobody can have seen one, there is none, and its name is
free.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import freehold
from tests.conftest import FREEHOLD

CREATE = {
    "key": ("key", "create", "reception"),
    "token": ("hub", "token", "create", "ada"),
}


def listed(home: Path, what: str) -> list[dict[str, object]]:
    words = ("key", "list") if what == "key" else ("hub", "token", "list")
    return json.loads(freehold(home, *words, "--json").out)


def ready(home: Path) -> None:
    """A home whose catalogue is made, so that what follows writes one row."""
    assert freehold(home, "key", "list").code == 0


@pytest.mark.parametrize("what", CREATE)
@pytest.mark.parametrize("output", [">&-", ">/dev/full"])
def test_output_that_takes_nothing_leaves_no_record(tmp_path: Path, what: str, output: str) -> None:
    ready(tmp_path / "home")
    words = " ".join([sys.executable, "-m", "freehold.cli.main", *CREATE[what]])
    done = subprocess.run(
        ["bash", "-c", f"{words} {output}"],
        env={**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "be shown" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert listed(tmp_path / "home", what) == []
    assert freehold(tmp_path / "home", *CREATE[what]).code == 0


def full_pipe() -> tuple[int, int]:
    """A pipe that takes no byte more."""
    end, start = os.pipe()
    flags = fcntl.fcntl(start, fcntl.F_GETFL)
    fcntl.fcntl(start, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while True:
            os.write(start, b"x" * 65536)
    except BlockingIOError:
        pass
    fcntl.fcntl(start, fcntl.F_SETFL, flags)
    return end, start


def waits_until_it_shows(process: subprocess.Popen[bytes]) -> None:
    """Until the process writes into its output, which takes nothing."""
    deadline, asleep = time.monotonic() + 60, 0
    while time.monotonic() < deadline:
        if Path(f"/proc/{process.pid}/wchan").read_text() in ("pipe_write", "anon_pipe_write"):
            return
        assert process.poll() is None
        # some systems do not tell what a process waits for: one that sleeps for three seconds waits for its
        # output
        asleep = (
            asleep + 1
            if Path(f"/proc/{process.pid}/stat").read_text().split(")")[-1].split()[0] == "S"
            else 0
        )
        if asleep > 60:
            return
        time.sleep(0.05)
    raise AssertionError("it never wrote into its output")


@pytest.mark.parametrize("what", CREATE)
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_stopped_while_it_shows(tmp_path: Path, what: str, sent: signal.Signals) -> None:
    ready(tmp_path / "home")
    end, start = full_pipe()
    process = subprocess.Popen(
        [*FREEHOLD, *CREATE[what]],
        stdout=start,
        stderr=subprocess.PIPE,
        env={**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")},
    )
    try:
        waits_until_it_shows(process)
        process.send_signal(sent)
        process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(start)
        os.close(end)
    assert process.returncode in (-9, 130)
    assert listed(tmp_path / "home", what) == []
    assert freehold(tmp_path / "home", *CREATE[what]).code == 0


def test_a_token_nobody_saw_does_not_close_the_hub(tmp_path: Path) -> None:
    ready(tmp_path / "home")
    words = " ".join([*FREEHOLD, *CREATE["token"]])
    subprocess.run(
        ["bash", "-c", f"{words} >/dev/full"],
        env={**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")},
        capture_output=True,
        check=False,
    )
    with sqlite3.connect(tmp_path / "home" / "freehold.db") as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (0,)


def test_a_key_that_could_not_be_shown_leaves_the_old_one_in_place(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = freehold(home, *CREATE["key"]).out.strip()
    words = " ".join([*FREEHOLD, "key", "rotate", "reception"])
    done = subprocess.run(
        ["bash", "-c", f"{words} >/dev/full"],
        env={**os.environ, "FREEHOLD_HOME": str(home)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    from freehold.models.store import Store
    from freehold.servers.inference.api_keys import Keys

    assert Keys(Store(home)).find(old) is not None


@pytest.mark.parametrize("days", ["inf", "1e300"])
def test_days_that_are_no_time_span(tmp_path: Path, days: str) -> None:
    done = freehold(tmp_path / "home", *CREATE["key"], "--days", days)
    assert (done.code, "cannot be valid for" in done.err) == (2, True)
