"""The hub's routes that commit: which files go which way, and the commit itself.

A commit may name bytes by their digest only if the committer uploaded them for this repository, or may read
them in one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from freehold.core import strict_json
from freehold.core.errors import BadData
from freehold.hub.commits import LFS_ENDINGS, Change, File, Repository, git_oid, lfs_file
from freehold.hub.discussions import number_of
from freehold.hub.users import User
from freehold.models.names import check_path
from freehold.servers.hub.api_files import receive
from freehold.servers.hub.api_repositories import address
from freehold.servers.hub.gitignore import ignoring
from freehold.servers.hub.session import ApiError, Hub, base_of, plain
from freehold.servers.web.bodies import JsonRoute

#: Files larger than this go through LFS or Xet, as on the Hugging Face Hub.
REGULAR_BYTES = 10 << 20
#: A commit's body: many small files in base64.
COMMIT_BYTES = 1 << 30
#: A line of it, which is in memory several times while it is read: a file that should have gone through LFS.
MOST_LINE_BYTES = 64 << 20
_SHA256 = re.compile("[0-9a-f]{64}")
_TRUE = ("1", "true", "True")


class Sampled(BaseModel):
    """A file that a client is about to upload, with its first bytes."""

    path: str
    size: int = Field(ge=0)
    sample: str = ""


class Preupload(BaseModel):
    """Files of a commit to come."""

    files: list[Sampled] = Field(max_length=10_000)
    gitIgnore: str | None = None


@dataclass(frozen=True)
class Named:
    """Bytes that a commit names by their sha256, and how many it says they are."""

    digest: str
    size: int | None


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/api/{plural}/{repo:repo}/preupload/{revision}")
    def preupload(
        plural: str, repo: str, revision: str, body: Preupload, request: Request, create_pr: str = ""
    ) -> dict[str, Any]:
        found, _ = (hub.proposing if create_pr in _TRUE or number_of(plain(revision)) else hub.writable)(
            request, plural, repo
        )
        there = hub.repositories.commit(found, hub.revision(found, plain(revision))).files
        rules = body.gitIgnore
        if (
            rules is None
            and ".gitignore" in there
            and (kept := hub.contents.find(there[".gitignore"].sha256)) is not None
        ):
            rules = b"".join(hub.contents.read(kept)).decode("utf-8", "replace")
        ignored = ignoring(rules or "")
        return {
            "files": [
                {"path": one.path, "uploadMode": _mode(one), "shouldIgnore": ignored(one.path),
                 "oid": (there[one.path].sha256 if there[one.path].lfs else there[one.path].oid) if one.path in there else None}
                for one in body.files
            ]
        }  # fmt: skip

    def pusher(
        plural: str, repo: str, branch: str, request: Request, as_request: bool
    ) -> tuple[Repository, User]:
        """Who may commit there: writers, and to a proposal the one who made it."""
        number = number_of(branch)
        if as_request or number:
            found, actor = hub.proposing(request, plural, repo)
            if as_request or hub.discussions.find(found.id, number).author == actor.name:
                return found, actor
        return hub.writable(request, plural, repo)

    @router.post("/api/{plural}/{repo:repo}/commit/{revision}")
    async def commit(
        plural: str, repo: str, revision: str, request: Request, create_pr: Annotated[str, Query()] = ""
    ) -> dict[str, Any]:
        branch, as_request = plain(revision), create_pr in _TRUE
        await run_in_threadpool(pusher, plural, repo, branch, request, as_request)
        if as_request and branch != "main":
            raise ApiError(404, f"changes are proposed to main, not to {branch[:80]!r}", "RevisionNotFound")
        async with hub.landing() as path:
            await receive(request, path, COMMIT_BYTES)
            hub.ask_again(request)
            found, actor = await run_in_threadpool(pusher, plural, repo, branch, request, as_request)
            done, request_name = await run_in_threadpool(apply, found, branch, path, actor, as_request)
        page = address(base_of(request), found)
        pull = f"{page}/discussions/{number_of(request_name)}" if request_name else None
        return {
            "success": True,
            "commitOid": done,
            "commitUrl": f"{page}/commit/{done}",
            "pullRequestUrl": pull,
            "hookOutput": "",
        }

    def apply(found: Repository, branch: str, path: Path, actor: User, as_request: bool) -> tuple[str, str]:
        change, author = Change(""), actor.name
        named: dict[str, Named] = {}
        for number, line in enumerate(_lines(path), 1):
            try:
                item = strict_json.read(line)
                _take(hub, change, named, item["key"], item["value"])
            except (BadData, ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
                raise ApiError(
                    400, f"line {number} of the commit cannot be read: {type(error).__name__}"
                ) from None
        if not change.title:
            raise ApiError(400, "the commit has no summary; send it in the header line")
        change.put |= _lfs_files(hub, actor, found, named)
        head = hub.revision(found, branch)
        if as_request:
            made, name = hub.repositories.propose(found, head, change, author)
        else:
            made, name = hub.repositories.apply(found, branch, change, author), ""
        done = made.id
        hub.uploads.committed(author, found.id, {one.digest for one in named.values()})
        hub.accounts.record(author, "push", f"{found.kind} {found.name}", f"{name or branch} is {done}")
        return done, name

    return router


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE_BYTES + 1):
            if len(line) > MOST_LINE_BYTES:
                raise ApiError(
                    413,
                    f"a line of the commit has more than {MOST_LINE_BYTES >> 20} MiB; send large files by LFS",
                )
            if line.strip():
                yield line


def _lfs_files(hub: Hub, actor: User, found: Repository, named: dict[str, Named]) -> dict[str, File]:
    """Files that a commit names by their digest. Raises Answer, which does not tell whether others have the
    bytes."""
    digests = {one.digest for one in named.values() if _SHA256.fullmatch(one.digest)}
    allowed = hub.rights.nameable(actor, found, digests)
    files: dict[str, File] = {}
    for path, one in named.items():
        content = hub.contents.find(one.digest) if one.digest in allowed else None
        if content is None or one.size not in (None, content.size):
            raise ApiError(400, f"the content of {path[:120]!r} was not uploaded, or has another size")
        hub.contents.renew(content)
        files[path] = lfs_file(one.digest, content.size)
    return files


def _take(hub: Hub, change: Change, named: dict[str, Named], key: str, value: dict[str, Any]) -> None:
    """One line of a commit."""
    if key == "header":
        change.title, change.message = _text(value["summary"]), _text(value.get("description") or "")
        change.parent = _text(value.get("parentCommit") or "")
    elif key == "file":
        name = check_path(value["path"])
        data = (
            base64.b64decode(value["content"], validate=True)
            if value.get("encoding", "base64") == "base64"
            else value["content"].encode()
        )
        named.pop(name, None)
        change.put[name] = File(hub.contents.put(data), len(data), False, git_oid("blob", data))
    elif key == "lfsFile":
        change.put.pop(name := check_path(value["path"]), None)
        named[name] = Named(_text(value["oid"]), value.get("size"))
    elif key == "deletedFile":
        change.removed.append(_text(value["path"]))
    elif key == "deletedFolder":
        change.removed_folders.append(_text(value["path"]))
    elif key == "copyFile":
        change.copied.append(
            (
                _text(value.get("srcPath") or value["src"]),
                _text(value.get("srcRevision") or ""),
                check_path(value["path"]),
            )
        )
    else:
        raise ApiError(400, f"commits have no operation {str(key)[:40]!r}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _mode(file: Sampled) -> str:
    """``lfs`` for large and binary files."""
    if file.size > REGULAR_BYTES or file.path.rsplit(".", 1)[-1].lower() in LFS_ENDINGS:
        return "lfs"
    try:
        sample = base64.b64decode(file.sample)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"the sample of {file.path[:120]!r} is not base64") from None
    return "lfs" if b"\0" in sample else "regular"
