"""The hub's routes about access to gated repositories: ask, list, decide."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from freehold.hub.users import ACCESS
from freehold.servers.hub.api_repositories import address, when
from freehold.servers.hub.session import ApiError, Hub, base_of, whose
from freehold.servers.web.bodies import JsonRoute


class Asker(BaseModel):
    """Who is let in."""

    user: str


class Decision(BaseModel):
    """What becomes of a request for access. ``requestId`` is the user's name too: this hub hides none."""

    model_config = ConfigDict(extra="allow")
    user: str | None = None
    requestId: str | None = None
    status: str
    rejectionReason: str | None = Field(None, max_length=1000)


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter(route_class=JsonRoute)
    accounts = hub.accounts

    @router.get("/api/{plural}/{repo:repo}/user-access-request/{status}")
    def listed(plural: str, repo: str, status: str, request: Request) -> list[dict[str, Any]]:
        found, _ = hub.writable(request, plural, repo)
        if status not in ACCESS:
            raise ApiError(404, f"requests for access are {', '.join(ACCESS)}, not {status[:40]!r}")
        return [
            {"user": {"user": one.user, "fullname": one.user}, "requestId": one.user, "status": one.status, "timestamp": when(one.at),
             "rejectionReason": one.reason or None}
            for one in accounts.accesses(found.id) if one.status == status
        ]  # fmt: skip

    @router.post("/api/{plural}/{repo:repo}/user-access-request/grant")
    def grant(plural: str, repo: str, body: Asker, request: Request) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        if not accounts.known(body.user):
            raise ApiError(404, f"no user is named {body.user[:80]!r}")
        if accounts.granted(found.id, body.user):
            raise ApiError(400, f"{body.user} has access already")
        accounts.decide(found.id, body.user, "accepted")
        accounts.record(actor.name, "grant access", f"{found.kind} {found.name}", body.user)
        return {"granted": body.user}

    @router.post("/api/{plural}/{repo:repo}/user-access-request/handle")
    def handle(plural: str, repo: str, body: Decision, request: Request) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        user = body.user or body.requestId or ""
        there = accounts.access(found.id, user)
        if body.status not in ACCESS:
            raise ApiError(400, f"the status is one of {', '.join(ACCESS)}, not {body.status[:40]!r}")
        if not there:
            raise ApiError(404, f"{user[:80]!r} has not asked for access to {found.name}")
        if there == body.status:
            raise ApiError(400, f"the request of {user} is {body.status} already")
        accounts.decide(found.id, user, body.status, body.rejectionReason or "")
        accounts.record(actor.name, f"access {body.status}", f"{found.kind} {found.name}", user)
        return {"status": body.status}

    @router.post("/{where:where}/ask-access")
    def ask(where: str, request: Request) -> Response:
        found, actor = hub.readable(request, *whose(where)), hub.someone(request)
        if not found.gated:
            raise ApiError(400, f"{found.name} is open to you already")
        if not accounts.access(found.id, actor.name):
            accounts.decide(found.id, actor.name, "accepted" if found.gated == "auto" else "pending")
            accounts.record(actor.name, "ask for access", f"{found.kind} {found.name}")
        return RedirectResponse(address(base_of(request), found), status_code=303)

    return router
