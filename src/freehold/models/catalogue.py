"""The tables: models in the store, and the repositories, contents and people of a hub; and the database that
holds them.

That is a SQLite file in the store's folder, or the PostgreSQL database that FREEHOLD_DATABASE names.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from freehold.core import atomic_files, file_permissions, settings, system_errors
from freehold.core.errors import MissingPart, NotFound, UsageError

metadata = sa.MetaData()
#: The name of the SQLite file in the store's folder, and seconds that it is waited for while another process
#: writes.
FILE = "freehold.db"
BUSY_S = 60
#: Seconds for which an uploaded content may be named in a commit, and is spared by a collection.
CONTENT_S = 86_400.0
#: As many values are asked for at once.
_AT_ONCE = 500
_Value = TypeVar("_Value", int, str)
#: Text in the order of its bytes, as SQLite has it: words that begin alike are one range, whatever the
#: database's language.
Text = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def address(folder: Path) -> sa.URL:
    """The database of the store in ``folder``. Raises UsageError for a setting that is none."""
    configured = settings.database()
    if not configured:
        return sa.URL.create("sqlite", database=str(folder / FILE))
    hint = "write postgresql://USER:PASSWORD@HOST/DATABASE"
    try:
        url = sa.make_url(configured)
    except ArgumentError:
        raise UsageError("FREEHOLD_DATABASE is not the address of a database", hint) from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise UsageError(
            f"FREEHOLD_DATABASE names a {url.drivername} database; PostgreSQL is supported, and SQLite "
            "without it",
            hint,
        )
    return url.set(drivername="postgresql+psycopg")


def cause_of(error: DBAPIError) -> str:
    """The first line of what a database says went wrong."""
    return str(error.orig).strip().splitlines()[0]


def open_catalogue(folder: Path, *, lost: bool = False) -> sa.Engine:
    """The catalogue of the store in ``folder``, its tables made where they are not there.

    ``lost``: the store holds what a catalogue must have named, so that one that is not there, or is empty,
    was lost. Raises UsageError, MissingPart, NotFound, DamagedStore.
    """
    url = address(folder)
    file_permissions.make_home(folder)
    if url.drivername == "sqlite":
        file = folder / FILE
        if lost and not (file.exists() and file.stat().st_size):
            raise system_errors.damaged(folder, "it is empty" if file.exists() else "it does not exist")
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_S})
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    else:
        try:
            # plans made once for all values would be wrong for most: lists of tokens differ in length by a
            # million
            engine = sa.create_engine(
                url,
                pool_size=20,
                max_overflow=40,
                pool_pre_ping=True,
                connect_args={"prepare_threshold": None, "connect_timeout": 10},
            )
        except ModuleNotFoundError:
            raise MissingPart(
                "PostgreSQL needs the package psycopg", "pip install 'freehold[postgresql]'"
            ) from None
    with atomic_files.locked(folder / ".schema.lock", "the catalogue", wait=True):
        for suffix in ("", "-wal", "-shm"):
            atomic_files.narrow(folder / f"freehold.db{suffix}")
        try:
            make_tables(engine, metadata)
        except OperationalError as error:
            if url.drivername == "sqlite":
                raise
            raise NotFound(
                f"the database {url.render_as_string()} does not answer ({cause_of(error)})",
                "start it, or fix FREEHOLD_DATABASE",
            ) from None
    return engine


def make_tables(engine: sa.Engine, tables: sa.MetaData) -> None:
    """Make the tables and indexes that are not there, all or none: one that was killed on the way leaves
    nothing half made.
    """
    with engine.connect() as connection:
        if _is_made(connection, tables):
            return
        if connection.dialect.name == "sqlite":
            # by itself Python's driver commits after each statement that makes a table
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        tables.create_all(connection)
        for table in tables.tables.values():
            for index in table.indexes:  # a catalogue of an earlier version may have the table without it
                index.create(connection, checkfirst=True)
        if documents.name in tables.tables and not sa.inspect(connection).has_table("search"):
            for statement in _SEARCH[connection.dialect.name]:
                connection.exec_driver_sql(statement)
        connection.commit()


#: Asks for the names of all tables and indexes that are there.
_NAMES = {
    "sqlite": "SELECT name FROM sqlite_master",
    "postgresql": "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = current_schema()",
}


def _is_made(connection: sa.Connection, tables: sa.MetaData) -> bool:
    """Whether all tables and their indexes are there: one question, since every start asks it."""
    there = set(connection.exec_driver_sql(_NAMES[connection.dialect.name]).scalars())
    names = {*tables.tables, *(index.name for table in tables.tables.values() for index in table.indexes)}
    if documents.name in tables.tables:
        names.add("search")
    return names <= there


def faults_of_file(engine: sa.Engine) -> list[str]:
    """What SQLite itself says is wrong with its file; nothing of another database."""
    if engine.dialect.name != "sqlite":
        return []
    with engine.connect() as connection:
        lines = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    return [line for line in lines if line != "ok"]


def held(connection: sa.Connection) -> set[str]:
    """Digests of all contents that some repository needs."""
    return set(connection.execute(sa.select(holdings.c.sha256).distinct()).scalars())


def under_way(connection: sa.Connection) -> set[str]:
    """Digests of contents and names of xorbs whose commit or shard is still to come: a collection spares
    them.
    """
    recent = sa.select(uploads.c.name).where(uploads.c.kept, uploads.c.at > time.time() - CONTENT_S)
    return set(connection.execute(recent).scalars())


def in_parts(values: Collection[_Value]) -> Iterator[list[_Value]]:
    """The values, each once and in order, in lists that are short enough for one question to a database."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def upsert(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert that can be told what to do about a row that is there, in the connection's dialect."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


models = sa.Table(
    "models",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("revision", Text, primary_key=True),
    sa.Column("card", sa.JSON, nullable=False),
    sa.Column("manifest", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

#: Blobs whose bytes were read and matched their digest, and what the file system said of the file then (see
#: blobs.py): as long as that
#: stays the same, the bytes are not read again before they are used.
checked_blobs = sa.Table(
    "checked_blobs",
    metadata,
    sa.Column("digest", Text, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("modified_ns", sa.BigInteger, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
)

#: ``folded``: the name in lower case, so that two names that differ in case alone cannot exist.
repositories = sa.Table(
    "repositories",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("folded", Text, nullable=False),
    sa.Column("author", Text, nullable=False, index=True),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("gated", Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("modified", sa.Float, nullable=False),
    sa.Column("downloads", sa.Integer, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("card", sa.JSON, nullable=False),
    sa.UniqueConstraint("kind", "folded"),
    sa.Index("by_modified", "kind", "modified", "id"),
    sa.Index("by_downloads", "kind", "downloads", "id"),
    # what a search needs of a row, without the rest of it
    sa.Index("by_id", "id", "kind", "modified", "downloads", "private", "author"),
)

#: The highest number that a repository ever had: SQLite would give that of a deleted one again, and whoever
#: is still at work on the
#: deleted one would work on another's.
numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("last", sa.Integer, nullable=False),
)

#: The tokens by which each repository is found (see index.py), compressed: what the full-text table
#: ``search`` holds of it.
documents = sa.Table(
    "documents",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("tokens", sa.LargeBinary, nullable=False),
)
_SEARCH = {
    "sqlite": [
        "CREATE VIRTUAL TABLE search USING fts5(tokens, content='', columnsize=0, detail=none,"
        """ tokenize="ascii tokenchars '-_.:/'")"""
    ],
    "postgresql": [
        "CREATE TABLE search (rowid bigint PRIMARY KEY, tokens bigint[] NOT NULL)",
        # without it, what was written last is a list that every search reads from end to end
        "CREATE INDEX search_tokens ON search USING gin (tokens) WITH (fastupdate = off)",
    ],
}

#: How many public repositories there are of a kind (by its first letter, here and below), and how many of
#: them have a tag: ``tag`` as the
#: index writes it, ``label`` as they do.
kinds = sa.Table(
    "kinds",
    metadata,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)
tag_counts = sa.Table(
    "tag_counts",
    metadata,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("tag", Text, primary_key=True),
    sa.Column("label", Text, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Index("frequent_tags", "kind", "count"),
)

#: How many repositories of a kind stand on each step of an order (see index.py).
steps = sa.Table(
    "steps",
    metadata,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("order", Text, primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)

#: The words of repositories' names, and how many have each.
name_words = sa.Table(
    "name_words",
    metadata,
    sa.Column("word", Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

#: Names a repository had before it was moved.
moves = sa.Table(
    "moves",
    metadata,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("folded", Text, primary_key=True),
    sa.Column("repository", sa.Integer, nullable=False),
)

#: ``files``: path -> [sha256, bytes, kept as LFS, git object id].
commits = sa.Table(
    "commits",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("id", Text, primary_key=True),
    sa.Column("parent", Text, nullable=False),
    sa.Column("title", Text, nullable=False),
    sa.Column("message", Text, nullable=False),
    sa.Column("author", Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("files", sa.JSON, nullable=False),
)

#: Branches and tags.
refs = sa.Table(
    "refs",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("kind", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("commit_id", Text, nullable=False),
)

#: Repositories that are copies of another hub's: where from, and the commit there that the copy stands at
#: (see mirror.py).
mirrors = sa.Table(
    "mirrors",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("endpoint", Text, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("revision", Text, nullable=False),
    sa.Column("commit_id", Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

#: ``request``: it proposes a change, in the commits of the ref ``refs/pr/NUMBER``; ``merged_as``: the commit
#: that took it in.
discussions = sa.Table(
    "discussions",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("title", Text, nullable=False),
    sa.Column("status", Text, nullable=False),
    sa.Column("author", Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("request", sa.Boolean, nullable=False),
    sa.Column("base", Text, nullable=False),
    sa.Column("merged_as", Text, nullable=False),
)

#: What happened in a discussion; what ``data`` holds depends on ``kind``.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("repository", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("author", Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index("events_of", "repository", "number"),
)

#: Which repository needs which content; what no row names may be collected.
holdings = sa.Table(
    "holdings",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("sha256", Text, primary_key=True),
)
sa.Index("holders", holdings.c.sha256)

#: Contents kept as chunks: ``terms`` are [xorb, first chunk, end, bytes] in order.
chunked = sa.Table(
    "chunked",
    metadata,
    sa.Column("sha256", Text, primary_key=True),
    sa.Column("file_hash", Text, nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("terms", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)


def _carry_over(target: sa.Table, connection: sa.Connection, **_: Any) -> None:
    """Fill a new table of chunks from what a catalogue of an earlier version holds."""
    if target is marks and sa.inspect(connection).has_table("landmarks"):
        connection.exec_driver_sql("INSERT INTO marks (chunk, sha256) SELECT chunk, sha256 FROM landmarks")
        connection.exec_driver_sql("DROP TABLE landmarks")
    if target is packs and sa.inspect(connection).has_table("chunked"):
        for row in connection.execute(sa.select(chunked.c.sha256, chunked.c.terms)).all():
            values = [{"xorb": xorb, "sha256": row.sha256} for xorb in {term[0] for term in row.terms}]
            if values:
                connection.execute(packs.insert(), values)


#: Chunks by which a client may ask whether a content like its own is here: the first of each content, and
#: one in about a thousand of the others. Several contents may have the same one: who asks is told of one
#: that they may read.
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("chunk", Text, primary_key=True),
    sa.Column("sha256", Text, primary_key=True, index=True),
)
#: Which contents have chunks in which xorb.
packs = sa.Table(
    "packs",
    metadata,
    sa.Column("xorb", Text, primary_key=True),
    sa.Column("sha256", Text, primary_key=True, index=True),
)

for _table in (marks, packs):
    event.listen(_table, "after_create", _carry_over)

#: Who has shown to have which bytes by uploading them (see uploads.py). ``repository`` 0: a xorb, whose
#: chunks its uploader may use in any; ``kept``: a collection spares it, since its commit or its shard is
#: still to come.
uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("user", Text, primary_key=True),
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Index("uploads_by_name", "name"),
)

#: What the headers of models say (see variants.py), by the digest of their files: a card, or the ``fault``
#: that keeps them from being one.
headers = sa.Table(
    "headers",
    metadata,
    sa.Column("digest", Text, primary_key=True),
    sa.Column("card", sa.JSON, nullable=False),
)

#: What was found in files (see scans.py), by the digest of rules, path and content.
scans = sa.Table(
    "scans",
    metadata,
    sa.Column("digest", Text, primary_key=True),
    sa.Column("found", sa.JSON, nullable=False),
)

people = sa.Table(
    "people",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

memberships = sa.Table(
    "memberships",
    metadata,
    sa.Column("organisation", Text, primary_key=True),
    sa.Column("user", Text, primary_key=True),
    sa.Column("role", Text, nullable=False),
)

#: Tokens by their sha256; the token itself is shown once and kept nowhere.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("digest", Text, primary_key=True),
    sa.Column("user", Text, nullable=False),
    sa.Column("label", Text, nullable=False),
    sa.Column("role", Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)

#: People who asked for access to a gated repository, and what became of it.
accesses = sa.Table(
    "accesses",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("user", Text, primary_key=True),
    sa.Column("status", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

#: ``chain``: sha256 over the row before and this one, so that an edited or removed row shows.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("subject", Text, nullable=False),
    sa.Column("detail", Text, nullable=False),
    sa.Column("chain", Text, nullable=False),
)
