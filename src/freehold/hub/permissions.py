"""Who may read which bytes: the one place that every route of the hub asks.

Bytes are read only as a file of a repository and of a revision that the asker may read. A revision is a
branch, a tag, a request, or a commit that one of them leads to; what only a removed branch, a squashed
history or a deleted repository held is read by nobody. A digest opens nothing: who names bytes by their
digest must be able to read them in some repository, or must have uploaded them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

import sqlalchemy as sa

from freehold.core.errors import NotFound
from freehold.hub.blob_store import BlobStore, Content
from freehold.hub.commits import Repository
from freehold.hub.repositories import Repositories
from freehold.hub.uploads import Uploads
from freehold.hub.users import User, Users
from freehold.models import catalogue as tables

#: Repositories and contents that are looked at for one digest or chunk. Of what very many hold, a few
#: answers decide; a wrong "no" costs an upload.
_LOOKED_AT = 50
#: No xorb of a client has more chunks (the specification allows 8,192).
_MOST_CHUNKS = 1 << 16


class Permissions:
    """Decides about bytes, by the repositories that hold them, the people, and what these have uploaded."""

    def __init__(self, repositories: Repositories, accounts: Users, uploads: Uploads):
        self._repositories, self._accounts, self._uploads = repositories, accounts, uploads
        self._contents: BlobStore = repositories.contents
        # a client asks for one file of a commit after the other, and a commit does not change
        self._digests = lru_cache(64)(repositories.digests_at)

    # -- repositories ---------------------------------------------------------------------------

    def sees(self, actor: User, repository: Repository) -> bool:
        """Whether the actor may know of a repository."""
        return not repository.private or actor.belongs(repository.author)

    def opens(self, actor: User, repository: Repository) -> bool:
        """Whether the actor may read a repository's files."""
        if actor.belongs(repository.author):
            return True
        if not self.sees(actor, repository):
            return False
        return not repository.gated or self._accounts.granted(repository.id, actor.name)

    def proposes(self, actor: User, repository: Repository) -> bool:
        """Whether the actor may upload to a repository, for a commit or for a request to change it."""
        return actor.role != "read" and self.opens(actor, repository)

    def speaks(self, actor: User, repository: Repository) -> bool:
        """Whether the actor may write in a repository's discussions."""
        return actor.role != "read" and self.sees(actor, repository)

    # -- contents -------------------------------------------------------------------------------

    def of_revision(self, repository: Repository, commit_id: str, digest: str) -> bool:
        """Whether a commit that a branch, tag or request of the repository leads to holds a content."""
        try:
            revision = self._repositories.resolve(repository, commit_id)
        except NotFound:
            return False
        return digest in self._digests(repository.id, revision)

    def held(self, repository: Repository, digests: Collection[str]) -> set[str]:
        """Those of ``digests`` that some revision of the repository holds."""
        return self._repositories.held(repository.id, digests)

    def readable(self, actor: User, digests: Collection[str]) -> set[str]:
        """Those of ``digests`` that the actor may read in some repository."""
        return {digest for digest in set(digests) if self._readable(actor, digest)}

    def _readable(self, actor: User, digest: str) -> bool:
        rows, held = tables.repositories, tables.holdings
        statement = (
            sa.select(rows)
            .join(held, held.c.repository == rows.c.id)
            .where(held.c.sha256 == digest, self._open_to(actor))
            .limit(_LOOKED_AT)
        )
        with self._repositories.engine.connect() as connection:
            candidates = connection.execute(statement).all()
        return any(self._repositories.held(row.id, {digest}) for row in candidates)

    def _open_to(self, actor: User) -> sa.ColumnElement[bool]:
        """What :meth:`opens` says of a repository, as a condition on its row."""
        if actor.role == "admin":
            return sa.true()
        rows, accesses = tables.repositories, tables.accesses
        own_rows = rows.c.author.in_([name for name in (actor.name, *actor.organisations) if name])
        let_in = sa.exists().where(
            accesses.c.repository == rows.c.id, accesses.c.user == actor.name, accesses.c.status == "accepted"
        )
        return sa.or_(own_rows, sa.and_(sa.not_(rows.c.private), sa.or_(rows.c.gated == "", let_in)))

    def nameable(self, actor: User, repository: Repository, digests: Collection[str]) -> set[str]:
        """Those of ``digests`` that a commit by the actor to the repository may name: what they uploaded
        for it, and what they may read."""
        known = self._uploads.contents_of(actor.name, repository.id, digests)
        left = set(digests) - known
        if left and self.opens(actor, repository):
            known |= self.held(repository, left)
        return known | self.readable(actor, set(digests) - known)

    # -- chunks -----------------------------------------------------------------------------------

    def alike(self, actor: User, chunk: str) -> Content | None:
        """The newest content with this landmark that the actor may read."""
        candidates = self._contents.marked(chunk, _LOOKED_AT)
        return next((content for content in candidates if self._readable(actor, content.sha256)), None)

    def missing_chunks(self, actor: User, spans: Mapping[str, Sequence[tuple[int, int]]]) -> str:
        """A xorb of which some wanted chunks (first, end) are neither of the actor's uploads nor of files
        they may read; nothing if none is."""
        for xorb in sorted(spans.keys() - self._uploads.xorbs_of(actor.name, spans.keys())):
            if max(end for _, end in spans[xorb]) > _MOST_CHUNKS:
                return xorb
            left = _numbers(spans[xorb])
            for content in self._contents.packed_in(xorb, _LOOKED_AT):
                numbers = _numbers((term.first, term.end) for term in content.terms if term.xorb == xorb)
                if left & numbers and self._readable(actor, content.sha256):
                    left -= numbers
                if not left:
                    break
            if left:
                return xorb
        return ""


def _numbers(spans: Iterable[tuple[int, int]]) -> set[int]:
    """The chunks of spans (first, end). Spans may be many and overlap: each chunk is counted once."""
    numbers: set[int] = set()
    beyond = 0
    for first, end in sorted(set(spans)):
        numbers.update(range(max(first, beyond), end))
        beyond = max(beyond, end)
    return numbers
