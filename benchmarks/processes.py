"""A hub or a server as a process of its own, for benchmarks that ask it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def started(home: Path, *words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A verb that serves, over the store at ``home`` and on a free port; the process, and what it says of
    itself. Exits if it ends first."""
    command = [sys.executable, "-m", "freehold.cli.main", *words, "--port", "0", "--json"]
    server = subprocess.Popen(
        command, env=online() | {"FREEHOLD_HOME": str(home)}, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    said = ""
    while not said.endswith("}\n"):
        line = server.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(words)} did not start")
        said += line
    return server, json.loads(said)


def start_hub(home: Path) -> tuple[subprocess.Popen[str], str]:
    """A hub over the store at ``home``; the process and its address."""
    server, told = started(home, "hub", "serve")
    return server, told["address"]


def online() -> dict[str, str]:
    """The environment of a client that may use the network."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}


def client_environment(address: str, home: Path) -> dict[str, str]:
    """The environment of a Hugging Face client of the hub at ``address``, with its caches in ``home``."""
    return online() | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_" + "a" * 36,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
