"""The hub's JSON API about a repository's history: its branches and tags, and the commits of one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from freehold.hub.commits import Commit
from freehold.servers.hub.addresses import next_link, unescape_slashes
from freehold.servers.hub.json_answers import timestamp
from freehold.servers.hub.session import CurrentSession
from freehold.servers.web.bodies import JsonRoute

_MOST_COMMITS = 1000

router = APIRouter(prefix="/api", route_class=JsonRoute)


class Ref(BaseModel):
    """A branch, a tag or the line of a request."""

    name: str
    ref: str
    targetCommit: str


class Refs(BaseModel):
    """All refs of a repository."""

    branches: list[Ref]
    #: converted data sets; this hub makes none
    converts: list[Ref] = []
    tags: list[Ref]
    pullRequests: list[Ref]


class CommitAuthor(BaseModel):
    """Who made a commit."""

    user: str
    avatar: str = ""


class FormattedMessage(BaseModel):
    """A commit's message again; clients expect it as HTML too, where they ask for that."""

    title: str
    message: str


class CommitEntry(BaseModel):
    """A commit in a list."""

    id: str
    title: str
    message: str
    date: str
    authors: list[CommitAuthor]
    formatted: FormattedMessage


@router.get("/{plural}/{repo:repo}/refs")
def refs(plural: str, repo: str, session: CurrentSession) -> Refs:
    """The branches, tags and requests of a repository."""
    rows = session.hub.repositories.refs(session.readable(plural, repo))

    def of_kind(kind: str, prefix: str) -> list[Ref]:
        return [
            Ref(name=name, ref=prefix + name, targetCommit=commit)
            for row_kind, name, commit in rows
            if row_kind == kind
        ]

    return Refs(
        branches=of_kind("branch", "refs/heads/"),
        tags=of_kind("tag", "refs/tags/"),
        pullRequests=of_kind("request", ""),
    )


@router.get("/{plural}/{repo:repo}/commits/{revision}")
def commits(
    plural: str,
    repo: str,
    revision: str,
    session: CurrentSession,
    response: Response,
    p: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_COMMITS)] = 50,
) -> list[CommitEntry]:
    """Page ``p`` of the commits from a revision back to the first."""
    repository = session.readable(plural, repo)
    start = session.commit_id(repository, unescape_slashes(revision))
    history = session.hub.repositories.history(repository, start)
    response.headers["X-Total-Count"] = str(len(history))
    if len(history) > (p + 1) * limit:
        response.headers["Link"] = next_link(session.request, p=p + 1)
    return [_entry(commit) for commit in history[p * limit : (p + 1) * limit]]


def _entry(commit: Commit) -> CommitEntry:
    return CommitEntry(
        id=commit.id,
        title=commit.title,
        message=commit.message,
        date=timestamp(commit.created),
        authors=[CommitAuthor(user=commit.author)],
        formatted=FormattedMessage(title=commit.title, message=commit.message),
    )
