"""What one request to a hub knows: who asks, what they may read and change, and how the answer is shaped."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi import Request

from freehold import durable
from freehold.errors import NotFound
from freehold.hub.accounts import KEEPER, Accounts, Actor
from freehold.hub.commit_gate import Allow, CommitGate
from freehold.hub.contents import Contents
from freehold.hub.discussions import Discussions
from freehold.hub.repositories import File, Repositories, Repository
from freehold.hub.scans import Danger, Look, Scans
from freehold.hub.store import Store

#: Whoever comes without a token.
NOBODY = Actor("", "read", {})
#: URL part -> kind of repository.
PLURALS = {"models": "model", "datasets": "dataset", "spaces": "space"}


class Answer(Exception):
    """An answer other than success, with the code that clients know it by. ``also``: further fields of its body."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "",
        headers: dict[str, str] | None = None,
        also: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.code, self.headers, self.also = (
            status,
            message,
            code,
            headers or {},
            also or {},
        )


@dataclass(frozen=True)
class Known:
    """What rooms above this one know. ``duties``: what a licence obliges to, in a sentence, or nothing; ``measured``: sentences of what was
    measured here of weights with a sha256; ``look``: what is dangerous in files, by the rules of that name; ``allow``: raises Refused where
    the policy does not let a repository hold weights under a licence."""

    duties: Callable[[str], str] = lambda _: ""
    measured: Callable[[str], list[str]] = lambda _: []
    look: Look | None = None
    rules: str = ""
    allow: Allow = lambda _, __: None


class Hub:
    """The parts behind every request, and the signatures that let a URL stand for a right.

    ``public``: repositories that are not private may be read without a token. ``strict``: a commit that brings unsafe files to a model is refused.
    """

    def __init__(self, store: Store, *, public: bool, known: Known | None = None, strict: bool = False):
        self.store, self.public, self.known, self.strict = store, public, known or Known(), strict
        self.contents = Contents(store)
        self.scans = Scans(self.contents, self.known.look, self.known.rules)
        gate = CommitGate(self.scans, self.known.allow, strict=strict)
        self.repositories = Repositories(store, self.contents, gate)
        self.accounts = Accounts(store)
        self.discussions = Discussions(store.engine)
        self.key = _key(store.folder / "keys" / "hub.key")
        self.parts = store.incoming / "hub"
        self.parts.mkdir(parents=True, exist_ok=True)
        #: clients remember chunks by address: a new store must have another one
        self.id = hashlib.sha256(self.key + b"store").hexdigest()[:16]

    def dangers(self, found: Repository, files: Mapping[str, File]) -> dict[str, list[Danger]]:
        """What is dangerous in files of a model, by path; nothing of other kinds."""
        return self.scans.of(files) if found.kind == "model" else {}

    # -- signatures -----------------------------------------------------------------------------

    def sign(self, *parts: str | int) -> str:
        """A signature over the parts."""
        return hmac.new(self.key, "\x1f".join(map(str, parts)).encode(), "sha256").hexdigest()

    def check(self, signature: str, expires: int, *parts: str | int) -> None:
        """Raises Answer unless :meth:`sign` made ``signature`` over the parts and time is left."""
        if expires < time.time() or not hmac.compare_digest(
            self.sign(expires, *parts).encode(), signature.encode()
        ):
            raise Answer(403, "this address is no longer valid; ask for a new one")

    def xet_token(self, role: str) -> tuple[str, int]:
        """(token, second it expires) for the chunk store."""
        expires = int(time.time()) + 3600
        return f"{role}.{expires}.{self.sign(expires, 'xet', role)}", expires

    def xet_role(self, request: Request) -> str:
        """Role of a request to the chunk store. Raises Answer."""
        role, _, rest = request.headers.get("authorization", "").removeprefix("Bearer ").partition(".")
        expires, _, signature = rest.partition(".")
        if role not in ("read", "write") or not expires.isdigit():
            raise Answer(401, "the chunk store needs a token of this hub")
        try:
            self.check(signature, int(expires), "xet", role)
        except Answer as error:
            raise Answer(401, error.message) from None
        return role

    @asynccontextmanager
    async def landing(self) -> AsyncIterator[Path]:
        """A file for what comes in; gone afterwards unless it was moved away."""
        path = self.parts / f"{secrets.token_hex(8)}.part"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    # -- who and what ---------------------------------------------------------------------------

    def actor(self, request: Request) -> Actor | None:
        """Who asks, looked up once a request; None for nobody. Raises Answer for a token that is not known."""
        if not hasattr(request.state, "actor"):
            request.state.actor = self._actor(request)
        return request.state.actor

    def _actor(self, request: Request) -> Actor | None:
        header = request.headers.get("authorization", "")
        token = header.removeprefix("Bearer ").strip()
        if header.lower().startswith("basic "):
            try:
                token = base64.b64decode(header[6:]).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                token = ""
        known = self.accounts.actor(token) if token else None
        if known is not None:
            return known
        if self.accounts.open:
            return Actor(KEEPER, "admin", {})
        if header:
            raise Answer(401, "Invalid credentials in Authorization header")
        return None

    def someone(self, request: Request) -> Actor:
        """Who asks. Raises Answer for nobody."""
        actor = self.actor(request)
        if actor is None:
            raise Answer(
                401, "Invalid username or password.", headers={"WWW-Authenticate": 'Bearer realm="hub"'}
            )
        return actor

    def reader(self, request: Request) -> Actor:
        """Who asks to read; nobody may where the hub is public. Raises Answer."""
        return NOBODY if self.public and self.actor(request) is None else self.someone(request)

    def readable(self, request: Request, plural: str, name: str, *, files: bool = False) -> Repository:
        """A repository that the asker may see, or whose ``files`` they may read. Raises Answer."""
        actor = self.reader(request)
        try:
            found = self.repositories.find(PLURALS[plural], name)
        except (KeyError, NotFound):
            raise Answer(404, f"Repository not found: {name}", "RepoNotFound") from None
        if found.private and not actor.belongs(found.author):
            raise Answer(404, f"Repository not found: {name}", "RepoNotFound")
        if files and not self.opens(found, actor):
            page = base_of(request) + page_path(found.kind, found.name)
            raise Answer(403, f"Access to {found.kind} {found.name} is restricted and you are not in the authorized list. Ask for access on its page: {page}",
                         "GatedRepo")  # fmt: skip
        return found

    def opens(self, found: Repository, actor: Actor) -> bool:
        """Whether a repository that the actor may see opens its files to them."""
        return not found.gated or actor.belongs(found.author) or self.accounts.granted(found.id, actor.name)

    def writable(self, request: Request, plural: str, name: str) -> tuple[Repository, Actor]:
        """A repository that the asker may change. Raises Answer."""
        actor, found = self.someone(request), self.readable(request, plural, name)
        if not actor.may_write(found.author):
            raise Answer(403, f"You have read access but not write access to {found.name}")
        return found, actor

    def proposing(self, request: Request, plural: str, name: str) -> tuple[Repository, Actor]:
        """A repository that the asker may propose changes to: who may read its files and write something somewhere. Raises Answer."""
        actor, found = self.someone(request), self.readable(request, plural, name, files=True)
        if actor.role == "read":
            raise Answer(403, "this token may only read; propose changes with one of role write")
        return found, actor

    def revision(self, found: Repository, revision: str) -> str:
        """Commit id. Raises Answer."""
        try:
            return self.repositories.resolve(found, revision)
        except NotFound as error:
            raise Answer(
                404, f"Invalid rev id: {revision[:80]} ({error.message})", "RevisionNotFound"
            ) from None

    def visible(self, actor: Actor) -> tuple[str, ...] | None:
        """Whose private repositories a list may show; None: everyone's."""
        return None if actor.role == "admin" else (actor.name, *actor.organisations)


def page_path(kind: str, name: str, *more: str) -> str:
    """Where a repository's page lies on the hub, or something below it."""
    start = "" if kind == "model" else f"/{kind}s"
    return "/".join([f"{start}/{name}", *(quote(part, safe="/") for part in more if part)])


def whose(where: str) -> tuple[str, str]:
    """(plural kind, name) of the repository that the first parts of a page's address name; a model's have no kind before it."""
    plural, _, name = where.partition("/")
    return (plural, name) if plural in PLURALS and name else ("models", where)


def base_of(request: Request) -> str:
    """The address the client uses for this hub."""
    return str(request.base_url).rstrip("/")


def plain(part: str) -> str:
    """A path parameter with the slashes that were escaped in it."""
    return part.replace("%2F", "/")


def _key(path: Path) -> bytes:
    """The hub's secret; made once, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with durable.locked(path.with_suffix(".lock"), "the hub's key", wait=True):
        if not path.exists():
            durable.write_atomically(path, secrets.token_bytes(32))
            os.chmod(path, 0o600)
        return path.read_bytes()
