"""What errors of the system and of databases mean to a person: one sentence and a remedy for each, in this
one place.

Every program of Freehold asks here before it calls an error a fault of its own: the command line, the
processes of a trial's steps, the servers. What is not listed here is a fault.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, extras, settings
from freehold.core.errors import Busy, DamagedStore, DoesNotFit, FreeholdError, NotFound

_WRITABLE = "make it writable for your user, or set FREEHOLD_HOME to a folder that is"
_DISK = (
    "check the disk and its cable or network (the system's log says more), then run the same command again"
)
#: errno -> (kind, what is wrong with the file, what to do).
_SYSTEM: dict[int, tuple[type[FreeholdError], str, str]] = {
    errno.ENOSPC: (DoesNotFit, "the disk that holds {} is full", atomic_files.FREE_SPACE),
    errno.EDQUOT: (DoesNotFit, "your quota on the disk that holds {} is used up", atomic_files.FREE_SPACE),
    errno.EFBIG: (
        DoesNotFit,
        "{} is larger than the file system or a limit allows",
        "raise the limit (ulimit -f), or set FREEHOLD_HOME to a file system for large files",
    ),
    errno.EROFS: (FreeholdError, "{} cannot be written: its disk is mounted read-only", _WRITABLE),
    errno.EACCES: (FreeholdError, "permission denied for {}", _WRITABLE),
    errno.EPERM: (FreeholdError, "the system does not permit this for {}", _WRITABLE),
    errno.EIO: (FreeholdError, "the disk could not read or write {}", _DISK),
    errno.ESTALE: (FreeholdError, "{} is on a network disk that is no longer reachable", _DISK),
    errno.ENOTDIR: (FreeholdError, "a part of the path {} is a file, not a folder", "check the path"),
    errno.ELOOP: (FreeholdError, "the links in the path {} form a circle", "check the path"),
    errno.ENAMETOOLONG: (FreeholdError, "the path {} is too long for this file system", "use a shorter one"),
    errno.EMFILE: (DoesNotFit, "too many files are open ({})", "raise the limit (ulimit -n)"),
    errno.ENFILE: (DoesNotFit, "too many files are open on this machine ({})", "close other programs"),
    errno.ENOMEM: (DoesNotFit, "there is not enough memory for {}", "close other programs"),
}
#: How Rust's standard library writes an error of the system; safetensors adds the file.
_OF_RUST = re.compile(r"\(os error (\d+)\)(?: at path \"([^\"]*)\")?")
#: The lowest byte of SQLite's result codes, by what it means.
_SQLITE_BUSY, _SQLITE_DAMAGED = (5, 6), (11, 26)
_SQLITE_PERM, _SQLITE_READONLY, _SQLITE_IOERR, _SQLITE_FULL, _SQLITE_CANTOPEN = 3, 8, 10, 13, 14
#: Less free space than this is a full disk where SQLite only says that writing failed.
_NO_SPACE = 1 << 20


def explain(error: BaseException) -> FreeholdError | None:
    """The failure that an error is to a person; None for one that is a fault of Freehold."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, FreeholdError):
            return seen
        known = _of_missing_module(seen) or _of_system(seen) or _of_database(seen) or _of_memory(seen)
        if known is not None:
            return known
        seen = seen.__cause__
    return None


def _of_missing_module(error: BaseException) -> FreeholdError | None:
    """A library of an extra that is not installed."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in extras.MODULES:
        return None
    return extras.missing(name)


def _of_system(error: BaseException) -> FreeholdError | None:
    number, name = _number_and_file(error)
    if number not in _SYSTEM:
        return None
    if number == errno.ENOSPC and not name and not _is_full(_home()):
        return DoesNotFit("the disk is full where output or temporary files go", "free some space there")
    kind, what, remedy = _SYSTEM[number]
    nameless = _home() if isinstance(error, OSError) or number in (errno.ENOSPC, errno.EDQUOT) else "a file"
    return kind(what.format(name or nameless), remedy)


def _number_and_file(error: BaseException) -> tuple[int | None, str]:
    """The system's error number and the file; libraries written in Rust have both in their sentence only."""
    if isinstance(error, OSError):
        return error.errno, str(error.filename or "")
    if type(error).__name__ == "SafetensorError":
        said = _OF_RUST.search(str(error))
        return (int(said[1]), said[2] or "") if said else (None, "")
    return None, ""


def _of_memory(error: BaseException) -> FreeholdError | None:
    if not isinstance(error, MemoryError):
        return None
    return DoesNotFit(
        "there is not enough memory for this", "close other programs, or choose a smaller model"
    )


def _of_database(error: BaseException) -> FreeholdError | None:
    """An error of SQLite, by whatever library, or of the database server."""
    original: Any = getattr(error, "orig", None) or error
    room = type(original).__module__.partition(".")[0]
    said = (str(original).strip().splitlines() or [type(original).__name__])[0]
    if room in ("sqlite3", "_sqlite3"):
        return _of_sqlite(getattr(original, "sqlite_errorcode", None), said)
    if room == "apsw":
        return _of_sqlite(getattr(original, "result", None), said)
    if room == "psycopg" and type(original).__name__ in ("OperationalError", "ConnectionTimeout"):
        return NotFound(
            f"the catalogue's database does not answer ({said})", "start it, or fix FREEHOLD_DATABASE"
        )
    return None


def _of_sqlite(code: int | None, said: str) -> FreeholdError | None:
    home, kind = _home(), (code or 0) & 0xFF
    if kind in _SQLITE_DAMAGED or _is_damage(said):
        return damaged(home, said)
    if kind in _SQLITE_BUSY:
        return Busy(
            f"another process holds the catalogue in {home} ({said})",
            "wait for it, or stop it, then run the same command again",
        )
    if kind == _SQLITE_FULL or (kind in (_SQLITE_IOERR, _SQLITE_CANTOPEN) and _is_full(home)):
        return DoesNotFit(f"the disk that holds {home} is full", atomic_files.FREE_SPACE)
    if kind in (_SQLITE_PERM, _SQLITE_READONLY, _SQLITE_CANTOPEN):
        return FreeholdError(f"the catalogue in {home} cannot be opened or written ({said})", _WRITABLE)
    if kind == _SQLITE_IOERR:
        return FreeholdError(f"the disk that holds {home} failed ({said})", _DISK)
    return None


def _is_damage(said: str) -> bool:
    """Whether a database's sentence tells of a table that is gone or of text that is not text."""
    return said.startswith(("no such table", "no such column", "Could not decode to UTF-8"))


def damaged(home: Path | str, why: str) -> DamagedStore:
    """What every verb says of a catalogue that cannot be used."""
    return DamagedStore(
        f"the catalogue {Path(home) / 'freehold.db'} is damaged ({why})",
        "freehold store repair rebuilds it from the store's manifests; the damaged file is kept",
    )


def _is_full(home: str) -> bool:
    try:
        return shutil.disk_usage(home).free < _NO_SPACE
    except OSError:
        return False


def _home() -> str:
    """Where the home is, without making it."""
    return str(settings.home_path())


def check_working_folder() -> None:
    """Raises FreeholdError where the folder that the process stands in was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise FreeholdError(
            "the folder you are in was removed", "go to another folder (cd) and run the same command again"
        ) from None
