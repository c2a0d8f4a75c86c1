"""A server process of its own, for tests whose other side is a client."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from freehold.models.intake import made_here
from freehold.models.store import Store
from tests.conftest import FREEHOLD


def own_home(home: Path, folder: Path, *names: str) -> Path:
    """A home with the same weights and a catalogue, keys, documents of its own."""
    there, here = Store(home), Store(folder / "home")
    for name in names:
        model = there.find(name)
        here.add(
            name, made_here({file: there.file(model, file) for file in model.manifest}), {"source": "test"}
        )
    return here.folder


def start(
    home: Path, *words: str, names: tuple[str, ...] = ("smollm2",), **environment: str
) -> tuple[subprocess.Popen[str], str]:
    """A server and its address."""
    own = {**os.environ, "FREEHOLD_HOME": str(home)} | environment
    process = subprocess.Popen(
        [*FREEHOLD, "serve", *names, "--port", "0", *words], stderr=subprocess.PIPE, text=True, env=own
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"at (https?://[\d.]+:\d+)/v1", line):
            # what it says from now on is read too: who writes to a full pipe waits
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, found[1]
    raise AssertionError(said)


@contextlib.contextmanager
def server(
    home: Path, *words: str, names: tuple[str, ...] = ("smollm2",), **environment: str
) -> Iterator[str]:
    """The address of a server that ends with the block."""
    process, address = start(home, *words, names=names, **environment)
    try:
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
