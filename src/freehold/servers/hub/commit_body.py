"""The body of a commit as clients send it: a line of JSON for its message, and one for each thing it does.

A commit may name bytes by their digest only if the committer uploaded them for this repository, or may read
them in one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freehold.core import strict_json
from freehold.core.errors import BadData
from freehold.hub.commits import Change, File, Repository, git_oid, lfs_file
from freehold.hub.users import User
from freehold.models.names import check_path
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.json_answers import JsonObject
from freehold.servers.hub.state import Hub

#: A line, which is in memory several times while it is read; a larger file should have gone through LFS.
MOST_LINE_BYTES = 64 << 20
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class NamedBlob:
    """Bytes that a commit names by their sha256."""

    digest: str
    #: bytes that the client says they are; None where it does not say
    size: int | None


def read_commit(path: Path, hub: Hub) -> tuple[Change, dict[str, NamedBlob]]:
    """What a commit does, with the small files stored; and the files that it names by digest.

    Raises ApiError, which names the line.
    """
    reader = _Reader(hub)
    for number, line in enumerate(_lines(path), 1):
        try:
            item = strict_json.read(line)
            reader.take(item["key"], item["value"])
        except (BadData, ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            message = f"line {number} of the commit cannot be read: {type(error).__name__}"
            raise ApiError(400, message) from None
    if not reader.change.title:
        raise ApiError(400, "the commit has no summary; send it in the header line")
    return reader.change, reader.named


def named_files(hub: Hub, user: User, repository: Repository, named: dict[str, NamedBlob]) -> dict[str, File]:
    """The files that a commit names by digest.

    Raises ApiError, which does not say whether others have the bytes.
    """
    digests = {entry.digest for entry in named.values() if _SHA256.fullmatch(entry.digest)}
    allowed = hub.permissions.nameable(user, repository, digests)
    files: dict[str, File] = {}
    for path, entry in named.items():
        blob = hub.blobs.find(entry.digest) if entry.digest in allowed else None
        if blob is None or entry.size not in (None, blob.size):
            raise ApiError(400, f"the content of {path[:120]!r} was not uploaded, or has another size")
        hub.blobs.renew(blob)
        files[path] = lfs_file(entry.digest, blob.size)
    return files


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE_BYTES + 1):
            if len(line) > MOST_LINE_BYTES:
                message = f"a line of the commit has more than {MOST_LINE_BYTES >> 20} MiB"
                raise ApiError(413, f"{message}; send large files by LFS")
            if line.strip():
                yield line


class _Reader:
    """Takes the lines of a commit, the later ones over the earlier ones."""

    def __init__(self, hub: Hub):
        self._hub = hub
        self.change = Change("")
        self.named: dict[str, NamedBlob] = {}

    def take(self, key: str, value: JsonObject) -> None:
        """One line. Raises what a missing or wrong field raises."""
        match key:
            case "header":
                self._header(value)
            case "file":
                self._file(value)
            case "lfsFile":
                name = check_path(value["path"])
                self.change.put.pop(name, None)
                self.named[name] = NamedBlob(_text(value["oid"]), value.get("size"))
            case "deletedFile":
                self.change.removed.append(_text(value["path"]))
            case "deletedFolder":
                self.change.removed_folders.append(_text(value["path"]))
            case "copyFile":
                source = _text(value.get("srcPath") or value["src"])
                revision = _text(value.get("srcRevision") or "")
                self.change.copied.append((source, revision, check_path(value["path"])))
            case _:
                raise ApiError(400, f"commits have no operation {str(key)[:40]!r}")

    def _header(self, value: JsonObject) -> None:
        self.change.title = _text(value["summary"])
        self.change.message = _text(value.get("description") or "")
        self.change.parent = _text(value.get("parentCommit") or "")

    def _file(self, value: JsonObject) -> None:
        name = check_path(value["path"])
        if value.get("encoding", "base64") == "base64":
            data = base64.b64decode(value["content"], validate=True)
        else:
            data = value["content"].encode()
        self.named.pop(name, None)
        self.change.put[name] = File(self._hub.blobs.put(data), len(data), False, git_oid("blob", data))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
