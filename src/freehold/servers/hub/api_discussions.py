"""The hub's JSON API about discussions and requests to change a repository."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from freehold.hub.commits import Commit, File, Repository, pointer
from freehold.hub.discussions import TEXT, TITLE, Discussion, Event, check_text, line_of
from freehold.hub.users import User
from freehold.servers.hub.api_repositories import when
from freehold.servers.hub.diff import unified
from freehold.servers.hub.session import ApiError, Hub
from freehold.servers.web.bodies import JsonRoute

_PAGE = 50
#: Files larger than this are named in a diff, not shown.
_DIFF_BYTES = 1 << 20
#: As many bytes of changed files are compared; those beyond are named.
_COMPARED_BYTES = 16 << 20


class Opened(BaseModel):
    """A new discussion."""

    model_config = ConfigDict(extra="allow")
    title: str
    description: str = ""
    pullRequest: bool = False


class Comment(BaseModel):
    """A comment."""

    comment: str


class Title(BaseModel):
    """Another title."""

    title: str


class Status(BaseModel):
    """Another status."""

    status: str
    comment: str | None = None


class Merge(BaseModel):
    """A merge, with a word about it."""

    comment: str | None = None


class Edit(BaseModel):
    """A comment's new text."""

    content: str


def event_entry(event: Event) -> dict[str, Any]:
    """An event as clients read it."""
    data = event.data
    if event.kind == "comment":
        latest = {
            "raw": data["raw"],
            "html": "",
            "updatedAt": when(event.at),
            "author": {"name": event.author},
        }
        data = {
            "edited": data["edited"],
            "hidden": data["hidden"],
            "latest": latest,
            "numEdits": int(data["edited"]),
            "reactions": [],
        }
    return {
        "id": event.id,
        "type": event.kind,
        "createdAt": when(event.at),
        "author": {"name": event.author},
        "data": data,
    }


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter(prefix="/api/{plural}/{repo:repo}/discussions", route_class=JsonRoute)
    repositories, discussions = hub.repositories, hub.discussions

    def entry(found: Repository, one: Discussion) -> dict[str, Any]:
        return {
            "num": one.number, "title": one.title, "status": one.status, "author": {"name": one.author}, "createdAt": when(one.created),
            "isPullRequest": one.request, "pinned": False, "repo": {"name": found.name, "type": found.kind}, "repoOwner": {"name": found.author},
        }  # fmt: skip

    def open_one(
        plural: str, repo: str, number: int, request: Request
    ) -> tuple[Repository, Discussion, User]:
        found, actor = hub.speaking(request, plural, repo)
        return found, discussions.find(found.id, number), actor

    def steer(found: Repository, actor: User, author: str) -> None:
        if actor.name != author and not actor.may_write(found.author):
            raise ApiError(403, f"only its author and those who may write to {found.name} can do that")

    @router.get("")
    def listed(plural: str, repo: str, request: Request, p: Annotated[int, Query(ge=0, le=2**40)] = 0, type: str = "all", status: str = "all",
               author: str = "") -> dict[str, Any]:  # fmt: skip
        found = hub.readable(request, plural, repo)
        kinds: dict[str, bool | None] = {"all": None, "discussion": False, "pull_request": True}
        states: dict[str, bool | None] = {"all": None, "open": False, "closed": True}
        if type not in kinds or status not in states:
            raise ApiError(400, f"type is one of {', '.join(kinds)}, and status one of {', '.join(states)}")
        rows, count = discussions.list(
            found.id, request=kinds[type], closed=states[status], author=author, after=p * _PAGE, limit=_PAGE
        )
        over = discussions.list(found.id, closed=True, limit=1)[1]
        return {
            "discussions": [entry(found, one) for one in rows],
            "count": count,
            "start": p * _PAGE,
            "numClosedDiscussions": over,
        }

    @router.post("")
    def opened(plural: str, repo: str, body: Opened, request: Request) -> dict[str, Any]:
        found, actor = (hub.proposing if body.pullRequest else hub.speaking)(request, plural, repo)
        title = check_text(body.title, TITLE, "title")
        text = check_text(body.description, TEXT, "description") if body.description.strip() else ""
        number = repositories.discuss(found, title, actor.name, text=text, request=body.pullRequest)
        hub.accounts.record(actor.name, "discuss", f"{found.kind} {found.name}", f"{number}")
        return {"num": number, "url": f"/{found.name}/discussions/{number}", "pullRequest": body.pullRequest}

    @router.get("/{number}")
    def details(plural: str, repo: str, number: int, request: Request, diff: str = "") -> dict[str, Any]:
        found = hub.readable(request, plural, repo)
        one = discussions.find(found.id, number)
        whole = entry(found, one) | {"events": [event_entry(event) for event in discussions.events(one)]}
        if one.request:
            proposal = repositories.proposed(found, one)
            whole["filesWithConflicts"] = proposal.conflicts
            whole["changes"] = {"base": one.base} | (
                {"mergeCommitId": one.merged_as} if one.merged_as else {}
            )
            if diff and hub.opened(request, found):
                whole["diff"] = _diff(hub, proposal.base, proposal.head)
        return whole

    @router.post("/{number}/comment")
    def comment(plural: str, repo: str, number: int, body: Comment, request: Request) -> dict[str, Any]:
        _, one, actor = open_one(plural, repo, number, request)
        return {"newMessage": event_entry(discussions.comment(one, actor.name, body.comment))}

    @router.post("/{number}/title")
    def title(plural: str, repo: str, number: int, body: Title, request: Request) -> dict[str, Any]:
        found, one, actor = open_one(plural, repo, number, request)
        steer(found, actor, one.author)
        return {"newTitle": event_entry(discussions.rename(one, actor.name, body.title))}

    @router.post("/{number}/status")
    def status(plural: str, repo: str, number: int, body: Status, request: Request) -> dict[str, Any]:
        found, one, actor = open_one(plural, repo, number, request)
        steer(found, actor, one.author)
        return {
            "newStatus": event_entry(discussions.status(one, actor.name, body.status, body.comment or ""))
        }

    @router.post("/{number}/merge")
    def merge(
        plural: str, repo: str, number: int, request: Request, body: Merge | None = None
    ) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        one = discussions.find(found.id, number)
        done = repositories.merge(found, one, actor.name)
        if body is not None and (body.comment or "").strip():
            discussions.comment(one, actor.name, body.comment or "")
        hub.accounts.record(
            actor.name,
            "push",
            f"{found.kind} {found.name}",
            f"{one.base} is {done.id}, {line_of(number)} merged",
        )
        return {"success": True, "commitOid": done.id}

    @router.post("/{number}/comment/{event}/edit")
    def edit(plural: str, repo: str, number: int, event: str, body: Edit, request: Request) -> dict[str, Any]:
        _, one, actor = open_one(plural, repo, number, request)
        there = discussions.find_comment(one, event)
        if actor.name != there.author:
            raise ApiError(403, "only its author can change a comment")
        return {"updatedComment": event_entry(discussions.edit(one, there, body.content))}

    @router.post("/{number}/comment/{event}/hide")
    def hide(plural: str, repo: str, number: int, event: str, request: Request) -> dict[str, Any]:
        found, one, actor = open_one(plural, repo, number, request)
        there = discussions.find_comment(one, event)
        steer(found, actor, there.author)
        return {"updatedComment": event_entry(discussions.edit(one, there, None))}

    return router


def _diff(hub: Hub, base: Commit, head: Commit) -> str:
    """Both states as git shows the difference; large files by their pointers."""

    def lines(file: File | None) -> list[str] | None:
        if file is None:
            return []
        if file.lfs:
            return pointer(file.sha256, file.size).decode().splitlines()
        text = hub.contents.text(file.sha256, _DIFF_BYTES)
        return None if text is None else text.splitlines()

    parts: list[str] = []
    compared = 0
    for path in sorted(base.files.keys() | head.files.keys()):
        old, new = base.files.get(path), head.files.get(path)
        if old == new:
            continue
        compared += sum(file.size for file in (old, new) if file is not None and file.size <= _DIFF_BYTES)
        before, after = (lines(old), lines(new)) if compared <= _COMPARED_BYTES else (None, None)
        names = f"a/{path}" if old else "/dev/null", f"b/{path}" if new else "/dev/null"
        parts.append(f"diff --git a/{path} b/{path}")
        if before is None or after is None:
            parts.append(f"Binary files {names[0]} and {names[1]} differ")
        else:
            parts += unified(before, after, *names)
    return "\n".join([*parts, ""]) if parts else ""
