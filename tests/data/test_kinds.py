"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from freehold.core.errors import BadData, Unsupported
from freehold.data.kinds import kind_of


def table(write: object) -> bytes:
    out = io.BytesIO()
    write(pa.table({"a": [1]}), out)  # type: ignore[operator]
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", "a")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"text,label\na,b\n", "text"),
        (b'{"a": 1}', "text"),
        ("\ufeffa,b".encode(), "text"),
        ("a,\u00e9\n".encode("latin-1") * 5, "text"),
        ("a,b\nc,d\n".encode("utf-16"), "text"),
        ("a,b\nc,d\n".encode("utf-16-le"), "text"),
        (b"a\x00b" + b"text " * 100, "text"),
        (b"", "empty"),
        (b"\xef\xbb\xbf\r\n  ", "empty"),
        (gzip.compress(b"a"), "gzip"),
        (bz2.compress(b"a"), "bz2"),
        (lzma.compress(b"a"), "xz"),
        (zipped(), "zip"),
        (table(pyarrow.parquet.write_table), "parquet"),
        (table(pyarrow.feather.write_feather), "arrow"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    ],
)
def test_the_first_bytes_say_what_a_file_is(data: bytes, kind: str) -> None:
    assert kind_of("rows.csv", data) == kind


def test_a_database_is_known(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("create table a (b)")
    connection.close()
    assert kind_of("rows.txt", (tmp_path / "a.db").read_bytes()) == "sqlite"


@pytest.mark.parametrize(
    ("data", "error", "phrase"),
    [
        (b"%PDF-1.7", Unsupported, "a PDF document"),
        (b"\x89PNG\r\n", Unsupported, "a picture"),
        (b"GGUF\x03", Unsupported, "a model in GGUF"),
        (b"\x7fELF", Unsupported, "a program"),
        (pickle.dumps([1]), Unsupported, "a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid", BadData, "Git LFS pointer"),
        (b"\n<!-- x -->\n<!DOCTYPE html><p>", BadData, "a web page"),
        (b"\xef\xbb\xbf<html>", BadData, "a web page"),
        (b"<?xml version='1.0'?>", Unsupported, "is XML"),
        (bytes(range(1, 32)) * 40, Unsupported, "unknown kind"),
        (bytes(4000), Unsupported, "unknown kind"),
    ],
)
def test_what_holds_no_rows_is_named(data: bytes, error: type[Exception], phrase: str) -> None:
    with pytest.raises(error, match=phrase):
        kind_of("rows.csv", data)
