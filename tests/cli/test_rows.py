"""What verbs say about rows, and the question where a column is in doubt."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.conftest import FREEHOLD

LINE = "--columns text=text,label=category"


@pytest.fixture
def doubtful(tmp_path: Path) -> Path:
    """Rows with two columns that could each be the label."""
    lines = (
        json.dumps({"text": f"the text of row {n}", "category": "ab"[n % 2], "topic": "xyz"[n % 3]})
        for n in range(30)
    )
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    return path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "FREEHOLD_HOME": str(folder)}


def test_doubt_without_a_terminal_is_a_sentence(doubtful: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*FREEHOLD, "mask", str(doubtful)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment(tmp_path),
    )
    assert done.returncode == 5
    assert '"category" (for example' in done.stderr
    assert LINE in done.stderr
    assert "Traceback" not in done.stderr


def test_doubt_on_a_terminal_is_a_question(doubtful: Path, tmp_path: Path) -> None:
    person, program = pty.openpty()
    process = subprocess.Popen(
        [*FREEHOLD, "mask", str(doubtful)],
        stdin=program,
        stderr=program,
        stdout=subprocess.PIPE,
        env=environment(tmp_path),
    )
    os.close(program)
    os.write(person, b"7\n2\n")  # the first is none of the choices and is asked again
    assert process.stdout is not None
    assert "0 of 30 rows hold personal data" in process.stdout.read().decode()
    shown = os.read(person, 65536).decode()
    os.close(person)
    assert process.wait() == 0
    assert "which column is the label?" in shown
    assert "2  \"topic\" (for example 'x', 'y', 'z')" in shown
    assert "columns text=text, label=topic" in shown


def test_what_was_read_and_left_out_is_said(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"the text of row {n}", "label": "ab"[n % 2]}) for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, json.dumps({"text": "x", "label": None})]))
    done = subprocess.run(
        [*FREEHOLD, "mask", str(tmp_path / "rows.jsonl")],
        capture_output=True,
        text=True,
        check=True,
        env=environment(tmp_path),
    )
    assert (
        "30 rows of rows.jsonl; columns text=text, label=label (guessed; override with --columns)"
        in done.stderr
    )
    assert '1 of 31 rows are left out: rows.jsonl, line 31, column "label": no value' in done.stderr
