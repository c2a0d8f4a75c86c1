"""What people's files are read as: each case writes a file and says what must come of it."""

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from freehold.core.errors import BadData, DoesNotFit, FreeholdError, NotFound, Unsupported, UsageError
from freehold.data.bounds import Bound
from freehold.data.readers import read_tables
from freehold.data.table import Table

TWO = [{"text": "hello, world", "label": "greeting"}, {"text": "bye", "label": "parting"}]
JSONL = "".join(json.dumps(row) + "\n" for row in TWO)
CSV = 'text,label\n"hello, world",greeting\nbye,parting\n'
SEMICOLONS = CSV.replace(",", ";").replace("hello;", "hello,")


@dataclass(frozen=True)
class Reads:
    """``notes`` and ``faults``: a part of each sentence, in order; there are no others."""

    name: str
    content: str | bytes
    rows: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    encoding: str = ""


@dataclass(frozen=True)
class Refuses:
    """``says``: a part of the sentence."""

    name: str
    content: str | bytes
    error: type[FreeholdError]
    says: str
    encoding: str = ""


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", ".").replace("_in_", "/"), text)
    return buffer.getvalue()


def fields(table: Table) -> list[dict[str, Any]]:
    return [row.fields for row in table.rows]


def ab(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in pairs]


def csv_of(*lines: str, header: str = "text,label") -> str:
    return "\n".join([header, *lines]) + "\n"


MANY = [(f"a message about thing {i}", ("billing", "login", "bug")[i % 3]) for i in range(12)]

JSON_CASES = [
    Reads("rows.jsonl", JSONL, TWO),
    Reads("rows.ndjson", JSONL, TWO),
    Reads("rows.jsonl", JSONL.replace("\n", "\r\n"), TWO),
    Reads("rows.jsonl", "\ufeff" + JSONL, TWO),
    Reads("rows.jsonl", "\n\n" + JSONL + "\n", TWO),
    Reads("rows.jsonl", JSONL.strip(), TWO),
    Reads("rows.jsonl", JSONL.replace("\n", ",\n"), TWO, notes=("2 lines end in a comma",)),
    Reads("rows.json", json.dumps(TWO), TWO),
    Reads("rows.json", json.dumps(TWO, indent=2), TWO),
    Reads("rows.json", "[\n" + ",\n".join(json.dumps(row) for row in TWO) + "\n]", TWO),
    Reads("rows.json", "[" + json.dumps(TWO[0]) + ", ]", TWO[:1]),
    Reads("rows.jsonl", json.dumps(TWO), TWO),
    Reads("rows.jsonl", json.dumps(TWO, indent=1), TWO),
    Reads("rows.json", JSONL, TWO),
    Reads("rows.json", "\n".join(json.dumps(row, indent=2) for row in TWO), TWO),
    Reads("rows.json", json.dumps(TWO[0], indent=2), TWO[:1]),
    Reads("rows.json", json.dumps({"data": TWO}), TWO, notes=('the list "data"',)),
    Reads(
        "rows.json", json.dumps({"version": 1, "rows": TWO}, indent=1), TWO, notes=('Not read: "version"',)
    ),
    Reads(
        "rows.json",
        json.dumps({"text": ["a", "b"], "label": ["x", "y"]}),
        ab(("a", "x"), ("b", "y")),
        notes=("columns",),
    ),
    Reads(
        "pandas.json",
        json.dumps({"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}}),
        ab(("a", "x"), ("b", "y")),
        notes=("columns",),
    ),
    Reads(
        "pandas.json",
        json.dumps({"columns": ["text", "label"], "index": [0], "data": [["a", "x"]]}),
        ab(("a", "x")),
        notes=('names in "columns"',),
    ),
    Reads("index.json", json.dumps({"r1": TWO[0], "r2": TWO[1]}), TWO, notes=("keys are not used",)),
    Reads(
        "chat.json",
        json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}],
    ),
    Reads("rows.jsonl", '{"text": "a\u2028b\x85c", "label": "x"}\n', ab(("a\u2028b\x85c", "x"))),
    Reads(
        "rows.jsonl",
        '{"text": "a", "label": NaN}\n{"text": "b", "label": 1}\n',
        ab(("a", None), ("b", 1)),
        notes=("1 row contains NaN",),
    ),
    Reads(
        "rows.jsonl",
        '{"text": "a", "label": "x", "label": "y"}\n',
        ab(("a", "y")),
        notes=('rows.jsonl, line 1, "label"',),
    ),
    Reads("rows.jsonl", JSONL + "{broken\n", TWO, faults=("rows.jsonl, line 3: is not valid JSON",)),
    Reads("rows.jsonl", "{broken\n" + JSONL, TWO, faults=("rows.jsonl, line 1: is not valid JSON",)),
    Reads("rows.jsonl", JSONL + '{"text": "cut of', TWO, faults=("rows.jsonl, line 3",)),
    Reads(
        "rows.jsonl",
        JSONL + '"text"\n3\nnull\n',
        TWO,
        faults=("line 3: is a text", "line 4: is a number", "line 5: is null"),
    ),
    Reads("rows.jsonl", JSONL + "{}\n", TWO, faults=("line 3: is an object without fields",)),
    Reads("rows.json", json.dumps([*TWO, [1]]), TWO, faults=("rows.json, row 3: is a list",)),
    Reads(
        "rows.jsonl",
        JSONL + '{"text": "cut \\ud83d", "label": "x"}\n',
        TWO,
        faults=('line 3: column "text": the text contains half',),
    ),
    Reads(
        "rows.jsonl",
        JSONL + '{"a": {"b": ["\\udc00"]}}\n',
        TWO,
        faults=('column "a": the text contains half of a character (\\udc00)',),
    ),
    Reads("rows.jsonl", '{"text": "\\ud83d\\ude00", "label": "x"}\n', ab(("😀", "x"))),
    Reads(
        "rows.jsonl",
        JSONL + '{"text": "a\\u0000b", "label": "x"}\n',
        TWO,
        faults=("contains a NUL character",),
    ),
    Reads("rows.jsonl", JSONL + '{"x": ' + "[" * 200_000 + "\n", TWO, faults=("are nested too deeply",)),
    Reads("rows.jsonl", JSONL + '{"x": ' + "[" * 300 + "]" * 300 + "}\n", TWO, faults=("levels deep",)),
    Reads("rows.jsonl", JSONL + '{"x": ' + "9" * 5000 + "}\n", TWO, faults=("too many digits",)),
    Reads("rows.txt", JSONL, TWO),
    Reads("rows.csv", JSONL, TWO, notes=("is JSON, although its name",)),
    Reads("rows.jsonl", CSV, TWO, notes=("is delimited text, although its name",)),
    Reads(
        "rows.json",
        '{"data": [{"text": "a", "label": 1, "label": NaN}]}',
        ab(("a", None)),
        notes=('key "label" appears twice', "NaN or Infinity", 'list "data"'),
    ),
    Reads("rows.json", json.dumps({"data": {"rows": TWO}}), TWO, notes=('the list "rows"',)),
    Reads(
        "rows.json",
        json.dumps({"features": [{"name": "text"}], "rows": [{"row_idx": 0, "row": TWO[0]}]}),
        TWO[:1],
        notes=('Not read: "features"',),
    ),
    Reads(
        "chats.jsonl",
        '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]\n' * 2,
        [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}] * 2,
        notes=("2 rows are lists of messages",),
    ),
    Reads("rows.jsonl", JSONL + "\0\0\0\0\0", TWO, faults=("line 3: is not valid JSON",)),
    Refuses("rows.jsonl", "{'text': 'a', 'label': None}\n" * 3, BadData, "double quotes"),
    Refuses("rows.json", "null", BadData, "each row is null"),
    Refuses("rows.json", json.dumps(json.dumps(TWO)), BadData, "each row is a text"),
    Refuses("rows.json", "[" * 200_000, BadData, "row 1: lists and objects are nested too deeply"),
    Refuses("rows.json", '{"a": ' + "[" * 200_000, BadData, "are nested too deeply"),
    Refuses("rows.json", json.dumps(TWO, indent=1)[:-9], BadData, "the file ends in the middle of a value"),
    Refuses("rows.json", '[{"text": "a"} {"text": "b"}]', BadData, "line 1 (row 1): not valid JSON, a comma"),
    Refuses("rows.json", '[\n{"text": "a"},\n{text: "b"}]', BadData, "rows.json, line 3 (row 2)"),
    Refuses("rows.json", "[[1, 2], [3, 4]]", BadData, "each row is a list"),
    Refuses(
        "rows.jsonl", '["a", "b"]\n["c", "d"]\n', BadData, "each row is a list, so its fields have no names"
    ),
    Refuses("rows.json", '["a", "b"]', BadData, "each row is a text"),
    Refuses("rows.json", "[]", BadData, "rows.json has no rows"),
    Refuses("rows.json", json.dumps({"good": TWO, "bad": TWO}), BadData, '2 lists of rows: "good", "bad"'),
]

DELIMITED_CASES = [
    Reads("rows.csv", CSV, TWO),
    Reads("rows.csv", "\ufeff" + CSV.replace("\n", "\r\n"), TWO),
    Reads("rows.csv", CSV.replace("\n", "\r"), TWO),
    Reads("rows.csv", SEMICOLONS, TWO, notes=("separated by semicolons",)),
    Reads("rows.tsv", "text\tlabel\nhello, world\tgreeting\nbye\tparting\n", TWO),
    Reads(
        "rows.csv", "text\tlabel\nhello, world\tgreeting\nbye\tparting\n", TWO, notes=("separated by tabs",)
    ),
    Reads("rows.txt", "text|label\nhello, world|greeting\nbye|parting\n", TWO, notes=("vertical bars",)),
    Reads("rows.tsv", CSV, TWO, notes=("separated by commas",)),
    Reads("rows.csv", "sep=;\n" + SEMICOLONS, TWO, notes=("separated by semicolons",)),
    Reads("rows.csv", csv_of('"one\ntwo",x', "three,y"), ab(("one\ntwo", "x"), ("three", "y"))),
    Reads("rows.csv", csv_of('"he said ""hi""",x'), ab(('he said "hi"', "x"))),
    Reads(
        "rows.csv",
        csv_of('"he said \\"hi\\", twice",x', '"b",y'),
        ab(('he said "hi", twice', "x"), ("b", "y")),
        notes=("backslash",),
    ),
    Reads("rows.csv", csv_of('5" pipe,x', "b,y"), ab(('5" pipe', "x"), ("b", "y"))),
    Reads("rows.csv", csv_of("x " * 100_000 + ",x"), ab(("x " * 100_000, "x"))),
    Reads("rows.csv", csv_of("a,x", "", "  ", ",", "b,y"), ab(("a", "x"), ("b", "y"))),
    Reads(
        "rows.csv",
        csv_of("a,x", "b,y,z", "c"),
        ab(("a", "x")),
        faults=("line 3: has 3 fields but the header has 2", "line 4: has 1 field "),
    ),
    Reads(
        "rows.csv",
        csv_of("a,x", '"b,y', "c,z", "d,w"),
        ab(("a", "x"), ("c", "z"), ("d", "w")),
        faults=("line 3: a quote is opened in this line but never closed",),
    ),
    Reads(
        "rows.csv",
        csv_of("a,x", '"b,y', "c,z", '"d",w'),
        ab(("a", "x"), ("c", "z"), ("d", "w")),
        faults=(
            "line 3: a quote inside a quoted field must be written twice, or a quote opened in this line",
        ),
    ),
    Reads(
        "rows.csv",
        csv_of("a,x", '"b,y', "c,z", 'd",w,v', "e,u"),
        ab(("a", "x"), ("c", "z"), ("e", "u")),
        faults=("line 3: a quote is opened in this line but not closed in it", "line 5"),
    ),
    Reads(
        "rows.csv",
        csv_of("a,x", '"he said "hi" twice",y', "c,z"),
        ab(("a", "x"), ("c", "z")),
        faults=("line 3: a quote inside",),
    ),
    Reads(
        "rows.csv",
        csv_of("a,x", header=" text , label"),
        ab(("a", "x")),
        notes=("Spaces around column names",),
    ),
    Reads(
        "rows.csv",
        csv_of("a, x", "b, y", header="text, label"),
        ab(("a", "x"), ("b", "y")),
        notes=("Spaces after the separators",),
    ),
    Reads(
        "rows.csv",
        csv_of("a,x,y", header="text,label,label"),
        [{"text": "a", "label": "x", "label_2": "y"}],
        notes=('"label" appears more than once; a later one is called "label_2"',),
    ),
    Reads(
        "rows.csv",
        csv_of("0,a,x", "1,b,y", header=",text,label"),
        [{"column_1": "0", "text": "a", "label": "x"}, {"column_1": "1", "text": "b", "label": "y"}],
        notes=('"column_1"',),
    ),
    Reads(
        "rows.csv",
        "".join(f"{text},{label}\n" for text, label in MANY),
        [{"column_1": text, "column_2": label} for text, label in MANY],
        notes=("looks like data",),
    ),
    Reads(
        "sms.tsv",
        "ham\tsee you\nham\tok then\nspam\twin now\n",
        [
            {"column_1": a, "column_2": b}
            for a, b in (("ham", "see you"), ("ham", "ok then"), ("spam", "win now"))
        ],
        notes=("looks like data",),
    ),
    Reads(
        "rows.csv",
        csv_of("a,x", "text,label", "b,y"),
        ab(("a", "x"), ("b", "y")),
        notes=("1 more line repeats the header",),
    ),
    Reads(
        "rows.csv",
        "text;score\na;3,5\nb;4\nc;1.234,25\n",
        [{"text": "a", "score": "3.5"}, {"text": "b", "score": "4"}, {"text": "c", "score": "1234.25"}],
        notes=("semicolons", 'Column "score" has numbers with a decimal comma'),
    ),
    Reads(
        "rows.csv",
        "text;score\na;1,234\nb;5,678\n",
        [{"text": "a", "score": "1,234"}, {"text": "b", "score": "5,678"}],
        notes=("semicolons",),
    ),
    Reads(
        "rows.csv",
        csv_of("a\0b,x", "b,y"),
        ab(("b", "y")),
        faults=('line 2: column "text": the text contains a NUL',),
    ),
    Reads("rows.csv", "text\na\nb\n", [{"text": "a"}, {"text": "b"}], notes=("one column",)),
    Reads("rows.csv", 'text\n"a, b"\nc; d\n', [{"text": "a, b"}, {"text": "c; d"}], notes=("one column",)),
    Reads("rows.csv", csv_of("NaN,x", "None,y"), ab(("NaN", "x"), ("None", "y"))),
    Reads(
        "rows.csv",
        csv_of("a,x,", "b,y,"),
        ab(("a", "x"), ("b", "y")),
        notes=("2 lines end with an extra separator",),
    ),
    Reads("rows.csv", csv_of("a,x,", "b,y,", header="text,label,"), ab(("a", "x"), ("b", "y"))),
    Reads(
        "rows.csv",
        "Export of tickets\n\n" + csv_of("a,x", "b,y", "c,z"),
        ab(("a", "x"), ("b", "y"), ("c", "z")),
        notes=('above the header are left out: "Export of tickets"',),
    ),
    Reads("rows.csv", csv_of("'a, b',x", "'c',y"), ab(("a, b", "x"), ("c", "y")), notes=("apostrophes",)),
    Reads("rows.csv", csv_of("a,x") + "\x1a", ab(("a", "x"))),
    Reads("rows.csv", csv_of("a", "b"), [], faults=("line 2: has 1 field ", "line 3: has 1 field ")),
    Reads("rows.csv", csv_of("text a,label", "b,label"), ab(("text a", "label"), ("b", "label"))),
    Reads("rows.csv", csv_of("hello; bye,x", "a; b,y"), ab(("hello; bye", "x"), ("a; b", "y"))),
    Reads("rows.csv", csv_of(" a ,x", header="text,label"), ab((" a ", "x"))),
    Refuses("rows.csv", "text,label\n", BadData, "has a header but no rows"),
    Refuses(
        "rows.txt",
        "Dear reader,\nthis is a letter. It has no columns, as letters do.\nYours\n",
        BadData,
        "is plain text",
    ),
]

GERMAN = SEMICOLONS.replace("bye", "Grüße aus Köln – bis bald")
ENCODING_CASES = [
    Reads(
        "rows.csv",
        GERMAN.encode("cp1252"),
        [TWO[0], {"text": "Grüße aus Köln – bis bald", "label": "parting"}],
        notes=('read as cp1252, the Windows encoding of Western Europe ("Grüße")', "semicolons"),
    ),
    Reads("rows.jsonl", '{"text": "café"}\n'.encode("cp1252"), [{"text": "café"}], notes=("cp1252",)),
    Reads("rows.csv", CSV.encode("utf-16"), TWO, notes=("UTF-16",)),
    Reads("rows.csv", CSV.encode("utf-16-le"), TWO, notes=("UTF-16-LE, without a byte order mark",)),
    Reads("rows.csv", CSV.encode("utf-16-be"), TWO, notes=("UTF-16-BE, without a byte order mark",)),
    Reads("rows.csv", CSV.encode("utf-32"), TWO, notes=("UTF-32",)),
    Reads("rows.jsonl", JSONL.encode("utf-16"), TWO, notes=("UTF-16",)),
    Reads(
        "rows.csv", csv_of("注文はどこ,x").encode("shift_jis"), ab(("注文はどこ", "x")), encoding="shift_jis"
    ),
    Reads("rows.csv", csv_of("café,x").encode("cp1252"), ab(("café", "x")), encoding="cp1252"),
    Reads("rows.csv", csv_of("café,x").encode("utf-8-sig"), ab(("café", "x")), encoding="utf-8"),
    Refuses(
        "rows.csv",
        csv_of("Где мой заказ сегодня,x", "Почему он не пришёл,y").encode("cp1251"),
        BadData,
        "pass --encoding cp1251",
    ),
    Refuses(
        "rows.csv", csv_of("我的订单在哪里为什么还没有到,x").encode("gb18030"), BadData, "--encoding gb18030"
    ),
    Reads(
        "rows.csv",
        csv_of("It’s “really” broken…,x").encode("cp1252"),
        ab(("It’s “really” broken…", "x")),
        notes=("cp1252",),
    ),
    Reads(
        "rows.csv",
        csv_of("¿Dónde está, señor?;x", header="text;label").encode("cp1252"),
        ab(("¿Dónde está, señor?", "x")),
        notes=("cp1252", "semicolons"),
    ),
    Refuses(
        "rows.csv",
        csv_of("Zażółć gęślą jaźń,x").encode("cp1250"),
        BadData,
        'cp1250 if this looks right: "Zażółć',
    ),
    Refuses("rows.csv", csv_of("şifre değiştirmek,x").encode("cp1254"), BadData, "is not UTF-8"),
    Refuses("rows.csv", csv_of("Größe,x").encode("mac_roman"), BadData, "is not UTF-8"),
    Refuses(
        "rows.csv",
        csv_of("Почему он не пришёл вовремя и где мой заказ,x").encode("koi8_r"),
        BadData,
        "--encoding koi8_r",
    ),
    Refuses(
        "rows.csv", csv_of("Größe,x", "Straße,y").encode() + b"caf\xe9,z\n", BadData, "rows.csv, line 4: byte"
    ),
    Refuses("rows.csv", csv_of("a,x").encode() + b"\x81\x8d,y\n", BadData, "rows.csv, line 3: byte"),
    Refuses(
        "rows.csv",
        CSV.encode("utf-16")[:-1],
        BadData,
        "is not valid UTF-16, although the file starts like UTF-16",
    ),
    Refuses("rows.csv", CSV, UsageError, "'klingon' is not a known encoding", encoding="klingon"),
    Refuses("rows.csv", CSV, UsageError, "'base64' is not a known encoding", encoding="base64"),
    Refuses("rows.csv", csv_of("é,x"), BadData, "line 2: byte 11 is not ascii", encoding="ascii"),
]

PACKED_CASES = [
    Reads("rows.jsonl.gz", gzip.compress(JSONL.encode()), TWO),
    Reads("rows.csv.gz", gzip.compress(CSV.encode()), TWO),
    Reads("rows.csv.gz", gzip.compress(CSV[:20].encode()) + gzip.compress(CSV[20:].encode()), TWO),
    Reads("rows.json.bz2", bz2.compress(json.dumps(TWO).encode()), TWO),
    Reads("rows.tsv.xz", lzma.compress(CSV.replace(",", "\t").replace("hello\t", "hello,").encode()), TWO),
    Reads("rows.jsonl.zst", bytes(pa.Codec("zstd").compress(JSONL.encode())), TWO),
    Reads("rows.jsonl", gzip.compress(JSONL.encode()), TWO),
    Reads("rows.zip", zipped(rows__csv=CSV, readme__md="hi", __MACOSX_in___rows__csv="x"), TWO),
    Refuses("rows.jsonl.gz", gzip.compress(JSONL.encode())[:-12], BadData, "damaged or cut off"),
    Refuses(
        "rows.jsonl.zst", bytes(pa.Codec("zstd").compress(JSONL.encode()))[:-6], BadData, "damaged or cut off"
    ),
    Refuses("rows.jsonl.gz", gzip.compress(gzip.compress(JSONL.encode())), Unsupported, "packed twice"),
    Refuses("rows.zip", zipped(a__csv=CSV, b__csv=CSV), BadData, '2 data files: "a.csv", "b.csv"'),
    Refuses("rows.zip", zipped(readme__md="hi"), BadData, "contains no data file"),
    Refuses("rows.zip", zipped(rows__csv=CSV)[:40], BadData, "damaged or cut off"),
    Refuses("rows.csv.gz", gzip.compress(b""), BadData, "is empty"),
]

OTHER_FILES = [
    Refuses("rows.csv", "", BadData, "rows.csv is empty"),
    Refuses("rows.jsonl", "\ufeff \n\n", BadData, "is empty"),
    Refuses("rows.csv", "<!DOCTYPE html>\n<html><body>Sign in</body></html>", BadData, "is a web page"),
    Refuses("rows.xlsx", "\n<html><table><tr><td>1</td></tr></table></html>", BadData, "is a web page"),
    Refuses("rows.xml", '<?xml version="1.0"?><rows/>', Unsupported, "is XML"),
    Refuses(
        "rows.parquet",
        "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n",
        BadData,
        "Git LFS pointer",
    ),
    Refuses("rows.pdf", b"%PDF-1.7\n\x00", Unsupported, "a PDF document"),
    Refuses("rows.docx", zipped(word_in_document__xml="<w/>"), Unsupported, "a Word document"),
    Refuses("rows.csv", bytes(range(256)) * 40, Unsupported, "a binary file"),
    Refuses("rows.pkl", b"\x80\x04\x95\x00", Unsupported, "a pickle"),
    Refuses("model.gguf", b"GGUF\x03\x00\x00\x00", Unsupported, "a model in GGUF"),
    Refuses("photo.csv", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, Unsupported, "a picture"),
    Refuses("rows.parquet", b"PAR1" + b"\0" * 100, BadData, "cannot be read as Parquet"),
    Refuses("rows.arrow", b"ARROW1\0\0" + b"\1" * 100, BadData, "cannot be read as Arrow"),
    Reads("rows.xlsx", CSV, TWO, notes=("is text, although its name says something else",)),
]

CASES = [*JSON_CASES, *DELIMITED_CASES, *ENCODING_CASES, *PACKED_CASES, *OTHER_FILES]


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.name}" for number, case in enumerate(CASES)])
def test_a_file_is_read_noted_or_refused(tmp_path: Path, case: Reads | Refuses) -> None:
    path = written(tmp_path, case.name, case.content)
    if isinstance(case, Refuses):
        with pytest.raises(case.error) as caught:
            read_tables(path, case.encoding)
        assert case.says in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.remedy
        return
    (table,) = read_tables(path, case.encoding).values()
    assert fields(table) == case.rows
    assert_says(table.notes, case.notes)
    assert_says([str(fault) for fault in table.faults], case.faults)


def assert_says(sentences: Any, parts: tuple[str, ...]) -> None:
    assert len(sentences) == len(parts), sentences
    for sentence, part in zip(sentences, parts, strict=True):
        assert part in sentence


# -- places and digests -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        (
            "tickets.csv",
            csv_of('"one\ntwo",x', "", "three,y"),
            ["tickets.csv, line 2", "tickets.csv, line 5"],
        ),
        ("tickets.csv", "sep=;\ntext;label\na;x\n", ["tickets.csv, line 3"]),
        ("tickets.csv.gz", gzip.compress(CSV.encode()), ["tickets.csv.gz, line 2", "tickets.csv.gz, line 3"]),
        ("rows.jsonl", "\n" + JSONL, ["rows.jsonl, line 2", "rows.jsonl, line 3"]),
        ("rows.json", json.dumps(TWO, indent=4), ["rows.json, row 1", "rows.json, row 2"]),
        ("rows.zip", zipped(a__csv=CSV), ["rows.zip/a.csv, line 2", "rows.zip/a.csv, line 3"]),
    ],
    ids=["csv", "sep", "gz", "jsonl", "json", "zip"],
)
def test_a_row_is_placed_as_a_person_would_look_for_it(
    tmp_path: Path, name: str, content: str | bytes, places: list[str]
) -> None:
    (table,) = read_tables(written(tmp_path, name, content)).values()
    assert [row.place for row in table.rows] == places


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = written(tmp_path, "rows.csv", CSV)
    assert read_tables(path)["train"].digest == hashlib.sha256(CSV.encode()).hexdigest()


def test_columns_are_those_of_all_rows_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", '{"b": 1}\n{"a": 2, "b": 3}\n')
    assert read_tables(path)["train"].columns == ("b", "a")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no data file .*nowhere\.csv"):
        read_tables(tmp_path / "nowhere.csv")
    with pytest.raises(UsageError, match="must be downloaded first"):
        read_tables("hf:org/name")


# -- Parquet and Arrow --------------------------------------------------------------------


def parquet(path: Path, table: Any, **options: Any) -> Path:
    import pyarrow.parquet as pq

    pq.write_table(table, path, **options)
    return path


def test_parquet_and_arrow_read_as_jsonl_does(tmp_path: Path) -> None:
    import pyarrow.feather

    table = pa.Table.from_pylist(TWO)
    parquet(tmp_path / "a.parquet", table)
    pyarrow.feather.write_feather(table, tmp_path / "a.feather", compression="zstd")
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    written(tmp_path, "b.parquet.gz", gzip.compress((tmp_path / "a.parquet").read_bytes()))
    for name in ("a.parquet", "a.feather", "a.arrow", "b.parquet.gz"):
        assert fields(read_tables(tmp_path / name)["train"]) == TWO
    assert read_tables(tmp_path / "a.parquet")["train"].rows[1].place == "a.parquet, row 2"


def test_class_labels_of_hugging_face_get_their_names(tmp_path: Path) -> None:
    features = {
        "label": {"names": ["ham", "spam"], "_type": "ClassLabel"},
        "tags": {"feature": {"names": ["a", "b"], "_type": "ClassLabel"}, "_type": "List"},
        "old": [{"names": ["no", "yes"], "_type": "ClassLabel"}],
        "text": {"dtype": "string", "_type": "Value"},
        "meta": {"kind": {"names": ["x", "y"], "_type": "ClassLabel"}},
    }
    rows = [
        {"label": 1, "tags": [0, 1], "old": [1], "text": "a", "meta": {"kind": 1}},
        {"label": -1, "tags": [], "old": None, "text": "b", "meta": None},
    ]
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (table,) = read_tables(
        parquet(tmp_path / "a.parquet", pa.Table.from_pylist(rows).replace_schema_metadata(metadata))
    ).values()
    assert fields(table) == [
        {"label": "spam", "tags": ["a", "b"], "old": ["yes"], "text": "a", "meta": {"kind": "y"}},
        {"label": None, "tags": [], "old": None, "text": "b", "meta": None},
    ]
    assert_says(table.notes, ("replaced by the label names",))


def test_values_of_parquet_become_what_json_has(tmp_path: Path) -> None:
    import datetime
    import decimal

    table = pa.table(
        {
            "chat": [[{"role": "user", "content": "hi"}]],
            "when": [datetime.datetime(2026, 3, 4, 5, 6)],
            "day": [datetime.date(2026, 3, 4)],
            "price": [decimal.Decimal("12.50")],
            "missing": [float("nan")],
            "kind": pa.array(["a"]).dictionary_encode(),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "picture": [b"\x89PNG"],
        }
    )
    (table,) = read_tables(parquet(tmp_path / "a.parquet", table)).values()
    assert fields(table) == [
        {
            "chat": [{"role": "user", "content": "hi"}],
            "when": "2026-03-04 05:06:00",
            "day": "2026-03-04",
            "price": "12.50",
            "missing": None,
            "kind": "a",
            "map": {"k": 1},
            "picture": None,
        }
    ]
    assert_says(table.notes, ('Binary data is left out: "picture"',))


def test_whole_numbers_with_missing_ones_stay_whole(tmp_path: Path) -> None:
    table = pa.table({"label": [1.0, float("nan"), 0.0], "score": [1.0, 2.5, None], "rate": [1.0, 2.0, 3.0]})
    (table,) = read_tables(parquet(tmp_path / "a.parquet", table)).values()
    assert [row.fields["label"] for row in table.rows] == [1, None, 0]
    assert isinstance(table.rows[0].fields["label"], int)
    assert isinstance(table.rows[0].fields["rate"], float)
    assert_says(table.notes, ('Column "label" has whole numbers',))


def test_texts_in_parquet_that_no_model_can_read_are_faults(tmp_path: Path) -> None:
    table = pa.table({"chat": [[{"content": "a\0b"}], [{"content": "c"}]]})
    (table,) = read_tables(parquet(tmp_path / "a.parquet", table)).values()
    assert len(table.rows) == 1
    assert_says(
        [str(fault) for fault in table.faults], ('a.parquet, row 1: column "chat": the text contains a NUL',)
    )
    broken = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"caf\xe9"]).buffers()[1:]])
    with pytest.raises(BadData, match="contains text that is not UTF-8"):
        read_tables(parquet(tmp_path / "b.parquet", pa.table({"text": broken})))


def test_a_small_parquet_that_expands_is_stopped_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = pa.array(["x" * 1_000_000]).dictionary_encode()
    table = pa.table(
        {"text": pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), text.dictionary)}
    )
    path = parquet(tmp_path / "bomb.parquet", table, compression="zstd")
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(
        "freehold.data.bounds.machine.look", lambda: type("Small", (), {"free_memory_bytes": 600_000_000})
    )
    with pytest.raises(
        DoesNotFit, match=r"bomb.parquet contains more than .* GB of data; with .* of free memory"
    ):
        read_tables(path)


def test_many_equal_values_are_counted_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path / "rows.parquet", pa.table({"n": pa.array([7] * 3_000_000, pa.int8())}))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(
        "freehold.data.bounds.machine.look", lambda: type("Small", (), {"free_memory_bytes": 100_000_000})
    )
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.iter_batches", lambda *_: pytest.fail("it was read"))
    with pytest.raises(DoesNotFit):
        read_tables(path)


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.zip"])
def test_contents_larger_than_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = csv_of(*["some text,label"] * 1_000_000)
    content = (
        gzip.compress(text.encode())
        if name.endswith(".gz")
        else zip_of(text)
        if name.endswith(".zip")
        else text
    )
    monkeypatch.setattr(
        "freehold.data.bounds.machine.look", lambda: type("Small", (), {"free_memory_bytes": 50_000_000})
    )
    with pytest.raises(DoesNotFit, match="at most 4.2 MB can be read"):
        read_tables(written(tmp_path, name, content))


def zip_of(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", text)
    return buffer.getvalue()


def test_a_bound_counts_what_was_read() -> None:
    bound = Bound("rows", free_bytes=120_000_000)
    bound.more(9_000_000)
    with pytest.raises(DoesNotFit, match="rows contains more than 18.0 MB"):
        bound.more(9_000_000)


# -- SQLite -------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tickets (body TEXT, team TEXT, n INTEGER)")
        connection.executemany("INSERT INTO tickets VALUES (?, ?, ?)", [("a?", "x", 1), ("b", None, 2)])
    connection.close()
    return path


def test_a_query_gives_rows(database: Path) -> None:
    table = read_tables(
        f"sqlite:{database}?SELECT body AS text, team AS label, n FROM tickets WHERE body != '?' ORDER BY n"
    )["train"]
    assert fields(table) == [{"text": "a?", "label": "x", "n": 1}, {"text": "b", "label": None, "n": 2}]
    assert table.rows[1].place == "tickets.db, row 2 of the query"


def test_columns_of_a_query_that_share_a_name_are_told_apart(database: Path) -> None:
    table = read_tables(f"sqlite:{database}?SELECT body, body FROM tickets")["train"]
    assert table.columns == ("body", "body_2")


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        ("", UsageError, 'it has the tables "tickets"'),
        ("SELECT nowhere FROM tickets", BadData, "no such column: nowhere"),
        ("SELECT * FROM orders", BadData, 'no such table: orders; its tables are "tickets"'),
        ("SELEC", BadData, "syntax error"),
        ("DELETE FROM tickets", BadData, "does more than read"),
        ("ATTACH DATABASE '/tmp/x.db' AS x", BadData, "does more than read"),
        ("PRAGMA journal_mode = WAL", BadData, "does more than read"),
        ("SELECT load_extension('x')", BadData, "does more than read"),
        ("SELECT 1; SELECT 2", BadData, "one statement at a time"),
        ("SELECT * FROM tickets WHERE n > 5", BadData, "returned no rows"),
    ],
)
def test_a_query_that_cannot_be_answered_is_explained(
    database: Path, query: str, error: type[FreeholdError], says: str
) -> None:
    before = database.read_bytes()
    with pytest.raises(error) as caught:
        read_tables(f"sqlite:{database}?{query}")
    assert says in str(caught.value)
    assert database.read_bytes() == before


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="not a database"):
        read_tables(f"sqlite:{written(tmp_path, 'a.db', CSV * 40)}?SELECT 1 FROM x")
    with pytest.raises(NotFound, match="there is no file"):
        read_tables(f"sqlite:{tmp_path}/none.db?SELECT 1")


def test_a_database_without_a_query_is_explained(database: Path) -> None:
    with pytest.raises(UsageError, match="is an SQLite file"):
        read_tables(database)
