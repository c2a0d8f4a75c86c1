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

import pytest

from tests.conftest import FREEHOLD

CALLS = re.findall(r'^@call\("(.+)"\)$', (Path(__file__).with_name("hub_calls.py")).read_text(), re.MULTILINE)
#: Freehold's own processes are offline; these clients are not.
_ONLINE = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}


@pytest.fixture(scope="module", params=["xet", "lfs"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, smollm2_folder: Path) -> Iterator[dict[str, Any]]:
    """What every call gave, with the client's chunked uploads and without; at the end the hub must be whole."""
    home = tmp_path_factory.mktemp("hub")
    environment = _ONLINE | {"FREEHOLD_HOME": str(home)}
    server = subprocess.Popen([*FREEHOLD, "hub", "serve", "--port", "0", "--json"], env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = ""
    while not said.endswith("}\n"):
        said += server.stdout.readline() or pytest.fail("the hub did not start")
    client = _ONLINE | {"HF_ENDPOINT": json.loads(said)["address"], "HF_HOME": str(home / "client"), "HF_TOKEN": "hf_" + "a" * 36}
    client |= {"HF_HUB_DISABLE_XET": "1"} if request.param == "lfs" else {}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hub_calls.py")), str(smollm2_folder)], env=client, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    yield json.loads(done.stdout.splitlines()[-1])["calls"]
    server.terminate()
    server.wait(30)
    checked = subprocess.run([*FREEHOLD, "hub", "check", "--json"], env=environment, capture_output=True, text=True, check=False)
    assert json.loads(checked.stdout) == {"faults": []}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_client(results: dict[str, str | None], name: str) -> None:
    assert results[name] is None, results[name]
