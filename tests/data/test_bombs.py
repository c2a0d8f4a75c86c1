"""Small files that stand for much more: each is refused with a sentence, in a process with little memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freehold.data import columnar
from freehold.data.bounds import Bound
from tests.data.test_sheets import HEADER, ROWS, xlsx

#: Address space of the reading process: whoever lays a bomb out in full goes beyond it.
LIMIT_BYTES = 2 << 30
#: Resident memory that no refusal may need: Python and pyarrow take up to 200 MB of it.
MOST_RESIDENT_MB = 900
_READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
from freehold.data import queries
from freehold.data.readers import read_tables
from freehold.core.errors import FreeholdError
queries.LONGEST_QUERY_S = 1.0
try:
    table = read_tables(sys.argv[1])["train"]
    print("read", len(table.rows), len(table.faults))
except FreeholdError as error:
    print(type(error).__name__, error.message, error.remedy)
resident = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("resident", resident // 1024)
"""


def outcome(source: str | Path, limit: int = LIMIT_BYTES) -> str:
    """What reading says, in one line; memory beyond :data:`MOST_RESIDENT_MB` is a failure of the test."""
    words = [sys.executable, "-c", _READ.format(limit=limit), str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-500:]
    said, _, resident = done.stdout.rpartition("resident")
    assert int(resident) < MOST_RESIDENT_MB
    return " ".join(said.split())


def one_text(size: int) -> pa.Array:
    return pa.array(["x" * size])


def often(text: pa.Array, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), text)


def in_a_list(array: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)


def viewed(count: int, size: int) -> pa.Array:
    views = struct.pack("<i4sii", size, b"xxxx", 0, 0) * count
    return pa.Array.from_buffers(
        pa.string_view(), count, [None, pa.py_buffer(views), pa.py_buffer(b"x" * size)]
    )


def parquet(array: pa.Array) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": array}), sink, compression="zstd")
    return sink.getvalue()


def arrow(array: pa.Array) -> bytes:
    table, sink = pa.table({"text": array}), io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def runs(count: int, size: int) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([count], pa.int32()), one_text(size))


def zipped(content: bytes, size: int = 0) -> bytes:
    """An archive of one CSV file; ``size``: what it says of it, if that is a lie."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", content)
    data = bytearray(buffer.getvalue())
    if size:
        entry = data.rfind(b"PK\x01\x02")
        data[entry + 24 : entry + 28] = data[22:26] = struct.pack("<I", size)
    return bytes(data)


def sheet(old: str, new: str) -> bytes:
    source, buffer = xlsx({"Jan": [HEADER, *ROWS]}), io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(source)) as given,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for name in given.namelist():
            made.writestr(name, given.read(name).replace(old.encode(), new.encode()))
    return buffer.getvalue()


FAR = '<row r="1048576"><c s="0" r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row></sheetData>'
LOL = '<!DOCTYPE x [<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(10)
)

#: File -> (its content, a part of what is said).
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "dictionary.parquet": (lambda: parquet(often(one_text(24_000_000), 400)), "DoesNotFit"),
    "dictionary-in-a-list.parquet": (
        lambda: parquet(in_a_list(often(one_text(2_000_000), 2000))),
        "DoesNotFit",
    ),
    "runs.parquet": (lambda: parquet(pa.array([1] * 40_000_000, pa.int8())), "DoesNotFit"),
    "list.parquet": (lambda: parquet(in_a_list(pa.nulls(30_000_000, pa.int8()))), "DoesNotFit"),
    "columns.parquet": (lambda: _columns_parquet(20_000), "has 20,000 columns; at most 10,000 can be read"),
    "dictionary.arrow": (lambda: arrow(often(one_text(10_000_000), 3000)), "DoesNotFit"),
    "dictionary-in-a-list.arrow": (lambda: arrow(in_a_list(often(one_text(10_000_000), 3000))), "DoesNotFit"),
    "compressed.arrow": (lambda: arrow(pa.array(["x" * 10_000_000] * 20)), "DoesNotFit"),
    "views.arrow": (lambda: arrow(viewed(3000, 10_000_000)), "DoesNotFit"),
    "runs.arrow": (lambda: arrow(runs(100_000_000, 1000)), "DoesNotFit"),
    "nulls.arrow": (lambda: arrow(pa.nulls(200_000_000)), "DoesNotFit"),
    "zeros.csv.gz": (lambda: gzip.compress(b"a,b\n" + b"\0" * 200_000_000), "DoesNotFit"),
    "letters.csv.xz": (lambda: lzma.compress(b"a,b\n" + b"x" * 200_000_000), "DoesNotFit"),
    "objects.jsonl.bz2": (lambda: bz2.compress(b'{"a":1}\n' * 5_000_000), "DoesNotFit"),
    "lines.csv.gz": (lambda: gzip.compress(b"a,b\n" + b"\n" * 40_000_000), "DoesNotFit"),
    "large.zip": (lambda: zipped(b"1" * 200_000_000), "DoesNotFit"),
    "lying.zip": (lambda: zipped(b"a,b\n" + b"1" * 200_000_000, 100), "rows.csv"),
    "field.csv": (lambda: b'text,label\n"' + b"x" * 300_000 + b'",a\nb,c\n', "read 2 0"),
    "columns.csv": (
        lambda: b",".join([b"a"] * 300_000) + b"\n" + b",".join([b"1"] * 300_000),
        "300,000 columns",
    ),
    "keys.jsonl": (
        lambda: "".join(
            json.dumps({f"k{row}_{n}": 1 for n in range(50)}) + "\n" for row in range(300)
        ).encode(),
        "columns; at most 10,000 can be read",
    ),
    "repeated.jsonl": (
        lambda: b"{" + b",".join(b'"k%d":1' % (n // 2 + 3000) for n in range(6000, 0, -1)) + b"}\n",
        "read 1 0",
    ),
    "deep.json": (lambda: b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
    "deep.jsonl": (lambda: b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b'}\n{"a":1}\n', "read 1 1"),
    "digits.jsonl": (lambda: b'{"a":' + b"9" * 1_000_000 + b'}\n{"a":1}\n', "read 1 1"),
    "far.xlsx": (lambda: sheet("</sheetData>", FAR), "memory when all of its cells are laid out"),
    "entities.xlsx": (lambda: sheet("<worksheet", f"{LOL}]><worksheet"), "read"),
    "spaces.xlsx": (lambda: sheet("</sheetData>", " " * 200_000_000 + "</sheetData>"), "DoesNotFit"),
}


def _columns_parquet(count: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({f"c{n}": pa.array([1], pa.int8()) for n in range(count)}), sink)
    return sink.getvalue()


#: Those that take seconds to write and to unpack.
SLOW = {"letters.csv.xz", "zeros.csv.gz", "spaces.xlsx", "objects.jsonl.bz2", "views.arrow"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BOMBS]
)
def test_a_file_that_expands_is_refused_before_it_has_expanded(tmp_path: Path, name: str) -> None:
    content, says = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(content())
    assert path.stat().st_size < 20_000_000
    assert says in outcome(path)


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (
            (
                "with recursive r(n) as (select 1 union all select n + 1 from r) select n as a from r where"
                " n < 0"
            ),
            "did not end within 1 s",
        ),
        (
            "with recursive r(n) as (select 1 union all select n + 1 from r) select n as a from r",
            "DoesNotFit",
        ),
        ("select zeroblob(900000000) as a", "larger than the memory"),
        ("select replace(hex(zeroblob(100000000)), '0', 'xxxxxxxx') as a", "larger than the memory"),
    ],
)
def test_a_view_that_does_not_end_or_grows_is_stopped(tmp_path: Path, view: str, says: str) -> None:
    path = tmp_path / "rows.db"
    connection = sqlite3.connect(path)
    connection.execute(f"create view v as {view}")
    connection.close()
    assert says in outcome(f"sqlite:{path}?SELECT * FROM v")


def test_ordinary_files_of_the_same_kinds_are_read_in_the_same_memory(tmp_path: Path) -> None:
    rows = 200_000
    table = pa.table(
        {"text": [f"row {n} of an ordinary file" for n in range(rows)], "label": ["a", "b"] * (rows // 2)}
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    lines = "".join(f"row {n} of an ordinary file,{'ab'[n % 2]}\n" for n in range(rows))
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(f"text,label\n{lines}".encode()))
    for name in ("rows.parquet", "rows.csv.gz"):
        assert outcome(tmp_path / name) == f"read {rows} 0"


def test_texts_of_an_ordinary_file_are_written_out_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[list[str]] = []
    real = pq.ParquetFile

    def spied(source: pa.NativeFile, read_dictionary: list[str] | None = None) -> pq.ParquetFile:
        opened.append(read_dictionary or [])
        return real(source, read_dictionary=read_dictionary)

    monkeypatch.setattr(pq, "ParquetFile", spied)
    texts = [f"text {n} of an ordinary file, which is longer than a few words" for n in range(20_000)]
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"] * 10_000}), tmp_path / "rows.parquet")
    bound = Bound("rows.parquet", free_bytes=12 << 30)
    source = pa.memory_map(str(tmp_path / "rows.parquet"))
    _, *batches = columnar._parquet(source, bound)
    assert opened == [[], []]
    assert [value for batch in batches for value in batch.column("text").to_pylist()] == texts


def test_a_head_of_a_page_that_lies_is_stopped_by_the_bound(tmp_path: Path) -> None:
    content = bytearray(parquet(often(one_text(24_000_000), 400)))
    head = content.index(
        b"\x15\x04\x15", 4
    )  # a dictionary's page, then its bytes as a number of four or five digits
    end = head + 3
    while content[end] & 0x80:
        end += 1
    content[head + 3 : end + 1] = b"\x90" + b"\x80" * (end - head - 4) + b"\x00"
    (tmp_path / "lies.parquet").write_bytes(content)
    assert "cannot be read as Parquet" in outcome(tmp_path / "lies.parquet")


@pytest.mark.slow
def test_a_cell_of_deep_json_is_text_and_no_fault_of_freehold(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    deep = '"' + "[" * 50_000 + "]" * 50_000 + '"'
    path.write_text("text,label\n" + "".join(f"a text {n},{deep}\n" for n in range(70)))
    words = [
        sys.executable,
        "-m",
        "freehold.cli.main",
        "trial",
        str(path),
        "--columns",
        "text=text,label=label",
    ]
    environment = {**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 5
    assert "has a fault" not in done.stderr
