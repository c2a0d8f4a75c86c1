"""The hub's routes that commit: which files go which way, and the commit itself."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from freehold.hub.commits import LFS_ENDINGS, File, Repository
from freehold.hub.discussions import number_of
from freehold.hub.users import User
from freehold.servers.hub.addresses import unescape_slashes
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.commit_body import named_files, read_commit
from freehold.servers.hub.gitignore import ignoring
from freehold.servers.hub.session import CurrentSession, Session
from freehold.servers.hub.state import Hub
from freehold.servers.hub.transfers import receive
from freehold.servers.web.bodies import JsonRoute

#: Files larger than this go through LFS or Xet, as on the Hugging Face Hub.
REGULAR_BYTES = 10 << 20
#: A commit's body: many small files in base64.
COMMIT_BYTES = 1 << 30
_TRUE = ("1", "true", "True")

router = APIRouter(route_class=JsonRoute)


class Sampled(BaseModel):
    """A file that a client is about to upload, with its first bytes in base64."""

    path: str
    size: int = Field(ge=0)
    sample: str = ""


class Preupload(BaseModel):
    """Files of a commit to come; ``gitIgnore``: rules, by default those of the repository."""

    files: list[Sampled] = Field(max_length=10_000)
    gitIgnore: str | None = None


class UploadWay(BaseModel):
    """Which way a file goes: ``lfs`` or ``regular``; ``oid``: the digest of the file that is there now."""

    path: str
    uploadMode: str
    shouldIgnore: bool
    oid: str | None


class PreuploadAnswer(BaseModel):
    """Which way each file goes."""

    files: list[UploadWay]


class Committed(BaseModel):
    """A new commit; ``pullRequestUrl``: the page of the request that it opened."""

    success: bool = True
    commitOid: str
    commitUrl: str
    pullRequestUrl: str | None
    hookOutput: str = ""


@router.post("/api/{plural}/{repo:repo}/preupload/{revision}")
def preupload(
    plural: str, repo: str, revision: str, body: Preupload, session: CurrentSession, create_pr: str = ""
) -> PreuploadAnswer:
    """Which way the files of a commit to come go."""
    name = unescape_slashes(revision)
    proposes = create_pr in _TRUE or number_of(name)
    repository, _ = (session.proposable if proposes else session.writable)(plural, repo)
    commit_id = session.commit_id(repository, name)
    files = session.hub.repositories.commit(repository, commit_id).files
    rules = _gitignore(session.hub, files) if body.gitIgnore is None else body.gitIgnore
    ignored = ignoring(rules)
    return PreuploadAnswer(
        files=[
            UploadWay(
                path=item.path,
                uploadMode=_mode(item),
                shouldIgnore=ignored(item.path),
                oid=_digest(files.get(item.path)),
            )
            for item in body.files
        ]
    )


@router.post("/api/{plural}/{repo:repo}/commit/{revision}")
async def commit(
    plural: str,
    repo: str,
    revision: str,
    request: Request,
    session: CurrentSession,
    create_pr: Annotated[str, Query()] = "",
) -> Committed:
    """Add a commit to a branch or a request, or with ``create_pr`` open a request with it."""
    branch, as_request = unescape_slashes(revision), create_pr in _TRUE
    committer = (_committer, session, plural, repo, branch, as_request)
    await run_in_threadpool(*committer)
    if as_request and branch != "main":
        raise ApiError(
            404, f"changes can be proposed to main only, not to {branch[:80]!r}", "RevisionNotFound"
        )
    async with session.hub.incoming_file() as path:
        await receive(request, path, COMMIT_BYTES)
        session.look_up_again()
        repository, user = await run_in_threadpool(*committer)
        commit_id, line = await run_in_threadpool(_apply, session, repository, branch, path, user, as_request)
    page = session.page(repository)
    return Committed(
        commitOid=commit_id,
        commitUrl=f"{page}/commit/{commit_id}",
        pullRequestUrl=f"{page}/discussions/{number_of(line)}" if line else None,
    )


def _committer(
    session: Session, plural: str, repo: str, branch: str, as_request: bool
) -> tuple[Repository, User]:
    """Who may commit there: writers, and to a request the one who opened it. Raises ApiError."""
    number = number_of(branch)
    if as_request or number:
        repository, user = session.proposable(plural, repo)
        if as_request or session.hub.discussions.find(repository.id, number).author == user.name:
            return repository, user
    return session.writable(plural, repo)


def _apply(
    session: Session, repository: Repository, branch: str, path: Path, user: User, as_request: bool
) -> tuple[str, str]:
    """(the new commit's id, the line of the request that it opened or "")."""
    hub = session.hub
    change, named = read_commit(path, hub)
    change.put |= named_files(hub, user, repository, named)
    head = session.commit_id(repository, branch)
    if as_request:
        commit, line = hub.repositories.propose(repository, head, change, user.name)
    else:
        commit, line = hub.repositories.apply(repository, branch, change, user.name), ""
    hub.uploads.committed(user.name, repository.id, {entry.digest for entry in named.values()})
    session.record(user, "push", repository, f"{line or branch} is {commit.id}")
    return commit.id, line


def _gitignore(hub: Hub, files: dict[str, File]) -> str:
    file = files.get(".gitignore")
    blob = hub.blobs.find(file.sha256) if file is not None else None
    return "" if blob is None else b"".join(hub.blobs.read(blob)).decode("utf-8", "replace")


def _digest(file: File | None) -> str | None:
    if file is None:
        return None
    return file.sha256 if file.lfs else file.oid


def _mode(file: Sampled) -> str:
    """``lfs`` for large and binary files."""
    if file.size > REGULAR_BYTES or file.path.rsplit(".", 1)[-1].lower() in LFS_ENDINGS:
        return "lfs"
    try:
        sample = base64.b64decode(file.sample)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"the sample of {file.path[:120]!r} is not base64") from None
    return "lfs" if b"\0" in sample else "regular"
