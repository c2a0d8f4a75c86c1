"""Who may read what is written: a home is its owner's alone, and elsewhere files take the umask.

A home holds rows, prompts, documents, answers, keys and digests of tokens, so all of it is private: files
0600, folders 0700. Three things see to that: the command line narrows its own umask, so that what any library
writes is private from its first byte; :mod:`freehold.core.atomic_files` gives each file and folder below a
home its mode, also where Freehold is used as a library; and a home that an earlier version made is put right
once. What is written where a person asked for it (``--out``) takes that person's umask.

A home whose folder has the mode 2770 is shared by its group: then files are 0660 and folders 2770. Signing
keys stay their owner's.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

#: Entries of a home that Freehold makes. Others in the same folder are somebody else's and are left alone.
OURS = frozenset(
    {
        ".private",
        ".repair.lock",
        ".schema.lock",
        "attestations",
        "blobs",
        "cluster",
        "damaged",
        "datasets",
        "documents",
        "freehold.db",
        "freehold.db-journal",
        "freehold.db-shm",
        "freehold.db-wal",
        "incoming",
        "keys",
        "looks",
        "manifests",
        "policy.yaml",
        "quarantine",
        "speed.json",
        "states",
        "trials",
        "tunings",
        "views",
        "xorbs",
    }
)
_MARK = ".private"
#: The umask that whoever started Freehold has, in octal: for children, whose own is narrowed.
_UMASK = "FREEHOLD_UMASK"
_EVERYONE, _OTHERS = 0o077, 0o007
#: Homes by their paths, and whether each is its group's.
_homes: dict[Path, bool] = {}
#: Those that this process has made or put right.
_made: set[Path] = set()


def guard_process(home: Path | None) -> None:
    """Keep what this process and its children write from others: a narrow umask, and no core dump.

    ``home``: where the home is or will be, if that is known. Standard streams that are closed are opened on
    nothing, so that no file of ours gets their numbers.
    """
    _fill_standard_streams()
    if _UMASK not in os.environ:
        os.environ[_UMASK] = f"{_current_umask():o}"
    os.umask(_OTHERS if _is_shared(home) else _EVERYONE)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _fill_standard_streams() -> None:
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)


def _current_umask() -> int:
    umask = os.umask(_EVERYONE)
    os.umask(umask)
    return umask


def asked_umask() -> int:
    """The umask of whoever started this process."""
    try:
        return int(os.environ[_UMASK], 8) & 0o777
    except (KeyError, ValueError):
        return _current_umask()


def _is_shared(folder: Path | None) -> bool:
    """Whether a folder's mode says that its group works in it: 2770."""
    if folder is None or not folder.is_dir():
        return False
    mode = folder.stat().st_mode
    return bool(mode & stat.S_ISGID) and mode & 0o070 == 0o070


# -- homes ------------------------------------------------------------------------------------------


def make_home(folder: Path) -> None:
    """Make a home that is its owner's alone; one that is there is put right once, and that is said."""
    folder = folder.absolute()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder in _made:
        return
    _made.add(folder)
    _homes[folder] = _homes[folder.resolve()] = _is_shared(folder)
    if not (folder / _MARK).exists():
        _put_right(folder)


def _put_right(home: Path) -> None:
    """Take the rights of others from what lies in a home already."""
    changed = sum(_narrow(path) for path in _entries(home))
    if set(os.listdir(home)) <= OURS:  # else it is a folder of other things too
        _narrow(home)
    try:
        os.close(os.open(home / _MARK, os.O_CREAT | os.O_WRONLY, file_mode(home / _MARK)))
    except OSError as error:  # a home that cannot be written to says so where something is to be written
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
            raise
    if changed and sys.stderr is not None:
        whom = "you and its group" if _homes[home] else "you"
        sys.stderr.write(
            f"{changed} files and folders in {home} could be read or written by others; now by {whom} alone\n"
        )


def _entries(home: Path) -> list[Path]:
    return [path for name in sorted(OURS & set(os.listdir(home))) for path in _with_contents(home / name)]


def _with_contents(path: Path) -> list[Path]:
    """A path and all that lies below it."""
    below = os.walk(path)
    return [path, *(Path(parent, name) for parent, folders, files in below for name in (*folders, *files))]


def _narrow(path: Path) -> bool:
    """Take others' rights to a file or folder of ours; whether they had any.

    Links and other people's files are left alone.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or (os.name == "posix" and status.st_uid != os.geteuid()):
        return False
    mode = stat.S_IMODE(status.st_mode)
    owners = mode & 0o700
    shared = _shared_at(path)
    target_mode = (
        owners | (owners >> 3) | (stat.S_ISGID if stat.S_ISDIR(status.st_mode) else 0) if shared else owners
    )
    if mode == target_mode:
        return False
    try:
        os.chmod(path, target_mode)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EPERM):
            raise
        return False
    return bool(mode & ~target_mode & (_OTHERS if shared else _EVERYONE))


# -- modes ------------------------------------------------------------------------------------------


def is_private(path: Path) -> bool:
    """Whether a path lies in a home, or is one."""
    return _home_of(path) is not None


def _home_of(path: Path) -> Path | None:
    absolute = path.absolute()
    for folder in (absolute, *absolute.parents):
        if folder in _homes:
            return folder
        if (folder / _MARK).is_file():  # one that this process was only given paths in
            _homes[folder] = _is_shared(folder)
            return folder
    return None


def _shared_at(path: Path) -> bool:
    home = _home_of(path)
    if home is None or not _homes[home]:
        return False
    return (home / "keys" / "own") not in (path.absolute(), *path.absolute().parents)


def file_mode(path: Path) -> int:
    """The mode of a file that is written at ``path``."""
    if is_private(path):
        return 0o660 if _shared_at(path) else 0o600
    return 0o666 & ~asked_umask()


def folder_mode(path: Path) -> int:
    """The mode of a folder that is made at ``path``."""
    if is_private(path):
        return 0o2770 if _shared_at(path) else 0o700
    return 0o777 & ~asked_umask()


def hand_out(path: Path) -> None:
    """Give a new folder with all that is in it the modes of what a person asked for.

    Libraries write there too, under the narrow umask.
    """
    for entry in _with_contents(path):
        if not entry.is_symlink():
            os.chmod(entry, folder_mode(entry) if entry.is_dir() else file_mode(entry))
