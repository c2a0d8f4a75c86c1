"""The hub's JSON API about repositories as wholes: who asks, create, delete, rename, settings."""

from __future__ import annotations

import json

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from freehold.hub.commits import Exists
from freehold.servers.hub.addresses import PLURALS
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.json_answers import Empty
from freehold.servers.hub.session import CurrentSession, Session
from freehold.servers.web.bodies import JsonRoute

router = APIRouter(prefix="/api", route_class=JsonRoute)


class Named(BaseModel):
    """A repository in a body. Fields of the Hugging Face Hub that have no meaning here are ignored."""

    model_config = ConfigDict(extra="allow")
    #: ``name`` or ``organisation/name``
    name: str
    #: the namespace; by default that of the user
    organization: str | None = None
    type: str | None = "model"
    private: bool | None = None
    #: ``private`` or ``public``, another way to say ``private``
    visibility: str | None = None


class Moved(BaseModel):
    """A rename."""

    fromRepo: str
    toRepo: str
    type: str | None = "model"


class Settings(BaseModel):
    """Who may read a repository."""

    model_config = ConfigDict(extra="allow")
    private: bool | None = None
    visibility: str | None = None
    #: ``auto``, ``manual`` or false
    gated: str | bool | None = None


class Organisation(BaseModel):
    """An organisation that a user belongs to."""

    type: str = "org"
    name: str
    fullname: str
    roleInOrg: str


class AccessToken(BaseModel):
    """The token of a request."""

    displayName: str = "token"
    role: str


class Credentials(BaseModel):
    """How a user proved who they are."""

    type: str = "access_token"
    accessToken: AccessToken


class WhoAmI(BaseModel):
    """The user of a request; what a hub on one's own machine does not know is empty."""

    type: str = "user"
    id: str
    name: str
    fullname: str
    email: None = None
    emailVerified: bool = False
    isPro: bool = False
    canPay: bool = False
    periodEnd: None = None
    avatarUrl: str = ""
    orgs: list[Organisation]
    auth: Credentials


class CreatedRepository(BaseModel):
    """A new repository."""

    url: str
    name: str
    id: str
    private: bool


class ChangedSettings(BaseModel):
    """The settings as asked for; null for one that stays."""

    private: bool | None
    gated: str | None


@router.get("/whoami-v2")
def whoami(session: CurrentSession) -> WhoAmI:
    """Who asks."""
    user = session.user()
    organisations = [
        Organisation(name=name, fullname=name, roleInOrg=role)
        for name, role in sorted(user.organisations.items())
    ]
    return WhoAmI(
        id=user.name,
        name=user.name,
        fullname=user.name,
        orgs=organisations,
        auth=Credentials(accessToken=AccessToken(role=user.role)),
    )


@router.post("/repos/create")
def create(body: Named, session: CurrentSession) -> CreatedRepository:
    """Create a repository."""
    user = session.user()
    kind, name = _kind_and_name(body, session)
    namespace = name.split("/")[0]
    if not user.may_write(namespace):
        message = f"You don't have the rights to create a {kind} under the namespace {namespace!r}"
        raise ApiError(403, message)
    private = bool(body.private) or body.visibility == "private"
    repositories = session.hub.repositories
    try:
        repository = repositories.create(kind, name, private=private, owner=user.name)
    except Exists:
        existing = repositories.find(kind, name)
        fields = {"url": session.page(existing), "name": existing.name}
        raise ApiError(409, "You already created this repo", body_fields=fields) from None
    session.hub.users.record(user.name, "create", f"{kind} {name}")
    return CreatedRepository(
        url=session.page(repository),
        name=repository.name,
        id=repository.name,
        private=repository.private,
    )


@router.delete("/repos/delete")
def delete(body: Named, session: CurrentSession) -> Empty:
    """Delete a repository."""
    kind, name = _kind_and_name(body, session)
    repository, user = session.writable(f"{kind}s", name)
    session.hub.repositories.delete(repository)
    session.hub.users.record(user.name, "delete", f"{kind} {name}")
    return Empty()


@router.post("/repos/move")
def move(body: Moved, session: CurrentSession) -> Empty:
    """Rename a repository."""
    repository, user = session.writable(f"{_checked_kind(body.type)}s", body.fromRepo)
    namespace = body.toRepo.split("/")[0]
    if not user.may_write(namespace):
        raise ApiError(403, f"You don't have the rights to move into the namespace {namespace!r}")
    session.hub.repositories.move(repository, body.toRepo)
    session.record(user, "move", repository, body.toRepo)
    return Empty()


@router.put("/{plural}/{repo:repo}/settings")
def settings(plural: str, repo: str, body: Settings, session: CurrentSession) -> ChangedSettings:
    """Change who may read a repository."""
    repository, user = session.writable(plural, repo)
    private = body.private if body.visibility is None else body.visibility == "private"
    gated = None if body.gated is None else "" if body.gated is False else str(body.gated)
    if gated not in (None, "", "auto", "manual"):
        raise ApiError(400, f"gated must be auto, manual or false, not {gated!r}")
    session.hub.repositories.settings(repository, private=private, gated=gated)
    changed = ChangedSettings(private=private, gated=gated)
    session.record(user, "settings", repository, json.dumps(changed.model_dump()))
    return changed


def _kind_and_name(body: Named, session: Session) -> tuple[str, str]:
    kind = _checked_kind(body.type)
    if "/" in body.name:
        return kind, body.name
    return kind, f"{body.organization or session.user().name}/{body.name}"


def _checked_kind(value: str | None) -> str:
    kind = value or "model"
    if kind not in PLURALS.values():
        raise ApiError(400, f"the type must be model, dataset or space, not {kind!r}")
    return kind
