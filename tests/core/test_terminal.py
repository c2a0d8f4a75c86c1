"""What is printed: text from elsewhere cannot steer a terminal."""

import io
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from freehold.core import progress, terminal
from freehold.models.intake import made_here
from freehold.models.lineage import Lineage
from freehold.models.store import Store
from tests.commands import freehold
from tests.conftest import FREEHOLD
from tests.hub.models import gguf

#: Clears the screen, sets the title, reverses the line, is one character of C1, and a half of a character.
HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\u202ec\x9b31m\udc80\rd"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one model whose statements are hostile."""
    store = Store(tmp_path / "home")
    said = HOSTILE.replace("\udc80", "")
    store.add(
        "tiny",
        made_here({"tiny.gguf": gguf(tmp_path / "tiny.gguf")}),
        {"source": f"file:{said}"},
        licence=said,
        licence_from=said,
        lineage=Lineage.read([{"step": "tune", "model": said, "how": said}]),
    )
    return tmp_path / "home"


@pytest.mark.parametrize(
    "words",
    [
        ["models"],
        ["models", "--json"],
        ["show", "tiny"],
        ["show", "tiny", "--json"],
        ["licence", "tiny"],
        ["show", HOSTILE],
        ["pull", f"file:{HOSTILE}"],
        ["pull", HOSTILE],
        ["trial", HOSTILE],
        ["restore", HOSTILE],
        ["verify", HOSTILE],
        ["scan", HOSTILE],
        ["find", HOSTILE],
        ["policy", "use", HOSTILE],
        ["report", HOSTILE],
    ],
    ids=lambda words: ascii(" ".join(words))[:30],
)
def test_no_verb_prints_what_steers_a_terminal(home: Path, words: list[str]) -> None:
    done = freehold(home, *words)
    assert not STEERS.search(done.out + done.err)
    assert "has a fault" not in done.err
    if "--json" in words:
        assert "\x1b[2J" in json.dumps(json.loads(done.out), ensure_ascii=False).encode().decode(
            "unicode_escape"
        )


def test_a_row_that_is_refused_is_quoted_safely(home: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    text = HOSTILE.replace("\udc80", "").replace("\r", "")
    rows.write_text("text,label\n" + f"{text},{text}\n" * 3 + "one,two,three\n", encoding="utf-8")
    done = freehold(home, "trial", rows)
    assert done.code
    assert not STEERS.search(done.out + done.err)


def test_progress_on_a_terminal_moves_the_cursor_only_for_itself() -> None:
    stream = io.StringIO()
    shown = terminal.Shown(stream)
    sink = progress.Terminal(shown)  # type: ignore[arg-type]
    sink(progress.Event(HOSTILE, 1, 2, HOSTILE, 1.0, f"one\n{HOSTILE}", True))
    assert stream.getvalue().startswith("\r\x1b[K")
    assert not STEERS.search(stream.getvalue().removeprefix("\r\x1b[K"))
    assert stream.getvalue().count("\n") == 1


def test_text_that_people_write_is_shown_as_it_is() -> None:
    text = "Zürich\t日本語 👩‍👩‍👧 שלום\u200f\nnext"
    assert terminal.shown(text) == text
    assert terminal.shown("one\r\ntwo") == "one\ntwo"


def test_a_real_terminal_gets_colours_of_ours_alone(home: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "FREEHOLD_HOME": str(home), "TERM": "xterm"}
    subprocess.run(
        [*FREEHOLD, "show", "n\x1b[2Jo"], stdout=follower, stderr=follower, env=environment, check=False
    )
    os.close(follower)
    said = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert said.startswith("\x1b[31merror:\x1b[0m ")
    assert "\x1b[2J" not in said


def test_a_path_that_is_no_text_is_no_fault(home: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\x1b[2J.gguf"
    done = subprocess.run(
        [*FREEHOLD, "scan", path],
        env={**os.environ, "FREEHOLD_HOME": str(home)},
        capture_output=True,
        check=False,
    )
    assert done.returncode
    assert b"has a fault" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
