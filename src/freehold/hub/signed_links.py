"""Rights that a link or a token carries: who got it, over which repository, to do what, until when.

Links and tokens travel without their owner's credentials, so each is bound to what was asked for and is
looked at again when it is used: who has lost access since, or a repository that is gone, opens nothing.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from freehold.hub.commits import Repository
from freehold.hub.permissions import Permissions
from freehold.hub.repositories import Repositories
from freehold.hub.users import KEEPER, User, Users

#: Whoever comes without a token.
NOBODY = User("", "read", {})
#: Who acts on an open hub, in place of a token's digest.
OPEN = "open"


class Void(Exception):
    """A grant that is forged, too old, or for what its owner may not do any more."""


@dataclass(frozen=True)
class Grant:
    """``right``: read, write, download, upload or xorb. ``subject``: what it is for: a commit, a digest and
    bytes, a range of a xorb.

    ``who``: the sha256 of the asker's token, or nothing for nobody. ``repository``, ``created``: its number
    and when it was made, since a catalogue put back from a backup may give numbers again. ``expires``:
    seconds since 1970.
    """

    right: str
    who: str
    repository: int
    created: int
    subject: str
    expires: int


class SignedLinks:
    """Signs grants and looks at them when they are used. ``public``: who has no token may read."""

    def __init__(
        self, key: bytes, repositories: Repositories, accounts: Users, rights: Permissions, *, public: bool
    ):
        self._key, self._repositories, self._accounts = key, repositories, accounts
        self._rights, self._public = rights, public

    def give(self, right: str, who: str, repository: Repository, subject: str, lasts_s: int) -> Grant:
        """A grant that holds from now on for ``lasts_s`` seconds."""
        return Grant(right, who, repository.id, _stamp(repository), subject, int(time.time()) + lasts_s)

    def query(self, grant: Grant) -> str:
        """A grant as a link's query, without its subject, which the link tells."""
        values = {
            "expires": grant.expires,
            "repository": grant.repository,
            "created": grant.created,
            "who": grant.who,
            "signature": self._signature(grant),
        }
        return urlencode(values)

    def token(self, grant: Grant) -> str:
        """A grant as a bearer token."""
        parts = (grant.right, grant.expires, grant.who, grant.repository, grant.created, grant.subject)
        return ".".join([*map(str, parts), self._signature(grant)])

    def read_token(self, text: str) -> tuple[Grant, str]:
        """(the grant, its signature) of a token. Raises Void for a text that is none."""
        parts = text.split(".")
        if len(parts) != 7 or not all(
            part.isdecimal() and len(part) < 20 for part in (parts[1], *parts[3:5])
        ):
            raise Void
        right, expires, who, repository, created, subject, signature = parts
        return Grant(right, who, int(repository), int(created), subject, int(expires)), signature

    def redeem(self, grant: Grant, signature: str) -> tuple[User, Repository]:
        """Who has a grant, and the repository it is for, as both are now. Raises Void."""
        if grant.expires < time.time() or not hmac.compare_digest(
            self._signature(grant).encode(), signature.encode()
        ):
            raise Void
        actor, repository = self._holder(grant.who), self._repositories.numbered(grant.repository)
        if actor is None or repository is None or _stamp(repository) != grant.created:
            raise Void
        allowed: Callable[[User, Repository], bool] = (
            self._rights.proposes if grant.right in ("write", "upload") else self._rights.opens
        )
        if not allowed(actor, repository):
            raise Void
        return actor, repository

    def _holder(self, who: str) -> User | None:
        if who == OPEN:
            return User(KEEPER, "admin", {}) if self._accounts.open else None
        if not who:
            return NOBODY if self._public and not self._accounts.open else None
        return self._accounts.holder(who)

    def _signature(self, grant: Grant) -> str:
        parts = (grant.right, grant.expires, grant.who, grant.repository, grant.created, grant.subject)
        return hmac.new(self._key, "\x1f".join(map(str, ("grant", *parts))).encode(), "sha256").hexdigest()


def _stamp(repository: Repository) -> int:
    return int(repository.created * 1000)
