"""Who uploaded what: proof that a person has the bytes which their commit, or a shard of theirs, names by a
digest.

A record stands from the moment its bytes were checked. That of a content holds for one repository and ends
with the commit that names it, or after a day. That of a xorb holds for its uploader in every repository, as
long as clients remember what they have sent.
"""

from __future__ import annotations

import time
from collections.abc import Collection

import sqlalchemy as sa

from freehold.models import catalogue as tables

#: Seconds for which a person's shards may name a xorb they uploaded; clients remember theirs for three weeks.
XORB_S = 30 * 86_400.0
_ANY = 0


class Uploads:
    """The records of a catalogue."""

    def __init__(self, engine: sa.Engine):
        self._engine = engine

    def content(self, user: str, repository: int, digest: str) -> None:
        """Note that a user has sent a whole content for a repository."""
        self._note(user, repository, digest)

    def xorb(self, user: str, name: str) -> None:
        """Note that a user has sent a xorb."""
        self._note(user, _ANY, name)

    def _note(self, user: str, repository: int, name: str) -> None:
        table = tables.uploads
        values = {"at": time.time(), "kept": True}
        with self._engine.begin() as connection:
            statement = tables.upsert(connection, table).values(
                user=user, repository=repository, name=name, **values
            )
            keys = ["user", "repository", "name"]
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))

    def contents_of(self, user: str, repository: int, digests: Collection[str]) -> set[str]:
        """Those of ``digests`` that the user has sent for the repository."""
        return self._known(user, repository, digests, tables.CONTENT_S)

    def xorbs_of(self, user: str, names: Collection[str]) -> set[str]:
        """Those of the xorbs ``names`` that the user has sent."""
        return self._known(user, _ANY, names, XORB_S)

    def _known(self, user: str, repository: int, names: Collection[str], lasts_s: float) -> set[str]:
        table = tables.uploads
        known: set[str] = set()
        with self._engine.connect() as connection:
            for some in tables.in_parts(names):
                statement = sa.select(table.c.name).where(
                    table.c.user == user,
                    table.c.repository == repository,
                    table.c.name.in_(some),
                    table.c.at > time.time() - lasts_s,
                )
                known |= set(connection.execute(statement).scalars())
        return known

    def committed(self, user: str, repository: int, digests: Collection[str]) -> None:
        """Forget contents that a commit has named: from now on the repository holds them."""
        table = tables.uploads
        with self._engine.begin() as connection:
            for some in tables.in_parts(digests):
                connection.execute(
                    table.delete().where(
                        table.c.user == user, table.c.repository == repository, table.c.name.in_(some)
                    )
                )

    def packed(self, user: str, names: Collection[str]) -> None:
        """Note that contents of the user are made of these xorbs, and keep them from now on."""
        table = tables.uploads
        with self._engine.begin() as connection:
            for some in tables.in_parts(names):
                where = (table.c.user == user, table.c.repository == _ANY, table.c.name.in_(some))
                connection.execute(table.update().where(*where).values(kept=False))


def forget_old(connection: sa.Connection) -> None:
    """Remove records that count for nothing any more."""
    table, now = tables.uploads, time.time()
    content, xorb = table.c.repository != _ANY, table.c.repository == _ANY
    ended = sa.or_(
        sa.and_(content, table.c.at < now - tables.CONTENT_S), sa.and_(xorb, table.c.at < now - XORB_S)
    )
    connection.execute(table.delete().where(ended))
