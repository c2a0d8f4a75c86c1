"""What ``--verbose`` and ``--log-file`` record: the standard logging module, under the logger ``freehold``.

Modules log what they do, never what they work on: no prompt, row, answer, token or key. As a second guard
each line passes a filter that hides the values of environment variables that hold secrets, and texts that
look like tokens. Without the two options nothing is recorded, and warnings go to standard error as they
always do.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from freehold.core import settings, terminal
from freehold.core.errors import UsageError

#: Texts that look like tokens and keys: of Hugging Face and other services, of Freehold, and passwords in
#: addresses.
_TOKEN = re.compile(
    r"\b(?:hf|sk|fh|ghp|glpat|xox[a-z])[_-][A-Za-z0-9_-]{6,}|(?i:bearer)\s+\S+|(?<=://)[^/\s@]+@"
)
#: Values shorter than this are not hidden: they would hide parts of ordinary words.
_SHORTEST_SECRET = 6
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_HIDDEN = "[hidden]"


class HideSecrets(logging.Filter):
    """Puts ``[hidden]`` in place of tokens, keys and passwords, and of control characters their codes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record's text; always True, as no record is dropped."""
        text = record.getMessage()
        for name, value in os.environ.items():
            if len(value) >= _SHORTEST_SECRET and settings.holds_secret(name):
                text = text.replace(value, _HIDDEN)
        record.msg, record.args = terminal.line(_TOKEN.sub(_HIDDEN, text)), ()
        return True


def configure(*, verbose: bool = False, file: Path | None = None) -> None:
    """Record what Freehold does: on standard error where ``verbose``, and at the end of ``file``.

    The file is made readable by its owner alone. Raises UsageError where it cannot be written.
    """
    if not verbose and file is None:
        return
    logger = logging.getLogger("freehold")
    reset()
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(logging.DEBUG if verbose else logging.WARNING)
    _add(logger, screen, _FORMAT if verbose else "%(message)s")
    if file is not None:
        try:
            os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        except OSError as error:
            raise UsageError(
                f"the log file {file} cannot be written ({error.strerror})", "use another file"
            ) from None
        _add(logger, logging.FileHandler(file, encoding="utf-8"), _FORMAT)


def _add(logger: logging.Logger, handler: logging.Handler, text_format: str) -> None:
    handler.setFormatter(logging.Formatter(text_format))
    handler.addFilter(HideSecrets())
    logger.addHandler(handler)


def reset() -> None:
    """Close what :func:`configure` opened; afterwards nothing is recorded."""
    logger = logging.getLogger("freehold")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def where(error: BaseException) -> str:
    """The kind of an error and the lines of code it came through.

    Without its message, which may quote a row or a prompt.
    """
    frames: list[Any] = traceback.extract_tb(error.__traceback__)
    path = " <- ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
    return f"{type(error).__name__} at {path or 'an unknown place'}"
