"""Blobs by sha256, and whether their bytes still are what their names say.

Reading every byte of a model before each use would take as long as loading it. So what the file system says
of a blob (bytes, time of modification, time of change) is kept when its bytes have been read and matched; a
blob of which it says the same is not read again. The time of change cannot be set by a program, so a blob
that was written to is read again whatever its time of modification says. ``freehold store check`` reads
everything.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from freehold.core import atomic_files
from freehold.models.catalogue import checked_blobs, upsert


@dataclass(frozen=True)
class Mark:
    """What the file system says of a file: bytes, and nanoseconds since 1970."""

    size: int
    modified_ns: int
    changed_ns: int

    @staticmethod
    def of(path: Path) -> Mark:
        """The mark of a file. Raises FileNotFoundError."""
        status = path.stat()
        return Mark(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Blobs:
    """The blobs of one store. Safe for threads and processes."""

    def __init__(self, folder: Path, damaged: Path, engine: sa.Engine):
        self.folder, self.damaged, self._engine = folder, damaged, engine
        self._known: dict[str, Mark | None] = {}
        self._lock = threading.Lock()

    def path(self, digest: str) -> Path:
        """Where the blob of this sha256 lies, or will."""
        return self.folder / digest[:2] / digest

    def is_whole(
        self, digest: str, *, again: bool = False, on_bytes: Callable[[int], None] | None = None
    ) -> bool:
        """Whether a blob's bytes match its digest. ``again``: read them even where nothing has changed.

        Raises FileNotFoundError.
        """
        path = self.path(digest)
        mark = Mark.of(path)
        if not again and self._recorded(digest) == mark:
            return True
        if atomic_files.sha256_file(path, on_bytes) != digest:
            return False
        if Mark.of(path) == mark:  # nobody wrote to it meanwhile
            self._record(digest, mark)
        return True

    def note(self, digest: str, *, keep: bool = True) -> None:
        """Remember the mark of a blob whose bytes have just been read and matched. ``keep``: beyond this
        process too.
        """
        mark = Mark.of(self.path(digest))
        if keep:
            self._record(digest, mark)
        else:
            self._remember(digest, mark)

    def was_damaged(self, digest: str) -> bool:
        """Whether a blob that was whole was written to since and is no longer what its name says.

        Cheap where nothing was written; a blob that was never read is not read here. Writes nothing, so it
        may be asked within a transaction. Raises FileNotFoundError.
        """
        recorded, mark = self._recorded(digest), Mark.of(self.path(digest))
        if recorded is None or recorded == mark:
            return False
        if atomic_files.sha256_file(self.path(digest)) != digest:
            return True
        self._remember(digest, mark)
        return False

    def renewed(self, digest: str, renew: Callable[[], None]) -> None:
        """Let ``renew`` touch a blob, whose bytes stay what they were."""
        same = self._recorded(digest) == Mark.of(self.path(digest))
        renew()
        if same:
            self.note(digest, keep=False)

    def set_aside(self, digest: str) -> Path:
        """Move a damaged blob out of reach, so that a good one can take its place; where it is kept."""
        aside = self.damaged / f"{digest}-{time.time_ns()}"
        atomic_files.make_folder(aside.parent)
        os.replace(self.path(digest), aside)
        with self._lock:
            self._known.pop(digest, None)
        return aside

    def _recorded(self, digest: str) -> Mark | None:
        with self._lock:
            if digest in self._known:
                return self._known[digest]
        columns = checked_blobs.c
        statement = sa.select(columns.bytes, columns.modified_ns, columns.changed_ns).where(
            columns.digest == digest
        )
        with self._engine.connect() as connection:
            row = connection.execute(statement).first()
        mark = None if row is None else Mark(*row)
        self._remember(digest, mark)
        return mark

    def _remember(self, digest: str, mark: Mark | None) -> None:
        with self._lock:
            self._known[digest] = mark

    def _record(self, digest: str, mark: Mark) -> None:
        self._remember(digest, mark)
        values = {"bytes": mark.size, "modified_ns": mark.modified_ns, "changed_ns": mark.changed_ns}
        with self._engine.begin() as connection:
            statement = upsert(connection, checked_blobs).values(digest=digest, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=values))
