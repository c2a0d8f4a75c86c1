"""Keys of a server's clients: stored as digests, for some models or all, with limits and an expiry date."""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from freehold.core.errors import NotFound, UsageError
from freehold.models.catalogue import Text, make_tables
from freehold.models.store import Store

_LONGEST_DAYS = 36_500.0
_LETTERS = string.ascii_letters + string.digits
metadata = sa.MetaData()
#: ``old_digest``: the key before the last rotation, valid until ``old_until``.
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
    """What a key may use; 0: no limit."""

    requests_per_minute: int = 0
    #: of prompts and answers
    tokens_per_minute: int = 0
    #: requests at the same time
    concurrent: int = 0
    #: higher goes first
    priority: int = 0
    #: keys of one group may reuse what was computed of each other's prompts
    group: str = ""


@dataclass(frozen=True)
class Key:
    """A key as the server knows it."""

    name: str
    #: the models it may use; all if empty
    models: tuple[str, ...]
    #: seconds since 1970
    created: float
    #: seconds since 1970; 0: never
    expires: float
    limits: Limits

    def may_use(self, model: str) -> bool:
        """Whether it may use this model."""
        return not self.models or model in self.models


def _not_shown(_: str) -> None:
    """For callers that take the key from the return value."""


def scope_of(key: Key, sharing: str) -> str:
    """The scope of a key's prompts; requests reuse what was computed in the same scope.

    ``sharing``: all, group or key, as in :class:`PoolOptions`. A key that was revoked and created again
    under its old name has another scope.
    """
    if sharing == "all" or not key.name:
        return ""
    if sharing == "group" and key.limits.group:
        return f"group {key.limits.group}"
    return f"key {key.name} {key.created!r}"


#: Clients without a key, where none is needed.
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
        show: Callable[[str], None] = _not_shown,
    ) -> str:
        """Create a key. ``show`` gets it before it is stored, so that a key that could not be shown is
        not stored.

        Raises UsageError for a name that is taken, and what ``show`` raises.
        """
        if not name or len(name) > 80 or not name.isprintable():
            raise UsageError(
                f"{name[:80]!r} cannot be the name of a key", "use up to 80 printable characters"
            )
        if not 0 <= days <= _LONGEST_DAYS:
            raise UsageError(
                f"a key cannot be valid for {days} days", f"use up to {_LONGEST_DAYS:.0f}, or 0 for no end"
            )
        key = _new()
        expires = time.time() + days * 86_400 if days else 0.0
        with self.engine.begin() as connection:
            if connection.execute(sa.select(keys.c.name).where(keys.c.name == name)).first():
                raise UsageError(
                    f"a key named {name} already exists", "revoke or rotate it, or choose another name"
                )
            row = {
                "name": name,
                "digest": _digest(key),
                "old_digest": "",
                "old_until": 0.0,
                "models": list(models),
                "created": time.time(),
                "expires": expires,
                "limits": asdict(limits or Limits()),
            }
            connection.execute(keys.insert().values(row))
            show(key)
        return key

    def rotate(self, name: str, overlap_s: float = 0.0, *, show: Callable[[str], None] = _not_shown) -> str:
        """Create a new key under an old name; the old one stays valid for ``overlap_s`` seconds.

        ``show``: as for :meth:`create`. Raises NotFound.
        """
        key = _new()
        with self.engine.begin() as connection:
            row = connection.execute(sa.select(keys.c.digest).where(keys.c.name == name)).first()
            if row is None:
                raise NotFound(f"there is no key named {name!r}", "list keys: freehold key list")
            connection.execute(
                keys.update()
                .where(keys.c.name == name)
                .values(digest=_digest(key), old_digest=row.digest, old_until=time.time() + overlap_s)
            )
            show(key)
        return key

    def revoke(self, name: str) -> None:
        """Delete a key. Raises NotFound."""
        with self.engine.begin() as connection:
            if not connection.execute(keys.delete().where(keys.c.name == name)).rowcount:
                raise NotFound(f"there is no key named {name!r}", "list keys: freehold key list")

    def list(self) -> list[Key]:
        """Every key, oldest first."""
        with self.engine.connect() as connection:
            return [_key(row) for row in connection.execute(sa.select(keys).order_by(keys.c.created))]

    def find(self, key: str) -> Key | None:
        """The record of a key; None for a key that is unknown or no longer valid."""
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
