"""Formats of files: delimiters, encodings, JSON in several forms, compression, Parquet, Arrow, queries."""

from __future__ import annotations

import datetime
import gzip
import json
import sqlite3
from decimal import Decimal
from pathlib import Path

from tests.data.front_door import FIRST, Case, T, lines, table

ROWS = [{"text": t.text, "label": t.label} for t in T]
CELLS = [(t.text, t.label) for t in T]
CSV = table(("text", "label"), CELLS)


def parquet(path: Path) -> None:
    """Texts and labels in Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), path)


def class_labels(path: Path) -> None:
    """Parquet as ``datasets`` writes it: numbers with the names of the classes in the schema's metadata."""
    from datasets import ClassLabel, Dataset, Features, Value

    names = sorted({t.label for t in T})
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    columns = {"text": [t.text for t in T], "label": [names.index(t.label) for t in T]}
    Dataset.from_dict(columns, features=features).to_parquet(path)


def typed(path: Path) -> None:
    """Parquet with a date, a decimal number and a nested answer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "created": datetime.date(2026, 1, 1 + t.number % 28),
            "question": t.text,
            "answer": Decimal(f"{t.number}.50"),
        }
        for t in T
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def chats(path: Path) -> None:
    """Chat messages in Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"messages": [{"role": "user", "content": t.text}, {"role": "assistant", "content": t.label}]}
        for t in T
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def arrow(path: Path) -> None:
    """An Arrow file."""
    import pyarrow as pa

    rows = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def database(path: Path) -> None:
    """A SQLite file with a table tickets."""
    with sqlite3.connect(path) as connection:
        connection.execute("create table tickets (id integer primary key, body text, category text)")
        connection.executemany(
            "insert into tickets values (?, ?, ?)", [(t.number, t.text, t.label) for t in T]
        )
    connection.close()


def help_desk(path: Path) -> None:
    """Tickets as a help desk exports them on Windows: semicolons, cp1252, numbers and dates beside."""
    names = ("ticket_id", "created", "subject", "body", "category")
    cells = [
        (
            f"T{1000 + t.number}",
            f"{1 + t.number % 28:02d}.02.2026 09:15",
            t.subject,
            f"{t.text} Grüße",
            t.label,
        )
        for t in T
    ]
    path.write_bytes(table(names, cells, ";", "\r\n").encode("cp1252"))


CASES = [
    Case(
        "csv: tickets with semicolons in Windows encoding",
        help_desk,
        "in.csv",
        prompt=f"Subject: {FIRST.subject}\n\n{FIRST.text} Grüße",
        answer=FIRST.label,
        columns=("text=subject+body, label=category, id=ticket_id", "not used: created"),
        notes=("semicolons", "cp1252", '"subject" and "body" together'),
    ),
    Case("csv", CSV, "in.csv", prompt=FIRST.text, answer=FIRST.label),
    Case(
        "csv: a byte order mark and Windows line ends",
        b"\xef\xbb\xbf" + table(("text", "label"), CELLS, end="\r\n").encode(),
        "in.csv",
        answer=FIRST.label,
        columns=("text=text",),
    ),
    Case(
        "csv: semicolons",
        table(("text", "label"), CELLS, ";"),
        "in.csv",
        prompt=FIRST.text,
        notes=("semicolons",),
    ),
    Case("csv: bars", table(("text", "label"), CELLS, "|"), "in.csv", prompt=FIRST.text),
    Case("tsv", table(("text", "label"), CELLS, "\t"), "in.tsv", prompt=FIRST.text),
    Case(
        "tsv called csv", table(("text", "label"), CELLS, "\t"), "in.csv", prompt=FIRST.text, notes=("tabs",)
    ),
    Case(
        "csv: quotes and line ends in a text",
        table(("text", "label"), [(f'{t.text} "ok", yes\nsecond line', t.label) for t in T]),
        "in.csv",
        prompt='"ok", yes\nsecond line',
    ),
    Case(
        "csv: a field of 200,000 characters",
        table(
            ("text", "label"), [(t.text + " x" * 100_000 if t.number == 0 else t.text, t.label) for t in T]
        ),
        "in.csv",
        prompt=" x x",
    ),
    Case(
        "csv: Windows encoding",
        table(("text", "label"), [(f"{t.text} café größer", t.label) for t in T]).encode("cp1252"),
        "in.csv",
        prompt="café größer",
        notes=("cp1252",),
    ),
    Case(
        "csv: UTF-16",
        table(("text", "label"), [(f"{t.text} café", t.label) for t in T], "\t").encode("utf-16"),
        "in.csv",
        prompt="café",
        notes=("UTF-16",),
    ),
    Case(
        "csv: spaces in the header",
        table((" text ", " label "), CELLS),
        "in.csv",
        prompt=FIRST.text,
        answer=FIRST.label,
    ),
    Case(
        "csv: no header",
        "".join(f'"{text}",{label}\n' for text, label in CELLS),
        "in.csv",
        prompt=FIRST.text,
        answer=FIRST.label,
        notes=("header",),
    ),
    Case("jsonl", ROWS, prompt=FIRST.text),
    Case("jsonl: a byte order mark", b"\xef\xbb\xbf" + lines(ROWS), prompt=FIRST.text),
    Case("jsonl: empty lines", [row for row in ROWS for row in (row, "")], prompt=FIRST.text),
    Case("jsonl called json", lines(ROWS), "in.json", prompt=FIRST.text),
    Case("json: an array", json.dumps(ROWS), "in.json", prompt=FIRST.text),
    Case("json: a pretty-printed array", json.dumps(ROWS, indent=2), "in.json", prompt=FIRST.text),
    Case("json: rows in an object", json.dumps({"data": ROWS}), "in.json", prompt=FIRST.text),
    Case("jsonl.gz", gzip.compress(lines(ROWS)), "in.jsonl.gz", prompt=FIRST.text),
    Case("csv.gz", gzip.compress(CSV.encode()), "in.csv.gz", prompt=FIRST.text),
    Case("parquet", parquet, "in.parquet", prompt=FIRST.text, answer=FIRST.label),
    Case("parquet: names of classes", class_labels, "in.parquet", answer=FIRST.label),
    Case(
        "parquet: dates and decimal numbers",
        typed,
        "in.parquet",
        answer="0.50",
        columns=("not used: created",),
    ),
    Case("parquet: chats", chats, "in.parquet", answer=FIRST.label),
    Case("arrow", arrow, "in.arrow", prompt=FIRST.text),
    Case("sqlite", database, "in.db", refused=("in.db",)),
    Case("a web page", "<!DOCTYPE html><html><body>Sign in</body></html>", "in.csv", refused=("in.csv",)),
    Case("a file that is empty", b"", "in.csv", refused=("in.csv",)),
    Case("only a header", "text,label\n", "in.csv", refused=("in.csv",)),
]
