"""Files under way: beside their target, with its name in theirs, and locked for as long as their writer
lives.

A writer that is killed leaves such a file. The next one of the same target removes it: where its lock can be
had, nobody writes it any more.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

#: Files younger than this are left alone: their writer may not have locked them yet.
_YOUNG_S = 60.0
_MOST_OF_NAME = 60


class Part:
    """A file under way. ``path``: where it is written."""

    def __init__(self, path: Path):
        self.path, self._handle = path, -1
        self.hold()

    def hold(self) -> None:
        """Lock the file that is at the path now: writers may have put another there."""
        handle = os.open(self.path, os.O_RDONLY)
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = handle
        _lock(handle)

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._handle)


@contextlib.contextmanager
def new(target: Path) -> Generator[Part]:
    """A new, empty file for what will be ``target``; removed at the end if it is still there."""
    handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=".part", dir=target.parent)
    os.close(handle)
    part = Part(Path(name))
    try:
        yield part
    finally:
        part.path.unlink(missing_ok=True)
        part.close()


def remove_abandoned(target: Path) -> None:
    """Remove this user's part files of ``target`` that are a minute old and that nobody writes."""
    if sys.platform == "win32":
        return
    pattern = re.compile(re.escape(_prefix(target)) + r"[a-z0-9_]{8}\.part")
    with os.scandir(target.parent) as entries:
        names = [entry.path for entry in entries if pattern.fullmatch(entry.name)]
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if _is_old(os.lstat(name)):
                _remove_unlocked(name)


def _is_old(status: os.stat_result) -> bool:
    """Whether it is an old file of this user. The time of change counts too: a file that was moved keeps its
    own.
    """
    is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return is_ours and max(status.st_mtime, status.st_ctime) < time.time() - _YOUNG_S


def _remove_unlocked(name: str) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _lock(handle) and os.path.samestat(os.fstat(handle), os.lstat(name)):
            os.unlink(name)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Whether the lock of an open file could be had; False too where the file system has no locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _prefix(target: Path) -> str:
    return f".{target.name[:_MOST_OF_NAME]}."
