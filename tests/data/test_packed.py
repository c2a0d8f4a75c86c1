"""Compressed files and archives of one: what is in them is read, and nothing stays open."""

from __future__ import annotations

import bz2
import gc
import gzip
import lzma
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core.errors import BadData, Unsupported
from freehold.data.packed import archive_kind, inner_name, single_member
from freehold.data.readers import read_tables

ROWS = b"text,label\ncard is lost,card\npin is wrong,pin\n"
PACKED = pytest.mark.parametrize(
    ("name", "pack"), [("r.csv.gz", gzip.compress), ("r.csv.bz2", bz2.compress), ("r.csv.xz", lzma.compress)]
)
Pack = Callable[[bytes], bytes]


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, data in members.items():
            made.writestr(name.replace("__", "/").replace("_", "."), data)
    return path


@PACKED
def test_what_is_compressed_is_read_as_what_it_holds(name: str, pack: Pack, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(ROWS))
    (table,) = read_tables(tmp_path / name).values()
    assert [row.fields["label"] for row in table.rows] == ["card", "pin"]


@pytest.mark.xfail(strict=True, reason="the file beneath is left to the collector of garbage")
@PACKED
def test_no_file_stays_open(name: str, pack: Pack, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(ROWS))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        read_tables(tmp_path / name)
        gc.collect()
    assert [str(warning.message) for warning in heard if warning.category is ResourceWarning] == []


@PACKED
def test_a_file_that_was_cut_off_is_refused(name: str, pack: Pack, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(ROWS * 500)[:-20])
    with pytest.raises(BadData, match=name):
        read_tables(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "inner"), [("a.csv.gz", "a.csv"), ("a.JSONL.ZST", "a.JSONL"), ("a.csv", "a.csv"), ("a.gz", "a")]
)
def test_the_name_of_what_a_compressed_file_holds(name: str, inner: str) -> None:
    assert inner_name(name) == inner


def test_an_archive_of_one_data_file_is_that_file(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", rows_csv=ROWS, README_md=b"x", __MACOSX__rows_csv=b"x")
    name, data = single_member("a.zip", path)
    assert (name, data) == ("a.zip/rows.csv", ROWS)


def test_an_archive_of_none_or_several_is_refused_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no data file"):
        single_member("a.zip", archive(tmp_path / "a.zip", README_md=b"x"))
    with pytest.raises(BadData, match="2 data files.*train.csv"):
        single_member("b.zip", archive(tmp_path / "b.zip", train_csv=ROWS, test_csv=ROWS))


def test_documents_are_told_from_sheets_and_archives(tmp_path: Path) -> None:
    assert archive_kind("a.zip", archive(tmp_path / "a.zip", rows_csv=ROWS)) == "zip"
    assert archive_kind("a.xlsx", archive(tmp_path / "a.xlsx", xl__workbook_xml=b"x")) == "sheets"
    with pytest.raises(Unsupported, match="a Word document"):
        archive_kind("a.docx", archive(tmp_path / "a.docx", word__document_xml=b"x"))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", rows_csv=ROWS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadData, match=r"a.zip cannot be opened"):
        archive_kind("a.zip", path)
