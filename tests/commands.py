"""A verb run as the command line runs it, in this process: its exit code and what it said."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from freehold.cli import main


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    code: int
    out: str
    err: str


def freehold(home: Path, *words: str | Path, umask: int = 0o022, **environment: str) -> Done:
    """Run ``freehold WORDS`` with this home and umask.

    The process's own umask and signals are as before afterwards.
    """
    out, err = io.StringIO(), io.StringIO()
    before, interrupt = os.umask(umask), signal.getsignal(signal.SIGINT)
    code = 0
    try:
        with (
            mock.patch.object(sys, "argv", ["freehold", *map(str, words)]),
            mock.patch.dict(os.environ, {"FREEHOLD_HOME": str(home), **environment}),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main.run()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    finally:
        os.umask(before)
        signal.signal(signal.SIGINT, interrupt)
    return Done(code, out.getvalue(), err.getvalue())
