"""A home that trials, tunings, servers and hubs have written into: nothing in it can be read by others,
whatever the umask."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from tests import tiny
from tests.conftest import FREEHOLD
from tests.core.test_file_permissions import ROWS, UMASKS, assert_handed_out, assert_private

pytestmark = [pytest.mark.slow, pytest.mark.minutes]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows and a model of random weights."""
    folder = tmp_path_factory.mktemp("sources")
    rows = [{**row, "text": f"{row['text']} or {again}"} for row in ROWS for again in range(4)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny.model("llama", folder / "tiny")
    return folder


def freehold(home: Path, umask: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FREEHOLD, *map(str, words)],
        env={**os.environ, "FREEHOLD_HOME": str(home)},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def serving(home: Path, umask: int, *words: str | Path) -> Iterator[str]:
    """The address of a server or hub that ends with the block."""
    process = subprocess.Popen(
        [*FREEHOLD, *map(str, words), "--port", "0"],
        env={**os.environ, "FREEHOLD_HOME": str(home)},
        umask=umask,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    try:
        for line in process.stderr:
            said += line
            if match := re.search(r"(http://[\d.]+:\d+)", line):
                yield match[1]
                break
        else:
            raise AssertionError(said)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)


@pytest.mark.parametrize("umask", UMASKS)
def test_nothing_in_a_used_home_can_be_read_by_others(sources: Path, tmp_path: Path, umask: int) -> None:
    home, out, log = tmp_path / "home", tmp_path / "out", tmp_path / "log"
    for words in (
        ("pull", f"file:{sources / 'tiny'}", "--as", "tiny"),
        ("tune", "tiny", sources / "rows.jsonl", "--as", "orders/tiny", "--steps", "2"),
        ("export", "orders/tiny", "--to", "peft", "--out", out / "peft"),
        ("export", "orders/tiny", "--to", "gguf", "--out", out / "gguf"),
    ):
        done = freehold(home, umask, *words)
        assert done.returncode == 0, done.stderr
    # whatever comes of it: its folder holds the rows and answers to some of them
    freehold(home, umask, "trial", sources / "rows.jsonl", "--model", "tiny", "--budget", "60s")
    assert any((home / "trials").rglob("task.json"))
    key = freehold(home, umask, "key", "create", "reception").stdout.strip()
    with serving(home, umask, "serve", "tiny", "--log-prompts", log, "--log-days", "3") as address:
        answer = httpx.post(
            f"{address}/v1/chat/completions",
            json={
                "model": "tiny",
                "messages": [{"role": "user", "content": "word " * 100}],
                "max_tokens": 4,
            },
            headers={"Authorization": f"Bearer {key}"},
            timeout=300,
        )
        assert answer.status_code == 200, answer.text
    token = freehold(home, umask, "hub", "token", "create", "ada", "--role", "admin").stdout.strip()
    with serving(home, umask, "hub", "serve") as address:
        hub = HfApi(endpoint=address, token=token)
        hub.create_repo("ada/letters", private=True)
        hub.upload_file(path_or_fileobj=b"a letter", path_in_repo="letter.txt", repo_id="ada/letters")
        hub.create_discussion("ada/letters", title="A question", description="Whose letter is it?")
    assert_private(home)
    assert all(path.stat().st_mode & 0o077 == 0 for path in log.rglob("*"))
    assert len(list(log.iterdir())) == 1
    assert_handed_out(out, umask)
