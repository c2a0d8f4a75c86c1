"""Contents by sha256: whole as blobs, or as chunks that several contents share (Xet).

A content comes in whole (LFS, small files in a commit) or as xorbs and a shard. Both are checked before
they count: a blob against its sha256, a chunked content by putting it together once and hashing it.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold.core import atomic_files
from freehold.core.errors import BadData, NotFound
from freehold.hub import xet
from freehold.hub.storage_backends import Folder, StorageBackend, open_shelves
from freehold.models.catalogue import chunked, marks, packs, upsert
from freehold.models.store import Store


@dataclass(frozen=True)
class Content:
    """What is known of a content: bytes, and for a chunked one its Xet hash and terms."""

    sha256: str
    size: int
    file_hash: str = ""
    terms: tuple[xet.Term, ...] = ()


#: Chunks of a xorb: the first, and the one after the last.
Span = tuple[int, int]


def _absent(xorb: str) -> NotFound:
    return NotFound(f"the xorb {xorb[:12]} is not here", "upload it before the shard that names it")


def _content(row: sa.Row[Any]) -> Content:
    return Content(row.sha256, row.size, row.file_hash, tuple(xet.Term(*term) for term in row.terms))


class _Stream:
    """Blocks read as a file."""

    def __init__(self, blocks: Iterator[bytes]):
        self.blocks, self.block, self.at = blocks, b"", 0

    def read(self, size: int) -> bytes:
        """See :class:`io.RawIOBase`."""
        parts, have = [self.block[self.at : self.at + size]], min(size, len(self.block) - self.at)
        self.at += have
        while have < size and (block := next(self.blocks, b"")):
            self.block, self.at = block, min(size - have, len(block))
            parts.append(block[: self.at])
            have += self.at
        return parts[0] if len(parts) == 1 else b"".join(parts)


class BlobStore:
    """Reads and writes contents; several processes may do so at once."""

    def __init__(self, store: Store):
        self.store = store
        self.whole, self.xorbs = open_shelves(store.blobs, store.folder / "xorbs")
        #: models of this machine's store are contents too, wherever the hub's own lie
        self.local: StorageBackend = self.whole if isinstance(self.whole, Folder) else Folder(store.blobs)
        self._indexes = lru_cache(512)(self._read_index)

    # -- whole ------------------------------------------------------------------------------

    def put(self, data: bytes) -> str:
        """Keep a small content; its sha256."""
        digest = hashlib.sha256(data).hexdigest()
        there = self.find(digest)
        if there is not None:
            with contextlib.suppress(NotFound):  # a collection removed it a moment ago
                self.renew(there)
                return digest
        self.whole.put(digest, data)
        if self.whole is self.local:
            self.store.checked.note(digest, keep=False)
        return digest

    def renew(self, content: Content) -> None:
        """Let a collection take a content for one that has just come: whoever was told that it is here will
        name it in a commit.

        Raises NotFound where a collection has just removed it.
        """
        try:
            self._renew(content)
        except FileNotFoundError:
            raise NotFound(f"the content {content.sha256[:12]} is not here", "upload it again") from None

    def _renew(self, content: Content) -> None:
        if content.terms:
            self._register(content)
        elif (shelf := self.shelf(content.sha256)) is self.local:
            self.store.checked.renewed(content.sha256, lambda: shelf.renew(content.sha256))
        else:
            shelf.renew(content.sha256)

    def shelf(self, digest: str) -> StorageBackend:
        """Where a whole content lies."""
        return self.local if self.local.size(digest) is not None else self.whole

    def accept(self, temporary: Path, digest: str, size: int) -> None:
        """Take an uploaded file under its sha256. Raises BadData when it is not what was announced; the file
        is then removed.
        """
        actual = temporary.stat().st_size
        actual_digest = atomic_files.sha256_file(temporary) if actual == size else ""
        if actual_digest != digest:
            temporary.unlink()
            reason = (
                f"{actual} bytes came and {size} were announced"
                if actual != size
                else f"the bytes have sha256 {actual_digest[:12]}"
            )
            raise BadData(f"the upload of {digest[:12]} is not whole: {reason}", "send it again")
        there = self.find(digest)
        if there is not None and there.terms:  # kept as chunks already, and once is enough
            temporary.unlink()
            self.renew(there)
        else:
            self.whole.take(digest, temporary)
            if self.whole is self.local:
                self.store.checked.note(digest)

    # -- chunks -----------------------------------------------------------------------------

    def put_xorb(self, name: str, temporary: Path) -> bool:
        """Take an uploaded xorb; whether it is new. Raises BadData when its chunks do not hash to ``name``;
        then it is left where it is.

        One that is here already is checked all the same: who sends it shows that they have it.
        """
        index = f"{name}.index"
        with temporary.open("rb") as file:
            chunks = xet.index_of(file, name)
        if self.xorbs.size(name) is not None and self.xorbs.size(index) is not None:
            self.xorbs.renew(name)
            self.xorbs.renew(index)
            return False
        self.xorbs.take(name, temporary)
        self.xorbs.put(index, xet.write_index(chunks))
        return True

    def chunks(self, name: str) -> list[xet.Chunk]:
        """Chunks of a xorb. Raises NotFound."""
        return self._indexes(name)

    def _read_index(self, name: str) -> list[xet.Chunk]:
        index = f"{name}.index"
        size = self.xorbs.size(index)
        if size is None:
            raise _absent(name)
        return xet.read_index(b"".join(self.xorbs.read(index, 0, size)))

    def xorb_size(self, name: str) -> int:
        """Bytes of a xorb. Raises BadData, NotFound."""
        xet.bytes_of(name)
        size = self.xorbs.size(name)
        if size is None:
            raise NotFound(f"the xorb {name[:12]} is not here", "upload it first")
        return size

    def put_shard(self, data: bytes, missing: Callable[[Mapping[str, Sequence[Span]]], str]) -> list[Content]:
        """Register the files of a shard; their contents. Raises BadData, NotFound when chunks are missing
        or a file is not what it says.

        ``missing``: of the chunks (first, end) that the files take from each xorb, a xorb that is as good
        as not here for who sends the shard, or nothing.
        """
        taken: list[Content] = []
        files = xet.read_shard(data)
        spans: dict[str, list[Span]] = {}
        for term in (term for file in files for term in file.terms):
            spans.setdefault(term.xorb, []).append((term.first, term.end))
        if absent := missing(spans):
            raise _absent(absent)
        for file in files:
            pairs: list[tuple[bytes, int]] = []
            for term in file.terms:
                part = self.chunks(term.xorb)[term.first : term.end]
                if len(part) != term.end - term.first or sum(chunk.size for chunk in part) != term.size:
                    raise BadData(
                        f"a term of file {file.hash[:12]} names chunks that xorb {term.xorb[:12]} does not "
                        "have",
                        "send the shard again",
                    )
                pairs += [(chunk.hash, chunk.size) for chunk in part]
            if xet.text_of(xet.file_hash(pairs)) != file.hash:
                raise BadData(
                    f"the chunks of file {file.hash[:12]} do not hash to its name", "send the shard again"
                )
            size = sum(size for _, size in pairs)
            digest = hashlib.sha256()
            for block in self._assembled(file.terms, 0, size):
                digest.update(block)
            if file.sha256 and digest.hexdigest() != file.sha256:
                raise BadData(
                    f"file {file.hash[:12]} has another sha256 than its shard says", "send the shard again"
                )
            content = Content(digest.hexdigest(), size, file.hash, file.terms)
            taken.append(content)
            self._register(content)
            if (
                self._chunked(chunked.c.sha256 == content.sha256) == content
            ):  # else it is kept in other chunks
                self._mark(content, [value for value, _ in pairs])
        return taken

    def _mark(self, content: Content, chunks: list[bytes]) -> None:
        """Note the chunks and the xorbs by which a content can be found."""
        landmarks = {
            xet.text_of(value) for number, value in enumerate(chunks) if number == 0 or xet.is_landmark(value)
        }
        with self.store.engine.begin() as connection:
            for value in sorted(landmarks):
                statement = upsert(connection, marks).values(chunk=value, sha256=content.sha256)
                connection.execute(statement.on_conflict_do_nothing())
            for xorb in sorted({term.xorb for term in content.terms}):
                statement = upsert(connection, packs).values(xorb=xorb, sha256=content.sha256)
                connection.execute(statement.on_conflict_do_nothing())

    def marked(self, chunk: str, most: int) -> list[Content]:
        """The newest contents with a landmark, at most so many. Raises BadData."""
        xet.bytes_of(chunk)
        return self._newest(marks, marks.c.chunk == chunk, most)

    def packed_in(self, xorb: str, most: int) -> list[Content]:
        """The newest contents with chunks in a xorb, at most so many."""
        return self._newest(packs, packs.c.xorb == xorb, most)

    def _newest(self, table: sa.Table, where: sa.ColumnElement[bool], most: int) -> list[Content]:
        statement = sa.select(chunked).join(table, table.c.sha256 == chunked.c.sha256).where(where)
        with self.store.engine.connect() as connection:
            rows = connection.execute(statement.order_by(chunked.c.created.desc()).limit(most)).all()
        return [_content(row) for row in rows]

    def known_chunks(self, content: Content) -> list[tuple[str, list[xet.Chunk | None]]]:
        """Xorbs of a content with their chunks up to the last one it has; None in place of others' chunks.
        It is spared from collection for a while."""
        self.renew(content)
        known: dict[str, set[int]] = {}
        for term in content.terms:
            known.setdefault(term.xorb, set()).update(range(term.first, term.end))
        return [
            (
                xorb,
                [
                    chunk if number in spans else None
                    for number, chunk in enumerate(self.chunks(xorb)[: max(spans) + 1])
                ],
            )
            for xorb, spans in known.items()
        ]

    def _register(self, content: Content) -> None:
        with self.store.engine.begin() as connection:
            # changing first takes SQLite's write lock, so that of two equal uploads at once one waits and
            # then finds the other's row
            again = connection.execute(
                chunked.update().where(chunked.c.sha256 == content.sha256).values(created=time.time())
            )
            if again.rowcount:  # uploaded again: not old enough for collection any more
                return
            terms = [[term.xorb, term.first, term.end, term.size] for term in content.terms]
            statement = upsert(connection, chunked).values(
                sha256=content.sha256,
                file_hash=content.file_hash,
                size=content.size,
                terms=terms,
                created=time.time(),
            )
            connection.execute(statement.on_conflict_do_nothing())

    # -- reading ----------------------------------------------------------------------------

    def find(self, digest: str) -> Content | None:
        """A content that is here, else None. One whose bytes were damaged since they came is moved aside, so
        that it is asked for again.
        """
        for shelf in (self.local, self.whole) if self.whole is not self.local else (self.local,):
            size = shelf.size(digest)
            if size is not None and not (shelf is self.local and self._lost(digest)):
                return Content(digest, size)
        return self._chunked(chunked.c.sha256 == digest)

    def _lost(self, digest: str) -> bool:
        """Whether a content on this disk is damaged; then it is moved aside."""
        try:
            if not self.store.checked.was_damaged(digest):
                return False
            self.store.checked.set_aside(digest)
        except FileNotFoundError:  # another process was quicker
            pass
        return True

    def find_file(self, file_hash: str) -> Content | None:
        """A chunked content by its Xet hash; None for one that is not here. Raises BadData."""
        xet.bytes_of(file_hash)
        return self._chunked(chunked.c.file_hash == file_hash)

    def _chunked(self, where: sa.ColumnElement[bool]) -> Content | None:
        with self.store.engine.connect() as connection:
            row = connection.execute(sa.select(chunked).where(where)).first()
        return None if row is None else _content(row)

    def small(self, digest: str, most: int) -> bytes | None:
        """All bytes of a content; None for one that is missing or has more than ``most``."""
        content = self.find(digest)
        return None if content is None or content.size > most else b"".join(self.read(content))

    def text(self, digest: str, most: int) -> str | None:
        """A content as text; None for one that is missing, larger than ``most`` bytes or no UTF-8."""
        data = self.small(digest, most)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError:
            return None

    def read(self, content: Content, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes ``start`` to ``end`` (exclusive) in blocks of about a megabyte."""
        stop = content.size if end is None else min(end, content.size)
        if content.terms:
            return self._assembled(content.terms, start, stop)
        return self.shelf(content.sha256).read(content.sha256, start, stop)

    def path(self, content: Content) -> Path | None:
        """Where a content lies on this machine's disk as one file; None where it does not."""
        return None if content.terms else self.shelf(content.sha256).path(content.sha256)

    def lay_head(self, content: Content, target: Path, most: int) -> None:
        """Put a file at ``target`` that has the content's size and its first ``most`` bytes; the rest reads
        as zeros and takes no room.
        """
        if (lies := self.path(content)) is not None:
            target.symlink_to(lies)
            return
        with target.open("wb") as file:
            for block in self.read(content, 0, most):
                file.write(block)
            file.truncate(content.size)

    def lay(self, content: Content, target: Path) -> None:
        """Put the whole content at ``target``."""
        with target.open("wb") as file:
            for block in self.read(content):
                file.write(block)

    def _assembled(self, terms: Sequence[xet.Term], start: int, end: int) -> Iterator[bytes]:
        at = 0
        for term in terms:
            if at + term.size <= start or at >= end:
                at += term.size
                continue
            chunks: list[xet.Chunk] = []
            first = at  # where the first wanted chunk begins
            for chunk in self.chunks(term.xorb)[term.first : term.end]:
                if at + chunk.size <= start:
                    first = at + chunk.size
                elif at < end:
                    chunks.append(chunk)
                at += chunk.size
            stream = _Stream(self.xorbs.read(term.xorb, chunks[0].offset, chunks[-1].end))
            for chunk, (_, _, data) in zip(chunks, xet.read_chunks(stream), strict=True):
                if xet.chunk_hash(data) != chunk.hash:
                    raise BadData(
                        f"a chunk of xorb {term.xorb[:12]} is damaged",
                        "freehold hub check --repair, then upload the file again",
                    )
                yield data[max(0, start - first) : end - first]
                first += chunk.size

    # -- keeping house ----------------------------------------------------------------------

    def collect(self, referenced: set[str], *, grace_s: float) -> tuple[int, int]:
        """Remove chunked contents outside ``referenced`` and xorbs no content needs, both older than
        ``grace_s``; (files, bytes) removed.

        ``referenced``: digests of contents, and names of xorbs that a shard to come may need.
        """
        oldest = time.time() - grace_s
        with self.store.engine.begin() as connection:
            rows = connection.execute(sa.select(chunked)).all()
            gone = {row.sha256 for row in rows if row.sha256 not in referenced and row.created < oldest}
            for digest in gone:
                connection.execute(chunked.delete().where(chunked.c.sha256 == digest))
                connection.execute(marks.delete().where(marks.c.sha256 == digest))
                connection.execute(packs.delete().where(packs.c.sha256 == digest))
        needed = referenced | {term[0] for row in rows if row.sha256 not in gone for term in row.terms}
        removed = self.xorbs.collect(lambda name: name.removesuffix(".index") in needed, oldest)
        self._indexes.cache_clear()
        # of a folder the store collects, for its models too
        others = (
            self.whole.collect(referenced.__contains__, oldest)
            if not isinstance(self.whole, Folder)
            else (0, 0)
        )
        return removed[0] + others[0], removed[1] + others[1]

    def forget_indexes(self) -> None:
        """Read the lists of chunks again when they are next needed."""
        self._indexes.cache_clear()

    def check(self, content: Content) -> str:
        """A sentence when the content's bytes are not what they should be, else nothing."""
        digest = hashlib.sha256()
        try:
            for block in self.read(content):
                digest.update(block)
        except (BadData, NotFound, OSError, ValueError, IndexError) as error:
            return f"{content.sha256[:12]} cannot be read: {error}"
        return (
            ""
            if digest.hexdigest() == content.sha256
            else f"{content.sha256[:12]} was changed; its bytes no longer match"
        )
