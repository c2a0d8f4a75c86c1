"""Files that are whole or absent: temporary name, fsync, rename; and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from freehold.errors import Busy, DoesNotFit


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content`` so that ``path`` is either the old file or the whole new one. Raises DoesNotFit on a full disk."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success sync and rename it, on failure remove it."""
    with disk_full_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:60]}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            sync(temporary)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


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
        place = path if path.is_dir() else path.parent
        raise DoesNotFit(
            f"the disk that holds {place} is full",
            "free some space ('freehold gc' removes what no model needs) and run the same command again; nothing finished is lost",
        ) from error


def need_disk(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raises DoesNotFit when ``folder`` has less than ``needed_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise DoesNotFit(
            f"{purpose} needs {needed_bytes / 1e6:.0f} MB and the disk that holds {folder} has {free / 1e6:.0f} MB free",
            "free some space or set FREEHOLD_HOME to a larger disk",
        )


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; the system releases it when the process dies. Raises Busy if held and not ``wait``."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=-1 if wait else 0):
            yield
    except Timeout:
        raise Busy(
            f"another process is working on {what}",
            "wait for it, or stop it, then run the same command again",
        ) from None


def append_line(path: Path, line: str) -> None:
    """Append one line and sync it; a torn last line is dropped by :func:`read_lines`."""
    with disk_full_explained(path), path.open("ab") as file:
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


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
