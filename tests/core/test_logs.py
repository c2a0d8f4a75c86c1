"""What is logged, where to, and what never is."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core import logs
from freehold.core.errors import UsageError
from tests.commands import freehold

PROMPT = "my mother's maiden name is Quarterstaff"
ROW = '{"text": "the patient Ada Quarterstaff called", "label": 3}\n{"text"'
TOKEN = "hf_QuarterstaffAbCdEfGh"


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    logs.reset()


def test_nothing_is_logged_without_the_options(tmp_path: Path) -> None:
    done = freehold(tmp_path, "models")
    assert done.err == ""
    assert logging.getLogger("freehold").handlers == []


def test_verbose_writes_to_standard_error_and_leaves_the_output_alone(tmp_path: Path) -> None:
    plain = freehold(tmp_path, "models")
    logs.reset()
    verbose = freehold(tmp_path, "--verbose", "models")
    assert verbose.out == plain.out
    assert "INFO freehold.cli: running the verb models" in verbose.err
    assert "exit code 0 after" in verbose.err


def test_a_log_file_is_added_to_and_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "freehold.log"
    assert freehold(tmp_path / "home", "--log-file", file, "models").err == ""
    first = file.read_text()
    freehold(tmp_path / "home", "--log-file", file, "trials")
    assert file.read_text().startswith(first)
    assert "running the verb trials" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_log_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    done = freehold(tmp_path, "--log-file", tmp_path / "none" / "log", "models")
    assert done.code == 2
    assert "cannot be written (No such file or directory)" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "nope", PROMPT),
        ("tune", "nope", "rows.jsonl"),
        ("mask", "ROWS"),
        ("push", "nope", "ada/nope", "--hub", f"http://ada:{TOKEN}@127.0.0.1:9"),
        ("find", PROMPT),
    ],
)
def test_no_prompt_row_or_token_is_logged(tmp_path: Path, words: tuple[str, ...]) -> None:
    file, rows = tmp_path / "freehold.log", tmp_path / "rows.jsonl"
    rows.write_text(ROW)
    typed = [str(rows) if word == "ROWS" else word for word in words]
    freehold(tmp_path / "home", "--log-file", file, *typed, HF_TOKEN=TOKEN)
    text = file.read_text()
    assert f"running the verb {words[0]}" in text
    assert "Quarterstaff" not in text


def test_secrets_that_a_module_would_log_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_API_KEY", "open sesame")
    file = tmp_path / "log"
    logs.configure(file=file)
    log = logging.getLogger("freehold.any")
    log.info("asked with %s and Bearer abc.def at https://ada:pw@hub/x", TOKEN)
    log.info("the key is open sesame\nFAKE LINE")
    text = file.read_text()
    for secret in (TOKEN, "abc.def", "ada:pw", "open sesame"):
        assert secret not in text
    assert text.count("\n") == 2, "a message cannot begin a line of its own"


def test_warnings_still_reach_standard_error_beside_a_log_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(file=tmp_path / "log")
    logging.getLogger("freehold.engine").warning("the disk is slow")
    logging.getLogger("freehold.engine").info("a detail")
    assert capsys.readouterr().err == "the disk is slow\n"


def test_an_error_is_logged_by_its_kind_and_place_without_its_message() -> None:
    try:
        raise UsageError(PROMPT)
    except UsageError as error:
        place = logs.where(error)
    assert place.startswith("UsageError at test_logs.py:")
    assert "Quarterstaff" not in place
