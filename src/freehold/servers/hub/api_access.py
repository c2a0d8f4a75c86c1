"""The hub's routes about access to gated repositories: ask, list, decide."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from freehold.hub.users import ACCESS
from freehold.servers.hub.addresses import plural_and_name
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.json_answers import timestamp
from freehold.servers.hub.session import CurrentSession
from freehold.servers.web.bodies import JsonRoute

router = APIRouter(route_class=JsonRoute)


class GrantBody(BaseModel):
    """Who gets access."""

    user: str


class Decision(BaseModel):
    """What becomes of a request for access."""

    model_config = ConfigDict(extra="allow")
    #: the user's name
    user: str | None = None
    #: the user's name too: this hub hides none
    requestId: str | None = None
    #: ``accepted``, ``rejected`` or ``pending``
    status: str
    rejectionReason: str | None = Field(None, max_length=1000)


class Requester(BaseModel):
    """Who asks for access."""

    user: str
    fullname: str


class AccessRequest(BaseModel):
    """A request for access, and how it stands."""

    user: Requester
    requestId: str
    status: str
    timestamp: str
    rejectionReason: str | None


class Granted(BaseModel):
    """Who got access."""

    granted: str


class Decided(BaseModel):
    """How a request stands now."""

    status: str


@router.get("/api/{plural}/{repo:repo}/user-access-request/{status}")
def access_requests(plural: str, repo: str, status: str, session: CurrentSession) -> list[AccessRequest]:
    """The requests of one status."""
    repository, _ = session.writable(plural, repo)
    if status not in ACCESS:
        raise ApiError(404, f"the status must be one of {', '.join(ACCESS)}, not {status[:40]!r}")
    return [
        AccessRequest(
            user=Requester(user=access.user, fullname=access.user),
            requestId=access.user,
            status=access.status,
            timestamp=timestamp(access.at),
            rejectionReason=access.reason or None,
        )
        for access in session.hub.users.accesses(repository.id)
        if access.status == status
    ]


@router.post("/api/{plural}/{repo:repo}/user-access-request/grant")
def grant(plural: str, repo: str, body: GrantBody, session: CurrentSession) -> Granted:
    """Give access to someone who has not asked."""
    repository, owner = session.writable(plural, repo)
    users = session.hub.users
    if not users.known(body.user):
        raise ApiError(404, f"no user is named {body.user[:80]!r}")
    if users.granted(repository.id, body.user):
        raise ApiError(400, f"{body.user} already has access")
    users.decide(repository.id, body.user, "accepted")
    session.record(owner, "grant access", repository, body.user)
    return Granted(granted=body.user)


@router.post("/api/{plural}/{repo:repo}/user-access-request/handle")
def handle(plural: str, repo: str, body: Decision, session: CurrentSession) -> Decided:
    """Accept or reject a request for access."""
    repository, owner = session.writable(plural, repo)
    users, user = session.hub.users, body.user or body.requestId or ""
    current = users.access(repository.id, user)
    if body.status not in ACCESS:
        raise ApiError(400, f"the status must be one of {', '.join(ACCESS)}, not {body.status[:40]!r}")
    if not current:
        raise ApiError(404, f"{user[:80]!r} has not asked for access to {repository.name}")
    if current == body.status:
        raise ApiError(400, f"the request of {user} is already {body.status}")
    users.decide(repository.id, user, body.status, body.rejectionReason or "")
    session.record(owner, f"access {body.status}", repository, user)
    return Decided(status=body.status)


@router.post("/{where:where}/ask-access")
def ask_access(where: str, session: CurrentSession) -> Response:
    """Ask for access, as the button on a card's page does."""
    repository, user = session.readable(*plural_and_name(where)), session.user()
    if not repository.gated:
        raise ApiError(400, f"{repository.name} is already open to you")
    if not session.hub.users.access(repository.id, user.name):
        status = "accepted" if repository.gated == "auto" else "pending"
        session.hub.users.decide(repository.id, user.name, status)
        session.record(user, "ask for access", repository)
    return RedirectResponse(session.page(repository), status_code=303)
