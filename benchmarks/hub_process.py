"""A hub as a process of its own, for benchmarks that push to it and fetch from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def start_hub(home: Path) -> tuple[subprocess.Popen[str], str]:
    """A hub over the store at ``home``; the process and its address."""
    words = [sys.executable, "-m", "freehold.cli.main", "hub", "serve", "--port", "0", "--json"]
    server = subprocess.Popen(words, env=online() | {"FREEHOLD_HOME": str(home)}, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = ""
    while not said.endswith("}\n"):
        said += server.stdout.readline()
    return server, json.loads(said)["address"]


def online() -> dict[str, str]:
    """The environment of a client that may use the network."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}


def client_environment(address: str, home: Path) -> dict[str, str]:
    """The environment of a Hugging Face client of the hub at ``address``, with its caches in ``home``."""
    return online() | {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_TOKEN": "hf_" + "a" * 36, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
