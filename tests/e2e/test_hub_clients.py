"""The clients people use, against a hub process: every call in the table of docs/hub.md is one test here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import FREEHOLD
from tests.hub.serving import hub_at

CALLS = re.findall(r'^@call\("(.+)"\)$', (Path(__file__).with_name("hub_calls.py")).read_text(), re.MULTILINE)
#: Freehold's own processes are offline; these clients are not.
_ONLINE = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}


@pytest.fixture(scope="module", params=["xet", "lfs"])
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, smollm2_folder: Path
) -> Iterator[dict[str, Any]]:
    """What every call gave, with the client's chunked uploads and without; at the end the hub must be
    whole."""
    home = tmp_path_factory.mktemp("hub")
    environment = _ONLINE | {"FREEHOLD_HOME": str(home)}
    server = subprocess.Popen(
        [*FREEHOLD, "hub", "serve", "--port", "0", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    said = ""
    while not said.endswith("}\n"):
        said += server.stdout.readline() or pytest.fail("the hub did not start")
    client = _ONLINE | {
        "HF_ENDPOINT": json.loads(said)["address"],
        "HF_HOME": str(home / "client"),
        "HF_TOKEN": "hf_" + "a" * 36,
    }
    client |= {"HF_HUB_DISABLE_XET": "1"} if request.param == "lfs" else {}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hub_calls.py")), str(smollm2_folder)],
        env=client,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    yield json.loads(done.stdout.splitlines()[-1])["calls"]
    server.terminate()
    server.wait(30)
    checked = subprocess.run(
        [*FREEHOLD, "hub", "check", "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert json.loads(checked.stdout) == {"faults": []}


@pytest.mark.minutes
@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_client(results: dict[str, str | None], name: str) -> None:
    assert results[name] is None, results[name]


@pytest.mark.slow
def test_another_client_sends_only_what_the_hub_has_not(tmp_path: Path) -> None:
    """A client with an empty cache asks the hub for the chunks it knows (and cannot read their hashes out of
    the answer)."""
    home, data = tmp_path / "hub", np.random.default_rng(4).bytes(9_000_000)
    program = (
        "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[1]); "
        "api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo='w.bin', repo_id=sys.argv[1])"
    )
    grown: list[int] = []
    with hub_at(home) as address:
        for name, content in (
            ("first", data),
            ("second", data[:5_000_000] + b"something new " * 4000 + data[5_000_000:]),
        ):
            (tmp_path / "w.bin").write_bytes(content)
            client = _ONLINE | {
                "HF_ENDPOINT": address,
                "HF_HOME": str(tmp_path / name),
                "HF_TOKEN": "hf_" + "a" * 36,
            }
            words = [sys.executable, "-c", program, f"freehold/{name}", str(tmp_path / "w.bin")]
            done = subprocess.run(words, env=client, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
            xorbs = [
                path for path in (home / "xorbs").rglob("*") if path.is_file() and path.suffix != ".index"
            ]
            grown.append(sum(path.stat().st_size for path in xorbs) - sum(grown))
    assert grown[0] >= 9_000_000
    assert 0 < grown[1] < 500_000
