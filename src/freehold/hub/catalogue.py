"""The tables: models in the store, and the repositories, contents and people of a hub."""

from __future__ import annotations

import sqlalchemy as sa

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

#: People let into a gated repository.
grants = sa.Table(
    "grants",
    metadata,
    sa.Column("repository", sa.Integer, primary_key=True),
    sa.Column("user", sa.String, primary_key=True),
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
