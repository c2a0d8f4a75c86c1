"""Documents: their passages and a vector for each, in one SQLite file for each embedding model.

Only its owner may read the file. A document belongs to the key that added it, and no other key sees it.
Vectors are in a table of sqlite-vec, whose search is exact; text and vectors are written in one
transaction. (apsw, not Python's own sqlite3, because that is often built without loadable extensions.)
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.errors import NotFound
from freehold.servers.inference.documents.passages import Passage

_TABLES = """
CREATE TABLE IF NOT EXISTS documents (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL, added REAL NOT NULL,
  UNIQUE (owner, name));
CREATE TABLE IF NOT EXISTS passages (
  id INTEGER PRIMARY KEY, document TEXT NOT NULL, page INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS passages_of ON passages (document);
"""


@dataclass(frozen=True)
class Document:
    """A stored document."""

    id: str
    name: str
    bytes: int
    #: seconds since 1970
    added: float
    #: how many it has
    passages: int


@dataclass(frozen=True)
class PassageHit:
    """A passage that a search returned."""

    #: the document's id
    document: str
    #: the document's name
    name: str
    passage: Passage
    #: cosine, 1 for the same direction
    similarity: float


class Documents:
    """One file of documents; safe for several threads, and for several processes."""

    def __init__(self, path: Path, width: int):
        import apsw
        import sqlite_vec

        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.Lock()
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(30_000)
        self._connection.enable_load_extension(True)
        self._connection.load_extension(sqlite_vec.loadable_path())
        self._connection.enable_load_extension(False)
        with self._lock, self._connection:
            self._connection.execute(_TABLES)
            self._connection.execute(
                "CREATE VIRTUAL TABLE IF NOT EXISTS vectors USING vec0("
                "owner TEXT PARTITION KEY, document TEXT, "
                f"embedding FLOAT[{width}] DISTANCE_METRIC=cosine)"
            )

    def add(self, owner: str, name: str, size: int, passages: list[Passage], vectors: np.ndarray) -> Document:
        """Store a document and the vectors (passages, width) of its passages, in place of one of the same
        name and owner.
        """
        document = Document(f"doc_{secrets.token_hex(12)}", name, size, time.time(), len(passages))
        with self._lock, self._connection as connection:
            for (old,) in list(
                connection.execute("SELECT id FROM documents WHERE owner = ? AND name = ?", (owner, name))
            ):
                self._remove(old)
            connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?)",
                (document.id, owner, name, size, document.added),
            )
            for passage, vector in zip(passages, vectors.astype("<f4"), strict=True):
                values = (document.id, passage.page, passage.first, passage.last, passage.text)
                connection.execute(
                    "INSERT INTO passages (document, page, first, last, text) VALUES (?, ?, ?, ?, ?)", values
                )
                connection.execute(
                    "INSERT INTO vectors (rowid, owner, document, embedding) VALUES (?, ?, ?, ?)",
                    (connection.last_insert_rowid(), owner, document.id, vector.tobytes()),
                )
        return document

    def list(self, owner: str, since: float = 0.0) -> list[Document]:
        """An owner's documents, newest first.

        ``since``, here and below: when the owner's key was made (seconds since 1970). Older documents
        belong to an earlier key of the same name.
        """
        query = (
            "SELECT id, name, bytes, added, (SELECT count(*) FROM passages WHERE document = d.id) "
            "FROM documents d WHERE owner = ? AND added >= ? ORDER BY added DESC"
        )
        with self._lock:
            return [Document(*_values(row)) for row in self._connection.execute(query, (owner, since))]

    def remove(self, owner: str, number: str, since: float = 0.0) -> None:
        """Delete a document. Raises NotFound."""
        query = "SELECT 1 FROM documents WHERE owner = ? AND id = ? AND added >= ?"
        with self._lock, self._connection as connection:
            if not list(connection.execute(query, (owner, number, since))):
                raise NotFound(f"there is no document {number[:80]!r}", "list them: GET /v1/documents")
            self._remove(number)

    def _remove(self, number: str) -> None:
        execute = self._connection.execute
        for (row,) in list(execute("SELECT id FROM passages WHERE document = ?", (number,))):
            execute("DELETE FROM vectors WHERE rowid = ?", (row,))
        execute("DELETE FROM passages WHERE document = ?", (number,))
        execute("DELETE FROM documents WHERE id = ?", (number,))

    def search(
        self, owner: str, vector: np.ndarray, limit: int, among: list[str] | None = None, since: float = 0.0
    ) -> list[PassageHit]:
        """The owner's passages nearest to a vector (width,), nearest first, of the documents ``among`` or
        of all.
        """
        if since and self._has_older(owner, since):  # the table of vectors has no dates
            visible = {document.id for document in self.list(owner, since)}
            among = [number for number in among or visible if number in visible]
            if not among:
                return []
        chosen = f" AND document IN ({', '.join('?' * len(among))})" if among else ""
        query = (
            "SELECT p.document, d.name, p.page, p.first, p.last, p.text, v.distance FROM "
            "(SELECT rowid, distance FROM vectors "
            f"WHERE embedding MATCH ? AND k = ? AND owner = ?{chosen}) v "
            "JOIN passages p ON p.id = v.rowid JOIN documents d ON d.id = p.document ORDER BY v.distance"
        )
        with self._lock:
            rows = list(
                self._connection.execute(
                    query, (vector.astype("<f4").tobytes(), limit, owner, *(among or []))
                )
            )
        return [
            PassageHit(document, name, Passage(text, page, first, last), 1.0 - distance)
            for document, name, page, first, last, text, distance in map(_values, rows)
        ]

    def _has_older(self, owner: str, since: float) -> bool:
        query = "SELECT 1 FROM documents WHERE owner = ? AND added < ? LIMIT 1"
        with self._lock:
            return bool(list(self._connection.execute(query, (owner, since))))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _values(row: Any) -> tuple[Any, ...]:
    return tuple(row)
