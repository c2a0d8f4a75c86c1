"""A server in a process of its own, for Python and for the check of a trial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from freehold.core.errors import StepFailed, UsageError
from freehold.models.store import Store

_SHUT_DOWN_S = 35.0


class Server:
    """A running server. Use it in a ``with`` block, or close it."""

    def __init__(self, process: subprocess.Popen[str], names: Sequence[str], base_url: str):
        self._process = process
        #: names of the models that it serves
        self.names = tuple(names)
        #: where clients of OpenAI's API ask: ``http://127.0.0.1:8601/v1``
        self.base_url = base_url

    def __repr__(self) -> str:
        state = "" if self.running else ", shut down"
        return f"<freehold.Server {', '.join(self.names)} at {self.base_url}{state}>"

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Block until it shuts down. Ctrl-C shuts it down."""
        try:
            self._process.wait()
        except KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """Finish open requests and shut down."""
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(_SHUT_DOWN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(
    home: Path,
    names: Sequence[str],
    port: int = 0,
    options: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Start a server of models in the home folder ``home``, and wait until it is ready.

    It shuts down when this process ends, since its standard input closes then. ``options``: further ones of
    ``freehold serve``. ``environment``: variables for that process alone, such as a key. Raises UsageError
    without a model, NotFound for an unknown one, and StepFailed with what the server said where it does not
    start.
    """
    if not names:
        raise UsageError("no model was named", "name one that is in the store: freehold models")
    store = Store(home)
    for name in names:
        store.find(name)
    command = [sys.executable, "-P", "-m", "freehold.cli.main", "serve", *names]
    command += ["--port", str(port), "--json", "--until-stdin-closes", *options]
    variables = {**os.environ, "FREEHOLD_HOME": str(home), **(environment or {})}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            ready = _ready(process, errors)
        except BaseException:
            Server(process, names, "").close()
            raise
    return Server(process, names, json.loads(ready)["base_url"])


def _ready(process: subprocess.Popen[str], errors: IO[str]) -> str:
    """What the server prints when it listens: JSON over several lines. Raises StepFailed."""
    assert process.stdout is not None
    text = ""
    while not text.rstrip().endswith("}"):
        line = process.stdout.readline()
        if not line:
            process.wait()
            errors.seek(0)
            raise _failure(errors.read())
        text += line
    return text


def _failure(said: str) -> StepFailed:
    """The error that the server process printed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    message = next((line.partition("error: ")[2] for line in lines if line.startswith("error: ")), "")
    remedy = next((line.partition("what to do: ")[2] for line in lines if "what to do: " in line), "")
    last = lines[-1] if lines else "it said nothing"
    return StepFailed(
        f"the server did not start: {message or last}", remedy or "try it yourself: freehold serve"
    )
