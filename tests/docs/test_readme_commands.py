"""Every command in README.md runs as it stands, or is listed here with the reason why not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.conftest import FREEHOLD
from tests.servers.inference.serving import server
from tests.servers.inference.tiny_server import store_tiny

ROOT = Path(__file__).parents[2]
#: Commands that are not run to their end, and why.
NOT_RUN = {
    "make trial": "it installs everything into a new environment; e2e/test_journey.py runs its commands",
    "make test": "it runs this test",
    "freehold pull known:qwen2.5-coder-1.5b-instruct --as qwen-1.5b": "it downloads 1.1 GB",
}
LISTS = "freehold pull known:"
TRIAL = (
    'freehold trial tickets.xlsx --need "accuracy>=0.85" --need "p95<=800ms" --need licence=commercial '
    "--budget 45m"
)
SERVE = "freehold serve tickets/qwen-1.5b-q4_k_m --port 8601"


def commands() -> list[str]:
    """The commands in the blocks of README.md that are not Python, without their comments."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks if kind in ("", "sh", "console") for line in block.splitlines()]
    return [command for line in lines if (command := re.split(r"\s+#", line)[0].strip())]


def run(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """What a command does in a folder without files."""
    words = shlex.split(command)
    assert words[0] == "freehold"
    return subprocess.run(
        [*FREEHOLD, *words[1:]],
        cwd=home,
        env={**os.environ, "FREEHOLD_HOME": str(home / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_is_run_or_listed_with_a_reason() -> None:
    assert set(commands()) == {LISTS, TRIAL, SERVE, *NOT_RUN}


def test_the_list_of_models_names_those_that_are_pulled_next(tmp_path: Path) -> None:
    done = run(LISTS, tmp_path)
    assert done.returncode == 0, done.stderr
    pulled = [name for command in commands() for name in re.findall(r"pull known:(\S+)", command)]
    assert pulled
    for name in pulled:
        assert name in done.stdout


def test_the_trial_is_understood_and_stops_only_at_its_missing_rows(tmp_path: Path) -> None:
    """A whole trial takes its 45 minutes; tests/e2e/test_journey.py runs one."""
    done = run(TRIAL, tmp_path)
    assert done.returncode == 7, done.stderr
    assert "tickets.xlsx" in done.stderr.splitlines()[0]


@pytest.mark.slow
def test_the_server_answers(tmp_path: Path) -> None:
    """Its own port may be in use here."""
    _, _, name, option, port = shlex.split(SERVE)
    store = store_tiny(tmp_path / "home", tmp_path)
    weights = store.weights(next(model for model in store.models() if model.info.format == "gguf"))
    adding = f"freehold pull file:{weights} --as {name}"
    assert run(adding, tmp_path).returncode == 0
    assert (option, port) == ("--port", "8601")
    with server(tmp_path / "home", names=(name,)) as address:
        body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
