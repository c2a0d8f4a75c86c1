"""What a file is by its first bytes, whatever its name says, and a sentence for what holds no rows."""

from __future__ import annotations

import re

from freehold.core.errors import BadData, Unsupported

_HEAD_BYTES = 1 << 16
#: First bytes -> kind, for kinds that rows are read from.
_SIGNATURES = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"FEA1", "feather"),
    (b"\xff\xff\xff\xff", "stream"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xd0\xcf\x11\xe0", "ole"),
    (b"SQLite format 3\x00", "sqlite"),
)
#: First bytes of files without rows -> what they are.
_WITHOUT_ROWS = (
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"GGUF", "a model in GGUF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)?(?:<!doctype html|<html|<head|<body)", re.IGNORECASE | re.DOTALL)
_XML = re.compile(rb"\s*<\?xml", re.IGNORECASE)
_REMEDY = "Save the rows as CSV, JSONL, Excel or Parquet"


def kind_of(name: str, data: bytes) -> str:
    """One of the kinds of :data:`_SIGNATURES`, ``text`` or ``empty``. Raises BadData, Unsupported for what
    holds no rows.
    """
    head = data[:_HEAD_BYTES]
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        return "empty"
    kind = next((kind for mark, kind in _SIGNATURES if head.startswith(mark)), "")
    if kind:
        return kind
    other = next((what for mark, what in _WITHOUT_ROWS if head.startswith(mark)), "")
    if other or _PICKLE.match(head):
        raise Unsupported(f"{name} is {other or 'a pickle'}, not a table of rows", _REMEDY)
    if head.startswith(b"version https://git-lfs"):
        raise BadData(
            f"{name} is a Git LFS pointer, not the data", "Run 'git lfs pull' in the folder it was cloned to"
        )
    _refuse_markup(name, head.removeprefix(b"\xef\xbb\xbf"))
    if _is_binary(head):
        raise Unsupported(f"{name} is a binary file of an unknown kind", _REMEDY)
    return "text"


def _refuse_markup(name: str, head: bytes) -> None:
    if _HTML.match(head):
        raise BadData(
            f"{name} is a web page (HTML), not data",
            "Download the file itself; this may be a login page",
        )
    if _XML.match(head):
        raise Unsupported(f"{name} is XML", _REMEDY)


def _is_binary(head: bytes) -> bool:
    """Whether bytes are no text in any encoding: control characters, or zeros not at every second."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return False
    zeros = head.count(0)
    if zeros > 0.2 * len(head):
        half = len(head) // 2
        return not (head[::2].count(0) < 0.05 * half or head[1::2].count(0) < 0.05 * half)
    controls = sum(head.count(code) for code in [*range(1, 9), *range(14, 27), *range(28, 32)])
    return zeros > max(16, 0.01 * len(head)) or controls > max(4, 0.01 * len(head))
