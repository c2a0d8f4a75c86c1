"""One request to a hub: who sends it, and which repositories that user may read or change.

Routes take a session as a parameter: ``def route(session: CurrentSession)``.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from freehold.core.errors import NotFound
from freehold.hub.commits import Repository
from freehold.hub.signed_links import NOBODY, OPEN, Grant, Void
from freehold.hub.users import KEEPER, User, digest_of
from freehold.servers.hub.addresses import PLURALS, base_of, page_path
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.state import Hub


class Session:
    """The sender of one request, and what they may do. Methods read the catalogue: call them in a thread."""

    def __init__(self, hub: Hub, request: Request):
        self.hub, self.request = hub, request

    @property
    def base(self) -> str:
        """The address that the client uses for this hub."""
        return base_of(self.request)

    def page(self, repository: Repository) -> str:
        """The address of a repository's page."""
        return self.base + page_path(repository.kind, repository.name)

    def record(self, actor: User, action: str, repository: Repository, detail: str = "") -> None:
        """Add a line to the audit log."""
        self.hub.users.record(actor.name or "nobody", action, f"{repository.kind} {repository.name}", detail)

    # -- who --------------------------------------------------------------------------------------

    def actor(self) -> User | None:
        """Who sends the request, looked up once; None for nobody. Raises ApiError for an unknown token."""
        state = self.request.state
        if not hasattr(state, "actor"):
            state.actor, state.token_digest = self._look_up()
        return state.actor

    def look_up_again(self) -> None:
        """Forget who sends the request: a body may take hours to arrive, and rights may end meanwhile."""
        del self.request.state.actor

    def token_digest(self) -> str:
        """The sender as signed links name them; "" for nobody. Raises ApiError."""
        return "" if self.actor() is None else self.request.state.token_digest

    def _look_up(self) -> tuple[User | None, str]:
        header = self.request.headers.get("authorization", "")
        token = _token_in(header)
        user = self.hub.users.actor(token) if token else None
        if user is not None:
            return user, digest_of(token)
        if self.hub.users.open:
            return User(KEEPER, "admin", {}), OPEN
        if header:
            raise ApiError(401, "Invalid credentials in Authorization header")
        return None, OPEN

    def user(self) -> User:
        """Who sends the request. Raises ApiError for nobody."""
        actor = self.actor()
        if actor is None:
            raise ApiError(
                401, "Invalid username or password.", headers={"WWW-Authenticate": 'Bearer realm="hub"'}
            )
        return actor

    def reader(self) -> User:
        """Who wants to read; on a public hub it may be nobody. Raises ApiError."""
        return NOBODY if self.hub.public and self.actor() is None else self.user()

    def listed_names(self) -> tuple[str, ...] | None:
        """Whose private repositories a list may show; None: everyone's. Raises ApiError."""
        actor = self.reader()
        return None if actor.role == "admin" else (actor.name, *actor.organisations)

    # -- which repositories -------------------------------------------------------------------------

    def readable(self, plural: str, name: str, *, files: bool = False) -> Repository:
        """A repository that the sender may see; with ``files``, may read. Raises ApiError."""
        actor = self.reader()
        missing = ApiError(404, f"Repository not found: {name[:200]}", "RepoNotFound")
        try:
            repository = self.hub.repositories.find(PLURALS[plural], name)
        except (KeyError, NotFound):
            raise missing from None
        if not self.hub.permissions.sees(actor, repository):
            raise missing
        if files and not self.hub.permissions.opens(actor, repository):
            raise ApiError(
                403,
                f"Access to {repository.kind} {repository.name} is restricted and you are not in the "
                f"authorized list. Ask for access on its page: {self.page(repository)}",
                "GatedRepo",
            )
        return repository

    def may_read_files(self, repository: Repository) -> bool:
        """Whether the sender may read the files of a repository that they may see. Raises ApiError."""
        return self.hub.permissions.opens(self.reader(), repository)

    def writable(self, plural: str, name: str) -> tuple[Repository, User]:
        """A repository that the sender may change. Raises ApiError."""
        actor, repository = self.user(), self.readable(plural, name)
        if not actor.may_write(repository.author):
            raise ApiError(403, f"You have read access but not write access to {repository.name}")
        return repository, actor

    def proposable(self, plural: str, name: str) -> tuple[Repository, User]:
        """A repository that the sender may propose changes to. Raises ApiError."""
        actor, repository = self.user(), self.readable(plural, name, files=True)
        if not self.hub.permissions.proposes(actor, repository):
            raise ApiError(403, "this token may only read; use one with the role write to propose changes")
        return repository, actor

    def discussable(self, plural: str, name: str) -> tuple[Repository, User]:
        """A repository in whose discussions the sender may write. Raises ApiError."""
        actor, repository = self.user(), self.readable(plural, name)
        if not self.hub.permissions.speaks(actor, repository):
            raise ApiError(
                403, "this token may only read; use one with the role write to write in discussions"
            )
        return repository, actor

    def commit_id(self, repository: Repository, revision: str, *, lost: bool = False) -> str:
        """The commit id of a revision; ``lost``: also of a commit without refs. Raises ApiError."""
        try:
            return self.hub.repositories.resolve(repository, revision, lost=lost)
        except NotFound as error:
            message = f"Invalid rev id: {revision[:80]} ({error.message})"
            raise ApiError(404, message, "RevisionNotFound") from None

    # -- signed rights --------------------------------------------------------------------------------

    def redeem(self, grant: Grant, signature: str) -> tuple[User, Repository]:
        """Who uses a signed link, and the repository it is for. Raises ApiError."""
        try:
            return self.hub.links.redeem(grant, signature)
        except Void:
            raise ApiError(403, "this address is no longer valid; ask for a new one") from None

    def chunk_token(self) -> tuple[Grant, User, Repository]:
        """What a token for the chunk store grants, to whom, and for which repository. Raises ApiError."""
        text = self.request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            grant, signature = self.hub.links.read_token(text)
            if grant.right not in ("read", "write"):
                raise Void
            return grant, *self.hub.links.redeem(grant, signature)
        except Void:
            raise ApiError(401, "the chunk store needs a token of this hub; ask for a new one") from None


def _token_in(header: str) -> str:
    """The token of an Authorization header: a bearer's, or the password that a browser asked for."""
    if not header.lower().startswith("basic "):
        return header.removeprefix("Bearer ").strip()
    try:
        return base64.b64decode(header[6:]).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def session_of(request: Request) -> Session:
    """The session of a request to the application that serves it."""
    return Session(request.app.state.hub, request)


CurrentSession = Annotated[Session, Depends(session_of)]


@dataclass(frozen=True)
class LinkQuery:
    """The query of a signed link."""

    #: when the link ends, in seconds since 1970
    expires: int
    #: number of the repository that it is for
    repository: int
    #: when the repository was created: a catalogue put back from a backup may give numbers again
    created: int
    signature: str
    #: digest of the token it was given to; "" for nobody
    who: str = ""

    def grant(self, right: str, subject: str) -> Grant:
        """The grant that the link stands for."""
        return Grant(right, self.who, self.repository, self.created, subject, self.expires)


SignedQuery = Annotated[LinkQuery, Depends()]
