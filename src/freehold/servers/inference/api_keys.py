"""Keys of a server's clients: kept as digests, for some models or all, with limits of their own, for a time or for good."""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.core.errors import NotFound, UsageError
from freehold.models.catalogue import Text, make_tables
from freehold.models.store import Store

_LONGEST_DAYS = 36_500.0
_LETTERS = string.ascii_letters + string.digits
metadata = sa.MetaData()
#: ``old_digest`` is good until ``old_until``: the key before the last rotation.
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("digest", Text, nullable=False, index=True),
    sa.Column("old_digest", Text, nullable=False),
    sa.Column("old_until", sa.Float, nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("limits", sa.JSON, nullable=False),
)


@dataclass(frozen=True)
class Limits:
    """What a key may have; 0: no limit. ``priority``: higher goes first. ``group``: keys of one group may share what was computed of prompts."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrent: int = 0
    priority: int = 0
    group: str = ""


@dataclass(frozen=True)
class Key:
    """A key as it is known: who, what for, how long. Seconds since 1970; ``expires`` 0: never; no ``models``: all."""

    name: str
    models: tuple[str, ...]
    created: float
    expires: float
    limits: Limits

    def opens(self, model: str) -> bool:
        """Whether it may ask this model."""
        return not self.models or model in self.models


def _unseen(_: str) -> None:
    """For whoever calls and takes the key from what is returned."""


def scope_of(key: Key, sharing: str) -> str:
    """Whose prompts a key may go on from: all of one scope. ``sharing``: all, group or key, as :class:`freehold.servers.inference.model_pool.Terms` says.

    A key that was taken back and made again under its old name is another.
    """
    if sharing == "all" or not key.name:
        return ""
    if sharing == "group" and key.limits.group:
        return f"group {key.limits.group}"
    return f"key {key.name} {key.created!r}"


#: Who comes without a key where none are needed.
ANYONE = Key("", (), 0.0, 0.0, Limits())


class Keys:
    """The keys in one store."""

    def __init__(self, store: Store):
        self.engine = store.engine
        make_tables(self.engine, metadata)

    def any(self) -> bool:
        """Whether there are keys."""
        with self.engine.connect() as connection:
            return connection.execute(sa.select(keys.c.name).limit(1)).first() is not None

    def create(
        self,
        name: str,
        *,
        models: Sequence[str] = (),
        days: float = 0.0,
        limits: Limits | None = None,
        show: Callable[[str], None] = _unseen,
    ) -> str:
        """A new key, which ``show`` is given before the record is kept: one that nobody saw leaves nothing.

        Raises UsageError for a name that is taken, and what ``show`` raises; then there is no such key.
        """
        if not name or len(name) > 80 or not name.isprintable():
            raise UsageError(f"{name[:80]!r} cannot name a key", "use up to 80 printable characters")
        if not 0 <= days <= _LONGEST_DAYS:
            raise UsageError(
                f"a key cannot hold for {days} days", f"use up to {_LONGEST_DAYS:.0f}, or 0: for ever"
            )
        key = _new()
        expires = time.time() + days * 86_400 if days else 0.0
        with self.engine.begin() as connection:
            if connection.execute(sa.select(keys.c.name).where(keys.c.name == name)).first():
                raise UsageError(
                    f"there is a key named {name} already", "revoke or rotate it, or choose another name"
                )
            connection.execute(
                keys.insert().values(name=name, digest=_digest(key), old_digest="", old_until=0.0, models=list(models), created=time.time(),
                                     expires=expires, limits=(limits or Limits()).__dict__)
            )  # fmt: skip
            show(key)
        return key

    def rotate(self, name: str, overlap_s: float = 0.0, *, show: Callable[[str], None] = _unseen) -> str:
        """A new key under an old name, shown as by :meth:`create`. Raises NotFound.

        The old one stays good for ``overlap_s``.
        """
        key = _new()
        with self.engine.begin() as connection:
            row = connection.execute(sa.select(keys.c.digest).where(keys.c.name == name)).first()
            if row is None:
                raise NotFound(f"no key is named {name!r}", "see 'freehold key list'")
            connection.execute(
                keys.update()
                .where(keys.c.name == name)
                .values(digest=_digest(key), old_digest=row.digest, old_until=time.time() + overlap_s)
            )
            show(key)
        return key

    def revoke(self, name: str) -> None:
        """Take a key back. Raises NotFound."""
        with self.engine.begin() as connection:
            if not connection.execute(keys.delete().where(keys.c.name == name)).rowcount:
                raise NotFound(f"no key is named {name!r}", "see 'freehold key list'")

    def list(self) -> list[Key]:
        """Every key, oldest first."""
        with self.engine.connect() as connection:
            return [_key(row) for row in connection.execute(sa.select(keys).order_by(keys.c.created))]

    def find(self, key: str) -> Key | None:
        """Whose key it is; None for one that is unknown or no longer good."""
        digest, now = _digest(key), time.time()
        with self.engine.connect() as connection:
            row = connection.execute(
                sa.select(keys).where(
                    (keys.c.digest == digest) | ((keys.c.old_digest == digest) & (keys.c.old_until > now))
                )
            ).first()
        return None if row is None or (row.expires and row.expires < now) else _key(row)


def _new() -> str:
    return "fh-" + "".join(secrets.choice(_LETTERS) for _ in range(40))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _key(row: Any) -> Key:
    return Key(row.name, tuple(row.models), row.created, row.expires, Limits(**row.limits))
