"""Any source of rows becomes tables: a file of any kind, a folder of splits, a query."""

from __future__ import annotations

from pathlib import Path

from freehold.data.bounds import Bound
from freehold.data.columnar import read_columnar
from freehold.data.delimited import read_delimited
from freehold.data.draft import Draft
from freehold.data.encodings import decode
from freehold.data.json_rows import looks_like_json, read_json
from freehold.data.kinds import kind_of
from freehold.data.table import Table
from freehold.durable import sha256_file
from freehold.errors import BadData, NotFound

_HEAD_BYTES = 1 << 16
_COLUMNAR = ("parquet", "arrow", "stream", "feather")
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", ".jsonlines")


def read_tables(source: str | Path, encoding: str = "") -> dict[str, Table]:
    """Tables by split ("train", "valid", "test"); a single file gives "train".

    ``source`` is a file, a folder or ``sqlite:FILE?QUERY``; ``encoding`` is that of text files, found out where it is not given.
    Raises NotFound, BadData, Unsupported, UsageError, DoesNotFit.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise NotFound(f"there is no data file {path}", "Check the path")
    drafts = read_file(path, path.name, encoding)
    digest = sha256_file(path)
    return {split: draft.table(digest) for split, draft in drafts.items()}


def read_file(path: Path, name: str, encoding: str) -> dict[str, Draft]:
    """The rows of one file by split. ``name`` is what messages call it."""
    with path.open("rb") as file:
        kind = kind_of(name, file.read(_HEAD_BYTES))
    if kind == "empty":
        raise BadData(f"{name} is empty", "Give a file with rows")
    if kind in _COLUMNAR:
        drafts = {"train": read_columnar(name, path, kind)}
    else:
        Bound(name).check(path.stat().st_size)
        drafts = read_text(name, path.read_bytes(), path.suffix.lower(), encoding)
    if not any(draft.rows or draft.faults for draft in drafts.values()):
        raise BadData(f"{name} holds no rows", "Give a file with rows")
    return drafts


def read_text(name: str, data: bytes, suffix: str, encoding: str) -> dict[str, Draft]:
    """The rows of a text file, JSON or delimited, whatever its name says."""
    text, note = decode(name, data, encoding)
    is_json = looks_like_json(text) if suffix not in _JSON_SUFFIXES else True
    drafts = read_json(name, text) if is_json else {"train": read_delimited(name, text, suffix)}
    for draft in drafts.values():
        draft.notes[:0] = [note] if note else []
    return drafts
