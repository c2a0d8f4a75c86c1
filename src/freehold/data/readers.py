"""Any source of rows becomes tables: a file of any kind, a folder of splits, a query."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from freehold.core.atomic_files import digest_of, sha256_file
from freehold.core.errors import BadData, NotFound, Unsupported, UsageError
from freehold.data.bounds import Bound, within_memory
from freehold.data.columnar import read_columnar
from freehold.data.delimited import read_delimited, sniff
from freehold.data.draft import Draft, quoted
from freehold.data.encodings import decode
from freehold.data.fasttext import looks_like_fasttext, read_fasttext
from freehold.data.folders import Choice, choose_files
from freehold.data.json_rows import looks_like_json, read_json
from freehold.data.kinds import kind_of
from freehold.data.packed import archive_kind, inner_name, single_member, unpack
from freehold.data.queries import read_query
from freehold.data.sheets import read_sheets
from freehold.data.table import Table

_HEAD_BYTES = 1 << 16
_COLUMNAR = ("parquet", "arrow", "stream", "feather")
_COMPRESSED = ("gzip", "zstd", "bz2", "xz")
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", ".jsonlines")
_TEXT_SUFFIXES = (*_JSON_SUFFIXES, ".csv", ".tsv", ".tab", ".txt", "")
_SHEET_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
#: Where rows may lie that this room cannot reach.
_REMOTE = ("hub:", "hf:", "http:", "https:", "s3:", "kaggle:")


def read_tables(source: str | Path, encoding: str = "") -> dict[str, Table]:
    """Tables by split ("train", "valid", "test"); a single file gives "train".

    ``source`` is a file, ``FILE.xlsx#SHEET``, a folder or ``sqlite:FILE?QUERY``; ``encoding`` is that of
    text files, found out where it is not given. Raises NotFound, BadData, Unsupported, UsageError,
    DoesNotFit.
    """
    text = str(source)
    if text.startswith("sqlite:"):
        return {"train": _queried(text.removeprefix("sqlite:"))}
    path = Path(text).expanduser()
    if os.path.isdir(path):
        return _folder(path, encoding)
    sheet = ""
    if not os.path.lexists(path) and "#" in path.name:
        name, _, sheet = path.name.rpartition("#")
        path = path.with_name(name)
    if not os.path.exists(path):
        if text.startswith(_REMOTE):
            raise UsageError(
                f"{text!r} is not on this machine and must be downloaded first",
                "Pass a file or a folder on this machine",
            )
        raise NotFound(f"there is no data file {path}", "Check the path")
    with within_memory(path.name):
        drafts = _file(path, encoding, sheet)
    digest = sha256_file(path)
    return {split: draft.table(digest) for split, draft in drafts.items()}


def _queried(rest: str) -> Table:
    with within_memory(rest.partition("?")[0]):
        draft = read_query(rest)
    if not draft.rows and not draft.faults:
        raise BadData(f"the query on {draft.name} returned no rows", "Fix the query")
    return draft.table(digest_of([row.fields for row in draft.rows]))


def _folder(folder: Path, encoding: str) -> dict[str, Table]:
    """The tables of a folder's files, each with a sentence on which file it came from."""
    choice = choose_files(folder)
    tables: dict[str, Table] = {}
    for split, paths in choice.files.items():
        parts = [_only_table(path, encoding) for path in paths]
        table = parts[0] if len(parts) == 1 else _joined(parts)
        names = quoted(path.relative_to(folder).as_posix() for path in paths)
        tables[split] = replace(table, notes=(f"The {split} rows are those of {names}.", *table.notes))
    return _with_unread(folder, choice, tables)


def _only_table(path: Path, encoding: str) -> Table:
    with within_memory(path.name):
        drafts = _file(path, encoding, "")
    if len(drafts) > 1 or "train" not in drafts:
        raise BadData(
            f"the file {path.name} has several splits in it", "Pass this file instead of its folder"
        )
    return drafts["train"].table(sha256_file(path))


def _joined(parts: list[Table]) -> Table:
    """Shards as one table."""
    columns = tuple(dict.fromkeys(column for part in parts for column in part.columns))
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return Table(
        parts[0].name,
        digest_of([part.digest for part in parts]),
        columns,
        tuple(row for part in parts for row in part.rows),
        notes,
        tuple(fault for part in parts for fault in part.faults),
    )


def _with_unread(folder: Path, choice: Choice, tables: dict[str, Table]) -> dict[str, Table]:
    if choice.unread:
        first = next(iter(tables))
        names = quoted(path.relative_to(folder).as_posix() for path in choice.unread)
        note = f"Files in the folder that are not used: {names}."
        tables[first] = replace(tables[first], notes=(*tables[first].notes, note))
    return tables


def _file(path: Path, encoding: str, sheet: str) -> dict[str, Draft]:
    """The rows of one file by split. Raises as :func:`read_tables` does."""
    if not path.is_file():
        raise BadData(f"{path} is not a file", "Pass a file with rows")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except PermissionError as error:
        raise BadData(
            f"{path} cannot be opened: permission denied", "Change its permissions, e.g. with chmod u+r"
        ) from error
    drafts = _contents(path.name, path, head, encoding, sheet)
    _check_filled(path.name, drafts)
    return drafts


def _check_filled(name: str, drafts: dict[str, Draft]) -> None:
    if any(draft.rows or draft.faults for draft in drafts.values()):
        return
    columns = next((draft.columns for draft in drafts.values() if draft.columns), [])
    raise BadData(f"{name} has {'a header but ' if columns else ''}no rows", "Pass a file with rows")


def _contents(name: str, content: Path | bytes, head: bytes, encoding: str, sheet: str) -> dict[str, Draft]:
    """Rows of a file, or of the bytes of a compressed one, by what it is."""
    kind = kind_of(name, head)
    suffix = Path(inner_name(name)).suffix.lower()
    if kind == "empty":
        raise BadData(f"{name} is empty", "Pass a file with rows")
    if kind in _COMPRESSED:
        data = unpack(name, content, kind)
        return _inner(name, data, encoding, sheet)
    if kind == "zip" and (kind := archive_kind(name, content)) == "zip":
        return _inner(*single_member(name, content), encoding, sheet)
    if kind == "sqlite":
        raise UsageError(
            f"{name} is an SQLite file; it needs a query that says which rows to read",
            f'Write "sqlite:{name}?SELECT ..."',
        )
    drafts = _rows(name, content, kind, suffix, encoding, sheet)
    if note := _other_kind(kind, suffix):
        next(iter(drafts.values())).notes.insert(0, note)
    return drafts


def _inner(name: str, data: bytes, encoding: str, sheet: str) -> dict[str, Draft]:
    head = data[:_HEAD_BYTES]
    if kind_of(name, head) in _COMPRESSED:
        raise Unsupported(f"{name} is packed twice", "Unpack it first")
    return _contents(name, data, head, encoding, sheet)


def _rows(
    name: str, content: Path | bytes, kind: str, suffix: str, encoding: str, sheet: str
) -> dict[str, Draft]:
    if kind in _COLUMNAR:
        return {"train": read_columnar(name, content, kind)}
    if kind in ("sheets", "ole"):
        return {"train": read_sheets(name, content, sheet)}
    if sheet:
        raise UsageError(
            f"{name} is not a spreadsheet, so it has no sheet {sheet!r}", "Leave out the part after #"
        )
    if isinstance(content, Path):
        Bound(name).check(content.stat().st_size)
        content = content.read_bytes()
    return _text(name, content, suffix, encoding)


def _other_kind(kind: str, suffix: str) -> str:
    """A sentence where a name says something else than the bytes."""
    if kind == "text":
        return (
            "The file is text, although its name says something else." if suffix not in _TEXT_SUFFIXES else ""
        )
    if kind in ("sheets", "ole"):
        return (
            ""
            if suffix in _SHEET_SUFFIXES
            else "The file is a spreadsheet, although its name says something else."
        )
    what = "Parquet" if kind == "parquet" else "Arrow"
    return (
        f"The file is {what}, although its name says something else."
        if suffix in (*_TEXT_SUFFIXES, *_SHEET_SUFFIXES) and suffix
        else ""
    )


def _text(name: str, data: bytes, suffix: str, encoding: str) -> dict[str, Draft]:
    """The rows of a text file, JSON or delimited, whatever its name says."""
    text, note = decode(name, data, encoding)
    if looks_like_fasttext(text):
        draft = read_fasttext(name, text)
        draft.notes[:0] = [note] if note else []
        return {"train": draft}
    named_json = suffix in _JSON_SUFFIXES
    is_json = _reads_as_json(text) if named_json else looks_like_json(text)
    drafts = read_json(name, text) if is_json else {"train": read_delimited(name, text, suffix)}
    first = next(iter(drafts.values()))
    if is_json != named_json and suffix in _TEXT_SUFFIXES and suffix not in ("", ".txt"):
        first.notes.insert(
            0,
            f"The file is {'JSON' if is_json else 'delimited text'}, although its name says something else.",
        )
    if note:
        first.notes.insert(0, note)
    return drafts


def _reads_as_json(text: str) -> bool:
    """Whether the text of a file that is called JSON is to be read so: unless its lines split evenly at a
    delimiter.
    """
    if text.lstrip()[:1] in ("{", "["):
        return True
    return sniff(text.splitlines(keepends=True)[:300], "") is None
