"""Compressed files and archives, unpacked into memory while a count stops what swells."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from freehold.core.errors import BadData, DoesNotFit, Unsupported
from freehold.data.bounds import Bound
from freehold.data.draft import quoted

#: Name endings of compressed files and of archives that hold one file.
ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip")
DATA_ENDINGS = (
    ".jsonl",
    ".ndjson",
    ".jsonlines",
    ".json",
    ".csv",
    ".tsv",
    ".tab",
    ".txt",
    ".parquet",
    ".arrow",
    ".feather",
    ".xlsx",
    ".xlsm",
    ".xls",
    ".xlsb",
    ".ods",
)
_BLOCK_BYTES = 1 << 20


def unpack(name: str, content: Path | bytes, kind: str) -> bytes:
    """What a file of kind gzip, zstd, bz2 or xz holds. Raises BadData, DoesNotFit."""
    try:
        with _opened(content, kind) as stream:
            data = _contents(name, stream)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadData(
            f"{name} cannot be unpacked; it is damaged or cut off ({error})", "Download it or pack it again"
        ) from error
    if data[257:262] == b"ustar":
        raise Unsupported(f"{name} is a tar archive", "Unpack it and pass the folder or the file")
    return data


def _contents(name: str, stream: IO[bytes]) -> bytes:
    """All that a stream gives, whatever the file says of its size. Raises DoesNotFit while it swells."""
    bound = Bound(name)
    parts: list[bytes] = []
    while block := stream.read(_BLOCK_BYTES):
        bound.more(len(block))
        parts.append(block)
    return b"".join(parts)


def _opened(content: Path | bytes, kind: str) -> Any:
    # by its path, so that closing the reader closes the file beneath it too
    file = content if isinstance(content, Path) else io.BytesIO(content)
    if kind == "zstd":
        import pyarrow as pa

        return pa.input_stream(str(file) if isinstance(file, Path) else file, compression="zstd")
    return {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}[kind](file)


def inner_name(name: str) -> str:
    """The name of what a compressed file holds."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in ENDINGS else name


def archive_kind(name: str, content: Path | bytes) -> str:
    """``sheets`` for a spreadsheet, ``zip`` for an archive of files. Raises Unsupported for documents,
    BadData for damage.
    """
    with open_zip(name, content) as archive:
        names = set(archive.namelist())
        kind = _first_bytes(archive, "mimetype") if "mimetype" in names else ""
    if "opendocument.spreadsheet" in kind or names & {"xl/workbook.xml", "xl/workbook.bin"}:
        return "sheets"
    for mark, what in (("word/", "a Word document"), ("ppt/", "a presentation")):
        if any(each.startswith(mark) for each in names):
            raise Unsupported(
                f"{name} is {what}, not a table of rows", "Save the rows as CSV, JSONL, Excel or Parquet"
            )
    if kind:
        raise Unsupported(
            f"{name} is a document ({kind}), not a table of rows",
            "Save the rows as CSV, JSONL, Excel or Parquet",
        )
    return "zip"


def _first_bytes(archive: zipfile.ZipFile, member: str) -> str:
    with archive.open(member) as stream:
        return stream.read(200).decode("ascii", "replace")


def open_zip(name: str, content: Path | bytes) -> zipfile.ZipFile:
    """Raises BadData for a damaged archive, DoesNotFit for one whose files are more than memory takes."""
    try:
        archive = zipfile.ZipFile(content if isinstance(content, Path) else io.BytesIO(content))
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise BadData(
            f"{name} cannot be opened; it is damaged or cut off ({error})", "Download or save it again"
        ) from error
    try:
        Bound(name).check(sum(entry.file_size for entry in archive.infolist()))
    except DoesNotFit:
        archive.close()
        raise
    return archive


def single_member(name: str, content: Path | bytes) -> tuple[str, bytes]:
    """(name, bytes) of the one data file in an archive. Raises BadData where there are none or several."""
    with open_zip(name, content) as archive:
        members = [entry for entry in archive.infolist() if _is_data(entry.filename)]
        if len(members) != 1:
            what = (
                f"{len(members)} data files: {quoted(m.filename for m in members)}"
                if members
                else "no data file"
            )
            raise BadData(f"{name} contains {what}", "Unpack it and pass the file or the folder")
        try:
            with archive.open(members[0]) as stream:
                return f"{name}/{members[0].filename}", _contents(name, stream)
        except (RuntimeError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            reason = "it is encrypted" if "password" in str(error) else str(error)
            raise BadData(
                f"{members[0].filename} in {name} cannot be unpacked ({reason})",
                "Unpack it and pass the file",
            ) from error


def _is_data(member: str) -> bool:
    path = PurePosixPath(member)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    name = inner_name(path.name).lower()
    return not hidden and not member.endswith("/") and name.endswith(DATA_ENDINGS)
