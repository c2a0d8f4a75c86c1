"""Files and folders of a commit as the JSON API lists them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel

from freehold.hub.commits import Commit, File, Repository, git_oid, pointer
from freehold.hub.scans import Danger, file_status
from freehold.servers.hub.json_answers import JsonObject, timestamp
from freehold.servers.hub.state import Hub

#: So many files of earlier commits are compared to find when each file of a list last changed.
_MOST_COMPARED = 500_000


class EntryLfs(BaseModel):
    """The LFS object of a file."""

    oid: str
    size: int
    #: bytes of the pointer that git keeps in its place
    pointerSize: int


class LastCommit(BaseModel):
    """The commit that last changed a file or folder."""

    id: str
    title: str
    date: str


class TreeEntry(BaseModel):
    """A file or folder. A field that is not set is left out of the answer."""

    type: Literal["file", "directory"]
    #: git's id; "" for those who may not read the files, since no digest may say what is in them
    oid: str
    size: int
    path: str
    lfs: EntryLfs | None = None
    xetHash: str | None = None
    #: null where the change lies further back than is looked
    lastCommit: LastCommit | None = None
    #: null for a file that was not scanned
    securityFileStatus: JsonObject | None = None


def paths_below(ordered: list[str], folder: str) -> list[str]:
    """Of sorted paths those that lie in a folder, at any depth."""
    return ordered[bisect_left(ordered, folder + "/") : bisect_left(ordered, folder + "0")]  # "0" follows "/"


def closed_entries(commit: Commit, paths: Iterable[str]) -> list[TreeEntry]:
    """Names and sizes alone, for those who may not read the files."""
    return [
        TreeEntry(type="file", oid="", size=commit.files[path].size, path=path)
        if path in commit.files
        else TreeEntry(type="directory", oid="", size=0, path=path)
        for path in paths
    ]


def tree_entries(
    hub: Hub, repository: Repository, commit: Commit, paths: list[str], *, expand: bool
) -> list[TreeEntry]:
    """Files and folders of a commit. ``expand``: with the last commit of each, and the scan of files."""
    ordered = sorted(commit.files)
    below = {path: [path] if path in commit.files else paths_below(ordered, path) for path in paths}
    entries = [_entry(hub, commit, path, below[path]) for path in paths]
    if expand:
        changes = _last_changes(hub, repository, commit, {name for names in below.values() for name in names})
        files = {path: commit.files[path] for path in paths if path in commit.files}
        dangers = hub.dangers(repository, files)
        for entry in entries:
            _expand(entry, [changes[name] for name in below[entry.path] if name in changes], dangers)
    return entries


def _entry(hub: Hub, commit: Commit, path: str, inside: list[str]) -> TreeEntry:
    file = commit.files.get(path)
    if file is None:
        return _folder_entry(path, {name: commit.files[name] for name in inside})
    entry = TreeEntry(type="file", oid=file.oid, size=file.size, path=path)
    if file.lfs:
        pointer_size = len(pointer(file.sha256, file.size))
        entry.lfs = EntryLfs(oid=file.sha256, size=file.size, pointerSize=pointer_size)
        blob = hub.blobs.find(file.sha256)
        if blob is not None and blob.file_hash:
            entry.xetHash = blob.file_hash
    return entry


def _folder_entry(path: str, files: dict[str, File]) -> TreeEntry:
    text = "\n".join(f"{name} {file.oid}" for name, file in sorted(files.items()))
    return TreeEntry(type="directory", oid=git_oid("tree", text.encode()), size=0, path=path)


def _expand(entry: TreeEntry, changes: list[Commit], dangers: Mapping[str, list[Danger]]) -> None:
    last = max(changes, key=lambda commit: commit.created, default=None)
    entry.lastCommit = last and LastCommit(id=last.id, title=last.title, date=timestamp(last.created))
    if entry.type == "file":
        scanned = entry.path in dangers
        entry.securityFileStatus = file_status(dangers[entry.path]) if scanned else None


def _last_changes(hub: Hub, repository: Repository, commit: Commit, names: set[str]) -> dict[str, Commit]:
    """Path -> the commit that last changed it; not for changes beyond :data:`_MOST_COMPARED`."""
    changes: dict[str, Commit] = {}
    left, current, compared = set(names), commit, 0
    while left and compared < _MOST_COMPARED:
        parent = hub.repositories.before(repository, current)
        earlier = parent.files if parent is not None else {}
        changed = [name for name in left if earlier.get(name) != commit.files[name]]
        changes |= dict.fromkeys(changed, current)
        left.difference_update(changed)
        compared += len(earlier)
        if parent is None:
            break
        current = parent
    return changes
