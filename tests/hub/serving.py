"""A hub of its own in this process, for tests whose other side is a real client in another one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from freehold import listening
from freehold.hub.protocol import make_app
from freehold.hub.session import Known
from freehold.hub.store import Store
from freehold.web.connections import Server
from tests.conftest import FREEHOLD


@contextlib.contextmanager
def hub_at(home: Path, known: Known | None = None) -> Iterator[str]:
    """The address of a hub over the store at ``home``."""
    listener = listening.listen("127.0.0.1", 0)
    server = Server(make_app(Store(home), known=known), log_level="critical")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listening.address("127.0.0.1", listener)
    finally:
        server.should_exit = True
        thread.join(10)


def freehold(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a verb with a home of its own."""
    own = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    own |= {"FREEHOLD_HOME": str(home), "HF_HOME": str(home / "client")} | environment
    return subprocess.run([*FREEHOLD, *words], capture_output=True, text=True, check=False, env=own)
