"""Files that are whole or absent: temporary name, fsync, rename; and locks between processes.

Who may read them: permissions.py.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from freehold.core import file_permissions, partial_files
from freehold.core.errors import Busy, DoesNotFit

log = logging.getLogger(__name__)
#: What to do about a full disk.
FREE_SPACE = (
    "free some space ('freehold gc' removes what no model needs) and run the same command again; "
    "finished work is kept"
)


def write_atomically(path: Path, content: bytes | str, *, mode: int | None = None) -> None:
    """Write ``content`` so that ``path`` is either the old file or the whole new one.

    ``mode``: as permissions.py says if it is None. Until it is whole, only its owner can read it. Raises
    DoesNotFit on a full disk.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, mode) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success sync and rename it, on failure remove it.

    What earlier processes that were killed left beside ``path`` is removed first.
    """
    with disk_full_explained(path):
        make_folder(path.parent)
        partial_files.remove_abandoned(path)
        with partial_files.new(path) as part:
            yield part.path
            part.hold()
            sync(part.path)
            os.chmod(part.path, _mode_of(path) if mode is None else mode)
            os.replace(part.path, path)
            sync(path.parent)


def _mode_of(path: Path) -> int:
    """The mode of what replaces ``path``: outside of homes that of the file before it, if there is one."""
    if path.is_file() and not file_permissions.is_private(path):
        return stat.S_IMODE(path.stat().st_mode)
    return file_permissions.file_mode(path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it: private in a home, by the person's umask elsewhere."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        mode = file_permissions.folder_mode(folder)
        try:
            folder.mkdir(mode=mode & 0o777)
        except FileExistsError:
            if not folder.is_dir():
                raise
            continue  # another process was faster
        os.chmod(folder, mode)


def narrow(path: Path) -> None:
    """Give a file that a library has written in a home the mode of files there; nothing where there is
    none.
    """
    with contextlib.suppress(FileNotFoundError):
        if file_permissions.is_private(path) and stat.S_IMODE(
            path.stat().st_mode
        ) != file_permissions.file_mode(path):
            os.chmod(path, file_permissions.file_mode(path))


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        folder = path if path.is_dir() else path.parent
        raise DoesNotFit(f"the disk that holds {folder} is full", FREE_SPACE) from error


def need_disk(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raises DoesNotFit when ``folder`` has less than ``needed_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise DoesNotFit(
            f"{purpose} needs {needed_bytes / 1e6:.0f} MB and the disk that holds {folder} has "
            f"{free / 1e6:.0f} MB free",
            "free some space or set FREEHOLD_HOME to a larger disk",
        )


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; the system releases it when the process dies. Raises Busy if held and not
    ``wait``.
    """
    from filelock import FileLock, Timeout

    make_folder(path.parent)
    try:
        with FileLock(path, timeout=-1 if wait else 0, mode=file_permissions.file_mode(path)):
            yield
    except Timeout:
        log.debug("the lock %s is held by another process", path)
        raise Busy(
            f"another process is working on {what}",
            "wait for it, or stop it, then run the same command again",
        ) from None


def unlink_older(paths: Iterable[Path], oldest: float) -> tuple[list[Path], int]:
    """Remove the files that were last written before ``oldest`` (seconds since 1970), each looked at right
    before it goes; (those that went, their bytes).
    """
    gone, freed = list[Path](), 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            status = path.stat()
            if status.st_mtime < oldest:
                path.unlink()
                gone.append(path)
                freed += status.st_size
    return gone, freed


@contextlib.contextmanager
def together(path: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold a lock that any number may hold together; ``alone``: that nobody else holds meanwhile. Waits for
    it.

    For threads too. The system releases it when the process dies.
    """
    if sys.platform == "win32":
        with locked(path, path.name, wait=True):
            yield
        return
    import fcntl

    make_folder(path.parent)
    with open(path, "ab", opener=_opened) as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def append_line(path: Path, line: str) -> None:
    """Append one line and sync it; a torn last line is dropped by :func:`read_lines`."""
    with disk_full_explained(path), open(path, "ab", opener=_opened) as file:
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _opened(name: str, flags: int) -> int:
    """Open a file as Python does, and give one that is made by that its mode."""
    path = Path(name)
    is_new = not path.exists()
    handle = os.open(path, flags, file_permissions.file_mode(path))
    if is_new:
        os.chmod(path, file_permissions.file_mode(path))
    return handle


def read_lines(path: Path) -> list[str]:
    """The whole lines of a file that is only ever appended to; cuts a torn last line off the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return whole.decode().split("\n")[:-1]  # not splitlines, which also cuts at U+2028 inside a JSON text


def sha256_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            if on_bytes:
                on_bytes(len(block))
    return digest.hexdigest()


def canonical(value: Any) -> bytes:
    """One byte string for equal JSON values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(value: Any) -> str:
    """Hex sha256 of a JSON value's canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()
