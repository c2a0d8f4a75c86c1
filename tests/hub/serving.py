"""A hub of its own in this process, for tests whose other side is a real client in another one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from tests.conftest import FREEHOLD
from tests.servers.web.serving import running


@contextlib.contextmanager
def hub_at(home: Path) -> Iterator[str]:
    """The address of a hub over the store at ``home``."""
    with running(make_app(Store(home))) as address:
        yield address


def freehold(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a verb with a home of its own."""
    own = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    own |= {"FREEHOLD_HOME": str(home), "HF_HOME": str(home / "client")} | environment
    return subprocess.run([*FREEHOLD, *words], capture_output=True, text=True, check=False, env=own)
