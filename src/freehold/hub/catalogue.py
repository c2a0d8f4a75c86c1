"""The tables: models in the store, and the repositories, contents and people of a hub."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

metadata = sa.MetaData()

models = sa.Table(
    "models",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("revision", sa.String, primary_key=True),
    sa.Column("card", sa.JSON, nullable=False),
    sa.Column("manifest", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

#: ``folded``: the name in lower case, so that two names that differ in case alone cannot exist.
repositories = sa.Table(
    "repositories",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("folded", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False, index=True),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("gated", sa.String, nullable=False),
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

#: The tokens by which each repository is found (see index.py), compressed: what the full-text table ``search`` holds of it.
documents = sa.Table(
    "documents",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("tokens", sa.LargeBinary, nullable=False),
)
event.listen(
    documents,
    "after_create",
    sa.DDL(
        """CREATE VIRTUAL TABLE search USING fts5(tokens, content='', columnsize=0, detail=none, tokenize="ascii tokenchars '-_.:/'")"""
    ).execute_if(dialect="sqlite"),
)

#: How many public repositories there are of a kind (by its first letter, here and below), and how many of them have a tag: ``tag`` as the
#: index writes it, ``label`` as they do.
kinds = sa.Table(
    "kinds",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)
tag_counts = sa.Table(
    "tag_counts",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("tag", sa.String, primary_key=True),
    sa.Column("label", sa.String, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Index("frequent_tags", "kind", "count"),
)

#: How many repositories of a kind stand on each step of an order (see index.py).
steps = sa.Table(
    "steps",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("order", sa.String, primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)

#: The words of repositories' names, and how many have each.
name_words = sa.Table(
    "name_words",
    metadata,
    sa.Column("word", sa.String, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

#: Names a repository had before it was moved.
moves = sa.Table(
    "moves",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("folded", sa.String, primary_key=True),
    sa.Column("repository", sa.Integer, nullable=False),
)

#: ``files``: path -> [sha256, bytes, kept as LFS, git object id].
commits = sa.Table(
    "commits",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("parent", sa.String, nullable=False),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("message", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("files", sa.JSON, nullable=False),
)

#: Branches and tags.
refs = sa.Table(
    "refs",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("commit_id", sa.String, nullable=False),
)

#: ``request``: it proposes a change, in the commits of the ref ``refs/pr/NUMBER``; ``merged_as``: the commit that took it in.
discussions = sa.Table(
    "discussions",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("request", sa.Boolean, nullable=False),
    sa.Column("base", sa.String, nullable=False),
    sa.Column("merged_as", sa.String, nullable=False),
)

#: What happened in a discussion; what ``data`` holds depends on ``kind``.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("repository", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index("events_of", "repository", "number"),
)

#: Which repository needs which content; what no row names may be collected.
holdings = sa.Table(
    "holdings",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String, primary_key=True),
)

#: Contents kept as chunks: ``terms`` are [xorb, first chunk, end, bytes] in order.
chunked = sa.Table(
    "chunked",
    metadata,
    sa.Column("sha256", sa.String, primary_key=True),
    sa.Column("file_hash", sa.String, nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("terms", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

people = sa.Table(
    "people",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

memberships = sa.Table(
    "memberships",
    metadata,
    sa.Column("organisation", sa.String, primary_key=True),
    sa.Column("user", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
)

#: Tokens by their sha256; the token itself is shown once and kept nowhere.
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("user", sa.String, nullable=False),
    sa.Column("label", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)

#: People who asked for access to a gated repository, and what became of it.
accesses = sa.Table(
    "accesses",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("user", sa.String, primary_key=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

#: ``chain``: sha256 over the row before and this one, so that an edited or removed row shows.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("chain", sa.String, nullable=False),
)
