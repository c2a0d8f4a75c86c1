"""People, tokens and what they may do; and the record of it that cannot be edited unseen.

A hub without people is open: whoever reaches it, which is this machine alone, may do everything. From the
first user on every request needs a token.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from freehold.core.errors import NotFound, UsageError
from freehold.models import catalogue as tables
from freehold.models.store import Store

ROLES = ("read", "write", "admin")
#: What a request for access can be.
ACCESS = ("pending", "accepted", "rejected")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")
_LETTERS = string.ascii_letters + string.digits
#: Who acts on an open hub.
KEEPER = "freehold"


@dataclass(frozen=True)
class User:
    """Who asks, with the token's role and the person's organisations (name -> role)."""

    name: str
    role: str
    organisations: dict[str, str]

    def may_write(self, namespace: str) -> bool:
        """Whether this one may change repositories of a namespace."""
        if self.role == "admin":
            return True
        return self.role == "write" and (
            namespace == self.name or self.organisations.get(namespace) in ("write", "admin")
        )

    def belongs(self, namespace: str) -> bool:
        """Whether this one may read private repositories of a namespace."""
        is_own = bool(self.name) and namespace == self.name  # nobody owns nothing
        return self.role == "admin" or is_own or namespace in self.organisations


@dataclass(frozen=True)
class Token:
    """A token as it is listed; the token itself is not kept."""

    digest: str
    user: str
    label: str
    role: str
    created: float
    expires: float


@dataclass(frozen=True)
class Access:
    """A request for access to a gated repository."""

    user: str
    status: str
    reason: str
    at: float


class Users:
    """Users, organisations, tokens and the audit log of a store."""

    def __init__(self, store: Store):
        self.engine = store.engine

    @property
    def open(self) -> bool:
        """Whether there is nobody yet."""
        with self.engine.connect() as connection:
            return connection.execute(sa.select(tables.people.c.name).limit(1)).first() is None

    # -- people -------------------------------------------------------------------------------

    def add(self, name: str, *, organisation: bool = False) -> None:
        """A user or an organisation; nothing when it is there already. Raises UsageError."""
        with self.engine.begin() as connection:
            _add(connection, name, organisation=organisation)

    def known(self, name: str) -> bool:
        """Whether there is a user of that name."""
        with self.engine.connect() as connection:
            return (
                connection.execute(
                    sa.select(tables.people.c.name).where(tables.people.c.name == name)
                ).first()
                is not None
            )

    def join(self, organisation: str, user: str, role: str) -> None:
        """Make a user a member of an organisation."""
        table = tables.memberships
        with self.engine.begin() as connection:
            connection.execute(
                table.delete().where(table.c.organisation == organisation, table.c.user == user)
            )
            connection.execute(table.insert().values(organisation=organisation, user=user, role=role))

    # -- tokens -------------------------------------------------------------------------------

    def create_token(
        self,
        user: str,
        *,
        role: str = "write",
        label: str = "",
        days: float = 0.0,
        show: Callable[[str], None] = lambda _: None,
    ) -> str:
        """A new token: ``hf_`` and 36 letters and digits, the form that clients accept.

        ``days`` 0: no expiry. ``show`` is given it before anything is kept: a token that nobody saw neither
        makes its user nor closes the hub.
        """
        if role not in ROLES:
            raise UsageError(f"{role!r} is not a role", f"choose one of {', '.join(ROLES)}")
        if not math.isfinite(days):
            raise UsageError(
                f"a token cannot be valid for {days} days", "use a number of days, or 0 for no end"
            )
        token = "hf_" + "".join(secrets.choice(_LETTERS) for _ in range(36))
        expires = time.time() + days * 86400 if days else 0.0
        with self.engine.begin() as connection:
            _add(connection, user, organisation=False)
            connection.execute(
                tables.tokens.insert().values(
                    digest=digest_of(token),
                    user=user,
                    label=label,
                    role=role,
                    created=time.time(),
                    expires=expires,
                )
            )
            show(token)
        return token

    def tokens(self) -> list[Token]:
        """All tokens, oldest first."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(tables.tokens).order_by(tables.tokens.c.created)).all()
        return [Token(row.digest, row.user, row.label, row.role, row.created, row.expires) for row in rows]

    def revoke(self, start: str) -> Token:
        """Remove the token whose digest starts so. Raises NotFound."""
        tokens = [token for token in self.tokens() if token.digest.startswith(start)]
        if len(tokens) != 1 or len(start) < 6:
            raise NotFound(
                f"no single token starts with {start!r}",
                "see 'freehold hub token list' and give at least 6 digits",
            )
        with self.engine.begin() as connection:
            connection.execute(tables.tokens.delete().where(tables.tokens.c.digest == tokens[0].digest))
        return tokens[0]

    def actor(self, token: str) -> User | None:
        """Who a token stands for; None for an unknown or expired one."""
        return self.holder(digest_of(token))

    def holder(self, digest: str) -> User | None:
        """Who the token of this sha256 stands for; None for an unknown or expired one."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(tables.tokens).where(tables.tokens.c.digest == digest)).first()
            if row is None or (row.expires and row.expires < time.time()):
                return None
            members = connection.execute(
                sa.select(tables.memberships).where(tables.memberships.c.user == row.user)
            ).all()
        return User(row.user, row.role, {member.organisation: member.role for member in members})

    # -- gated repositories -------------------------------------------------------------------

    def accesses(self, repository: int) -> list[Access]:
        """Who asked for access, oldest first."""
        table = tables.accesses
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(table).where(table.c.repository == repository).order_by(table.c.at)
            ).all()
        return [Access(row.user, row.status, row.reason, row.at) for row in rows]

    def access(self, repository: int, user: str) -> str:
        """What became of a user's request for access; nothing where there is none."""
        table = tables.accesses
        with self.engine.connect() as connection:
            return (
                connection.execute(
                    sa.select(table.c.status).where(table.c.repository == repository, table.c.user == user)
                ).scalar()
                or ""
            )

    def granted(self, repository: int, user: str) -> bool:
        """Whether a user was let into a gated repository."""
        return self.access(repository, user) == "accepted"

    def decide(self, repository: int, user: str, status: str, reason: str = "") -> None:
        """Set what becomes of a user's request for access."""
        table = tables.accesses
        conditions = table.c.repository == repository, table.c.user == user
        with self.engine.begin() as connection:
            if not connection.execute(
                table.update().where(*conditions).values(status=status, reason=reason)
            ).rowcount:
                connection.execute(
                    table.insert().values(
                        repository=repository, user=user, status=status, reason=reason, at=time.time()
                    )
                )

    # -- audit --------------------------------------------------------------------------------

    def record(self, actor: str, action: str, subject: str, detail: str = "") -> None:
        """Append to the audit log."""
        table = tables.audit
        with self.engine.begin() as connection:
            # the row before must not change under us: SQLite's one writer has the lock from the insert on,
            # PostgreSQL's has to ask
            if self.engine.dialect.name == "postgresql":
                connection.exec_driver_sql("LOCK TABLE audit IN EXCLUSIVE MODE")
            row = connection.execute(
                table.insert().values(
                    at=time.time(), actor=actor, action=action, subject=subject, detail=detail, chain=""
                )
            ).inserted_primary_key
            assert row is not None
            new = connection.execute(sa.select(table).where(table.c.id == row[0])).one()
            before = (
                connection.execute(
                    sa.select(table.c.chain).where(table.c.id < row[0]).order_by(table.c.id.desc()).limit(1)
                ).scalar()
                or ""
            )
            connection.execute(table.update().where(table.c.id == row[0]).values(chain=_link(before, new)))

    def audit_faults(self) -> list[str]:
        """A sentence for the first row that was edited, or after which one was removed."""
        before = ""
        with self.engine.connect() as connection:
            for row in connection.execute(sa.select(tables.audit).order_by(tables.audit.c.id)):
                if row.chain != _link(before, row):
                    return [
                        f"the audit log was changed at or before row {row.id} ({row.action} {row.subject})"
                    ]
                before = row.chain
        return []


def _add(connection: sa.Connection, name: str, *, organisation: bool) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot name a user", "use letters, digits, dash and underscore, 39 at most"
        )
    kind = "organisation" if organisation else "user"
    people = tables.people
    row = connection.execute(sa.select(people).where(sa.func.lower(people.c.name) == name.lower())).first()
    if row is not None and row.name != name:  # their repositories would have each other's names
        raise UsageError(f"{name} differs from the existing {row.name} only in case", "choose another name")
    if row is None:
        connection.execute(tables.people.insert().values(name=name, kind=kind, created=time.time()))
    elif row.kind != kind:
        raise UsageError(f"{name} already exists, as {row.kind}", "choose another name")


def digest_of(token: str) -> str:
    """The sha256 by which a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def _link(before: str, row: sa.Row[tuple[object, ...]]) -> str:
    parts = (before, str(row.id), repr(row.at), row.actor, row.action, row.subject, row.detail)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
