"""The hub's JSON API that changes branches and tags."""

from __future__ import annotations

from fastapi import APIRouter

from freehold.core.errors import NotFound
from freehold.servers.hub.addresses import unescape_slashes
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.json_answers import Body, Empty
from freehold.servers.hub.session import CurrentSession
from freehold.servers.web.bodies import JsonRoute

router = APIRouter(prefix="/api", route_class=JsonRoute)


@router.post("/{plural}/{repo:repo}/branch/{branch:path}")
def add_branch(plural: str, repo: str, branch: str, session: CurrentSession, body: Body) -> Empty:
    """Create a branch at ``startingPoint``, or with ``emptyBranch`` at the first commit of main."""
    repository, user = session.writable(plural, repo)
    repositories, name = session.hub.repositories, unescape_slashes(branch)
    # who may write can bring back a commit whose branch was removed
    start = session.commit_id(repository, body.text("startingPoint") or "main", lost=True)
    if body.flag("emptyBranch"):
        start = repositories.history(repository, "main")[-1].id
    repositories.add_ref(repository, "branch", name, start)
    session.record(user, "branch", repository, name)
    return Empty()


@router.delete("/{plural}/{repo:repo}/{kind:refs}/{name:path}")
def remove_ref(plural: str, repo: str, kind: str, name: str, session: CurrentSession) -> Empty:
    """Remove a branch or a tag."""
    repository, user = session.writable(plural, repo)
    ref = unescape_slashes(name)
    try:
        session.hub.repositories.remove_ref(repository, kind, ref)
    except NotFound as error:
        raise ApiError(404, error.message, "RevisionNotFound") from None
    session.record(user, f"remove {kind}", repository, ref)
    return Empty()


@router.post("/{plural}/{repo:repo}/tag/{revision:path}")
def add_tag(plural: str, repo: str, revision: str, session: CurrentSession, body: Body) -> Empty:
    """Put the tag ``tag`` on a revision."""
    repository, user = session.writable(plural, repo)
    tag = body.text("tag")
    commit_id = session.commit_id(repository, unescape_slashes(revision))
    session.hub.repositories.add_ref(repository, "tag", tag, commit_id)
    session.record(user, "tag", repository, tag)
    return Empty()


@router.post("/{plural}/{repo:repo}/super-squash/{branch:path}")
def squash(plural: str, repo: str, branch: str, session: CurrentSession, body: Body) -> Empty:
    """Make one commit of a branch's history."""
    repository, user = session.writable(plural, repo)
    name = unescape_slashes(branch)
    session.commit_id(repository, name)
    title = body.text("message") or f"Super-squash branch '{name}'"
    session.hub.repositories.squash(repository, name, title, user.name)
    session.record(user, "squash", repository, name)
    return Empty()
