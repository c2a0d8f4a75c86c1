"""What one request to a hub knows: who asks, what they may read and change, and how the answer is shaped."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi import Request

from freehold.core import atomic_files
from freehold.core.errors import NotFound
from freehold.hub.blob_store import BlobStore
from freehold.hub.commit_check import Allow, CommitGate
from freehold.hub.commits import File, Repository
from freehold.hub.discussions import Discussions
from freehold.hub.permissions import Permissions
from freehold.hub.repositories import Repositories
from freehold.hub.scans import Danger, Look, Scans
from freehold.hub.signed_links import NOBODY, OPEN, Grant, SignedLinks, Void
from freehold.hub.uploads import Uploads
from freehold.hub.users import KEEPER, User, Users, digest_of
from freehold.models.store import Store

#: URL part -> kind of repository.
PLURALS = {"models": "model", "datasets": "dataset", "spaces": "space"}


class ApiError(Exception):
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
class Link:
    """What the query of a signed link says."""

    expires: int
    repository: int
    created: int
    signature: str
    who: str = ""

    def grant(self, right: str, subject: str) -> Grant:
        """The grant that the link stands for."""
        return Grant(right, self.who, self.repository, self.created, subject, self.expires)


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
        self.contents = BlobStore(store)
        self.scans = Scans(self.contents, self.known.look, self.known.rules)
        gate = CommitGate(self.scans, self.known.allow, strict=strict)
        self.repositories = Repositories(store, self.contents, gate)
        self.accounts = Users(store)
        self.discussions = Discussions(store.engine)
        self.key = _key(store.folder / "keys" / "hub.key")
        self.parts = store.incoming / "hub"
        atomic_files.make_folder(self.parts)
        self.uploads = Uploads(store.engine)
        #: every question of who may read which bytes goes here
        self.rights = Permissions(self.repositories, self.accounts, self.uploads)
        self.grants = SignedLinks(self.key, self.repositories, self.accounts, self.rights, public=public)

    def dangers(self, found: Repository, files: Mapping[str, File]) -> dict[str, list[Danger]]:
        """What is dangerous in files of a model, by path; nothing of other kinds."""
        return self.scans.of(files) if found.kind == "model" else {}

    # -- grants ---------------------------------------------------------------------------------

    def chunk_store(self, actor: User) -> str:
        """The path of the chunk store for an actor.

        Clients remember the chunks they have sent by its address: those that one person sent are of no use
        to another.
        """
        name = hmac.new(self.key, f"store\x1f{actor.name}".encode(), "sha256").hexdigest()[:16]
        return f"/xet/{name}"

    def redeem(self, grant: Grant, signature: str) -> tuple[User, Repository]:
        """Who uses a link, and the repository it is for. Raises Answer."""
        try:
            return self.grants.redeem(grant, signature)
        except Void:
            raise ApiError(403, "this address is no longer valid; ask for a new one") from None

    def chunk_token(self, request: Request) -> tuple[Grant, User, Repository]:
        """What a request to the chunk store is granted, who sends it, and the repository it is for. Raises
        Answer."""
        text = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            grant, signature = self.grants.read_token(text)
            if grant.right not in ("read", "write"):
                raise Void
            return grant, *self.grants.redeem(grant, signature)
        except Void:
            raise ApiError(401, "the chunk store needs a token of this hub; ask for a new one") from None

    @asynccontextmanager
    async def landing(self) -> AsyncIterator[Path]:
        """A file for what comes in; gone afterwards unless it was moved away."""
        path = self.parts / f"{secrets.token_hex(8)}.part"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    # -- who and what ---------------------------------------------------------------------------

    def actor(self, request: Request) -> User | None:
        """Who asks, looked up once a request; None for nobody. Raises Answer for a token that is not known."""
        if not hasattr(request.state, "actor"):
            request.state.actor = self._actor(request)
        return request.state.actor

    def ask_again(self, request: Request) -> None:
        """Look up anew who asks: a body may take hours to come, and rights may end meanwhile."""
        del request.state.actor

    def who(self, request: Request) -> str:
        """Who asks, as a grant names them. Raises Answer."""
        actor = self.actor(request)
        return "" if actor is None else request.state.who

    def _actor(self, request: Request) -> User | None:
        header = request.headers.get("authorization", "")
        token = header.removeprefix("Bearer ").strip()
        if header.lower().startswith("basic "):
            try:
                token = base64.b64decode(header[6:]).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                token = ""
        known = self.accounts.actor(token) if token else None
        request.state.who = OPEN if known is None else digest_of(token)
        if known is not None:
            return known
        if self.accounts.open:
            return User(KEEPER, "admin", {})
        if header:
            raise ApiError(401, "Invalid credentials in Authorization header")
        return None

    def someone(self, request: Request) -> User:
        """Who asks. Raises Answer for nobody."""
        actor = self.actor(request)
        if actor is None:
            raise ApiError(
                401, "Invalid username or password.", headers={"WWW-Authenticate": 'Bearer realm="hub"'}
            )
        return actor

    def reader(self, request: Request) -> User:
        """Who asks to read; nobody may where the hub is public. Raises Answer."""
        return NOBODY if self.public and self.actor(request) is None else self.someone(request)

    def readable(self, request: Request, plural: str, name: str, *, files: bool = False) -> Repository:
        """A repository that the asker may see, or whose ``files`` they may read. Raises Answer."""
        actor = self.reader(request)
        try:
            found = self.repositories.find(PLURALS[plural], name)
        except (KeyError, NotFound):
            raise ApiError(404, f"Repository not found: {name[:200]}", "RepoNotFound") from None
        if not self.rights.sees(actor, found):
            raise ApiError(404, f"Repository not found: {name[:200]}", "RepoNotFound")
        if files and not self.rights.opens(actor, found):
            page = base_of(request) + page_path(found.kind, found.name)
            raise ApiError(403, f"Access to {found.kind} {found.name} is restricted and you are not in the authorized list. Ask for access on its page: {page}",
                         "GatedRepo")  # fmt: skip
        return found

    def opened(self, request: Request, found: Repository) -> bool:
        """Whether a repository that the asker may see opens its files to them. Raises Answer."""
        return self.rights.opens(self.reader(request), found)

    def writable(self, request: Request, plural: str, name: str) -> tuple[Repository, User]:
        """A repository that the asker may change. Raises Answer."""
        actor, found = self.someone(request), self.readable(request, plural, name)
        if not actor.may_write(found.author):
            raise ApiError(403, f"You have read access but not write access to {found.name}")
        return found, actor

    def proposing(self, request: Request, plural: str, name: str) -> tuple[Repository, User]:
        """A repository that the asker may propose changes to: who may read its files and write something somewhere. Raises Answer."""
        actor, found = self.someone(request), self.readable(request, plural, name, files=True)
        if not self.rights.proposes(actor, found):
            raise ApiError(403, "this token may only read; propose changes with one of role write")
        return found, actor

    def speaking(self, request: Request, plural: str, name: str) -> tuple[Repository, User]:
        """A repository in whose discussions the asker may write. Raises Answer."""
        actor, found = self.someone(request), self.readable(request, plural, name)
        if not self.rights.speaks(actor, found):
            raise ApiError(403, "this token may only read; write in discussions with one of role write")
        return found, actor

    def revision(self, found: Repository, revision: str, *, lost: bool = False) -> str:
        """Commit id; with ``lost`` also of a commit that nothing leads to any more. Raises Answer."""
        try:
            return self.repositories.resolve(found, revision, lost=lost)
        except NotFound as error:
            raise ApiError(
                404, f"Invalid rev id: {revision[:80]} ({error.message})", "RevisionNotFound"
            ) from None

    def visible(self, actor: User) -> tuple[str, ...] | None:
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
    with atomic_files.locked(path.with_suffix(".lock"), "the hub's key", wait=True):
        if not path.exists():
            atomic_files.write_atomically(path, secrets.token_bytes(32))
            os.chmod(path, 0o600)
        return path.read_bytes()
