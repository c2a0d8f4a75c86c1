"""The hub's own description of its API, fuzzed by schemathesis over a socket: whatever is sent, no answer is
a fault of the hub's."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import FREEHOLD

pytestmark = pytest.mark.slow


def test_no_request_makes_the_hub_fail(tmp_path: Path) -> None:
    environment = os.environ | {"FREEHOLD_HOME": str(tmp_path)}
    command = [*FREEHOLD, "hub", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            said = ""
            while not said.endswith("}\n"):
                said += server.stdout.readline() or pytest.fail("the hub did not start")
            address = json.loads(said)["address"]
            _fill(address)
            fuzz = [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{address}/openapi.json",
                "--checks",
                "not_a_server_error",
                "--phases",
                "coverage,fuzzing",
                "--max-examples",
                "4",
                "--workers",
                "2",
                "--seed",
                "7",
                "--request-timeout",
                "20",
                "--no-color",
            ]
            done = subprocess.run(fuzz, capture_output=True, text=True, check=False, cwd=tmp_path)
            assert "generated" in done.stdout
            assert "Server error" not in done.stdout, done.stdout[-4000:]
            assert "Network Error" not in done.stdout, done.stdout[-4000:]
            assert httpx.get(f"{address}/health").json() == {"status": "ok"}
        finally:
            server.terminate()
            _, told = server.communicate()
    assert "Traceback" not in told, told[-4000:]


def _fill(address: str) -> None:
    """Something for the requests to meet."""
    httpx.post(f"{address}/api/repos/create", json={"name": "freehold/a"}).raise_for_status()
    value = {"path": "README.md", "content": base64.b64encode(b"# A").decode(), "encoding": "base64"}
    lines = [{"key": "header", "value": {"summary": "card"}}, {"key": "file", "value": value}]
    httpx.post(
        f"{address}/api/models/freehold/a/commit/main", content="\n".join(map(json.dumps, lines))
    ).raise_for_status()
    httpx.post(
        f"{address}/api/models/freehold/a/discussions", json={"title": "a change", "pullRequest": True}
    ).raise_for_status()
