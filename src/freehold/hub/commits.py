"""What repositories and their commits are, and the ids that git and clients know them by."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from freehold.core.errors import Busy, Conflict, UsageError
from freehold.core.json_types import JsonObject

KINDS = ("model", "dataset", "space")
#: Files that are binary by their ending, kept as LFS whatever their size.
LFS_ENDINGS = frozenset(
    [
        "7z",
        "arrow",
        "avro",
        "bin",
        "bz2",
        "ckpt",
        "ftz",
        "gguf",
        "gz",
        "h5",
        "joblib",
        "lz4",
        "mds",
        "mlmodel",
        "model",
        "msgpack",
        "npy",
        "npz",
        "onnx",
        "ot",
        "parquet",
        "pb",
        "pickle",
        "pkl",
        "pt",
        "pth",
        "rar",
        "safetensors",
        "tar",
        "tflite",
        "tgz",
        "wasm",
        "xz",
        "zip",
        "zst",
        "bmp",
        "gif",
        "png",
        "tiff",
        "jpg",
        "jpeg",
        "webp",
        "mp3",
        "ogg",
        "wav",
        "flac",
        "aac",
        "mp4",
        "webm",
        "pdf",
    ]
)
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")


class Exists(Conflict):
    """A repository or ref of that name is there already."""


class Stale(Busy):
    """The branch has moved since the parent that a commit names."""


@dataclass(frozen=True)
class File:
    """A file of a commit: content, bytes, whether clients see it as LFS, git's object id for it."""

    sha256: str
    size: int
    lfs: bool
    oid: str


@dataclass(frozen=True)
class Commit:
    """A whole state of a repository."""

    id: str
    parent: str
    title: str
    message: str
    author: str
    created: float
    files: dict[str, File]


@dataclass(frozen=True)
class Repository:
    """A repository's row."""

    id: int
    kind: str
    name: str
    author: str
    private: bool
    gated: str
    created: float
    modified: float
    downloads: int
    tags: list[str]
    card: JsonObject


@dataclass
class Change:
    """What a commit does: files to set, files and folders to remove, files to copy from another state."""

    title: str
    message: str = ""
    parent: str = ""
    put: dict[str, File] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    removed_folders: list[str] = field(default_factory=list)
    copied: list[tuple[str, str, str]] = field(
        default_factory=list
    )  # source path, source revision, target path


def git_oid(kind: str, data: bytes) -> str:
    """The id that git gives a blob or a tree of this content (SHA-1 over a header and the bytes)."""
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def lfs_file(sha256: str, size: int) -> File:
    """A file that clients see as LFS."""
    return File(sha256, size, True, git_oid("blob", pointer(sha256, size)))


def check_repository_name(name: str) -> None:
    """Raises UsageError unless a repository can have this name (the rules of huggingface_hub's
    validate_repo_id).
    """
    parts = name.split("/")
    if (
        len(parts) > 2
        or len(name) > 96
        or "--" in name
        or ".." in name
        or name.endswith(".git")
        or not all(map(_PART.fullmatch, parts))
    ):
        raise UsageError(
            f"{name[:120]!r} cannot name a repository",
            "use org/name of letters, digits, dot, dash and underscore, 96 at most",
        )


def repository_of(row: sa.Row[Any]) -> Repository:
    """From a row of the table of repositories."""
    return Repository(
        row.id,
        row.kind,
        row.name,
        row.author,
        row.private,
        row.gated,
        row.created,
        row.modified,
        row.downloads,
        row.tags,
        row.card,
    )


def commit_of(row: sa.Row[Any]) -> Commit:
    """From a row of the table of commits."""
    files = {path: File(*values) for path, values in row.files.items()}
    return Commit(row.id, row.parent, row.title, row.message, row.author, row.created, files)
