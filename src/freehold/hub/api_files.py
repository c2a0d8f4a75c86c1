"""The hub's routes that move bytes: reading files, Git LFS uploads, and commits."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import pathspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from freehold import durable
from freehold.errors import DoesNotFit
from freehold.hub.accounts import Actor
from freehold.hub.api_repositories import address
from freehold.hub.contents import Content
from freehold.hub.discussions import number_of
from freehold.hub.names import check_path
from freehold.hub.repositories import LFS_ENDINGS, Change, File, Repository, git_oid, lfs_file
from freehold.hub.session import Answer, Hub, base_of, plain, whose

#: Files larger than this go through LFS or Xet, as on the Hugging Face Hub.
REGULAR_BYTES = 10 << 20
#: A commit's body: many small files in base64.
COMMIT_BYTES = 1 << 30
#: Uploads larger than this come in parts of this size, so that a broken one is not sent from the start.
PART_BYTES = 64 << 20
_TRUE = ("1", "true", "True")
_SHA256 = r"^[0-9a-f]{64}$"


class LfsObject(BaseModel):
    """An object of a batch."""

    oid: str = Field(pattern=_SHA256)
    size: int = Field(ge=0, le=1 << 50)


class Batch(BaseModel):
    """A request of the Git LFS batch API."""

    model_config = ConfigDict(extra="allow")
    operation: str
    objects: list[LfsObject] = Field(max_length=10_000)
    transfers: list[str] = ["basic"]


class Part(BaseModel):
    """An uploaded part."""

    partNumber: int = Field(ge=1, le=100_000)
    etag: str


class Completion(BaseModel):
    """The end of an upload in parts."""

    oid: str = Field(pattern=_SHA256)
    parts: list[Part] = Field(min_length=1, max_length=100_000)


class Sampled(BaseModel):
    """A file that a client is about to upload, with its first bytes."""

    path: str
    size: int = Field(ge=0)
    sample: str = ""


class Preupload(BaseModel):
    """Files of a commit to come."""

    files: list[Sampled] = Field(max_length=10_000)
    gitIgnore: str | None = None


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, end exclusive) of a single Range; None when the whole is meant. Raises Answer 416."""
    unit, _, wanted = header.partition("=")
    if unit.strip().lower() != "bytes" or "," in wanted:
        return None
    first, _, last = wanted.strip().partition("-")
    try:
        start, end = (
            (int(first), int(last) + 1 if last else size) if first else (max(0, size - int(last)), size)
        )
    except ValueError:
        return None
    if start >= size or start < 0 or end <= start:
        raise Answer(
            416,
            f"bytes {wanted[:40]} are outside of the file's {size}",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, min(end, size)


async def receive(request: Request, target: Path, limit: int) -> None:
    """Write a request's body to a file; more than ``limit`` bytes or a broken connection leave nothing. Raises Answer."""
    announced = int(request.headers.get("content-length") or 0)
    if announced > limit:
        raise Answer(413, f"the body has {announced} bytes and {limit} are expected at most")
    try:
        await run_in_threadpool(durable.need_disk, target.parent, announced, "the upload")
    except DoesNotFit as error:
        raise Answer(507, str(error)) from None
    written = 0
    try:
        with target.open("wb") as file, durable.disk_full_explained(target):
            async for block in request.stream():
                written += len(block)
                if written > limit:
                    raise Answer(413, f"the body has more than the {limit} bytes that are expected")
                await run_in_threadpool(file.write, block)
        if announced and written != announced:
            raise Answer(400, f"{announced} bytes were announced and {written} came")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter()

    # -- reading ----------------------------------------------------------------------------------

    def located(
        plural: str, repo: str, revision: str, path: str, request: Request
    ) -> tuple[Repository, str, File, Content]:
        found = hub.readable(request, plural, repo, files=True)
        commit = hub.repositories.commit(found, hub.revision(found, plain(revision)))
        file = commit.files.get(plain(path))
        if file is None:
            raise Answer(
                404,
                f"{path[:200]} does not exist on {revision[:80]!r}",
                "EntryNotFound",
                {"X-Repo-Commit": commit.id},
            )
        content = hub.contents.find(file.sha256)
        if content is None:
            raise Answer(
                500,
                f"the content of {path[:200]} is missing from this hub; its operator can run 'freehold hub check'",
            )
        return found, commit.id, file, content

    @router.api_route("/{where:where}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    def resolve(where: str, revision: str, path: str, request: Request) -> Response:
        plural, repo = whose(where)
        found, commit, file, content = located(plural, repo, revision, path, request)
        base = base_of(request)
        etag = f'"{file.sha256 if file.lfs else file.oid}"'
        name = path.rsplit("/", 1)[-1]
        headers = {
            "X-Repo-Commit": commit, "ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}; filename=\"{quote(name)}\";",
            "Access-Control-Expose-Headers": "X-Repo-Commit, ETag, X-Linked-Size, X-Linked-ETag, Link, X-Xet-Hash",
        }  # fmt: skip
        if file.lfs:
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": etag}
        if content.file_hash:
            token = f"{base}/api/{plural}/{found.name}/xet-read-token/{commit}"
            headers |= {
                "X-Xet-Hash": content.file_hash,
                "Link": f'<{token}>; rel="xet-auth", <{base}/xet/{hub.id}/v1/reconstructions/{content.file_hash}>; rel="xet-reconstruction-info"',
            }
        kind = "text/plain; charset=utf-8" if not file.lfs else "application/octet-stream"
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        asked = byte_range(request.headers.get("range", ""), file.size)
        start, end = asked or (0, file.size)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        headers["Content-Length"] = str(end - start)
        status = 206 if asked else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=kind)
        if not asked or not start:
            hub.repositories.downloaded(found)
            hub.accounts.record(
                hub.reader(request).name or "nobody",
                "pull",
                f"{found.kind} {found.name}",
                f"{path} at {commit[:12]}",
            )
        return StreamingResponse(
            hub.contents.read(content, start, end), status_code=status, headers=headers, media_type=kind
        )

    # -- LFS ----------------------------------------------------------------------------------------

    @router.post("/{where:where}.git/info/lfs/objects/batch")
    def batch(where: str, body: Batch, request: Request) -> dict[str, Any]:
        plural, repo = whose(where)
        if body.operation == "download":
            found = hub.readable(request, plural, repo, files=True)
        elif body.operation == "upload":
            found, _ = hub.proposing(request, plural, repo)
        else:
            raise Answer(422, f"the operation {body.operation[:40]!r} is not known; upload and download are")
        base, expires = base_of(request), int(time.time()) + 6 * 3600
        if body.operation == "upload" and "xet" in body.transfers:
            return {
                "transfer": "xet",
                "objects": [one.model_dump() for one in body.objects],
                "hash_algo": "sha256",
            }
        parts = (
            body.operation == "upload"
            and "multipart" in body.transfers
            and any(one.size > PART_BYTES for one in body.objects)
        )
        objects: list[dict[str, Any]] = []
        for one in body.objects:
            entry: dict[str, Any] = {"oid": one.oid, "size": one.size}
            there = hub.contents.find(one.oid)
            if there is not None and body.operation == "upload":
                hub.contents.renew(there)
            query = f"size={one.size}&expires={expires}&signature={hub.sign(expires, body.operation, one.oid, one.size)}"
            if body.operation == "download":
                if there is None:
                    entry["error"] = {"code": 404, "message": "the object is not here"}
                else:
                    entry["actions"] = {
                        "download": {"href": f"{base}/lfs/{one.oid}?{query}", "expires_in": 6 * 3600}
                    }
            elif there is None or there.size != one.size:
                upload: dict[str, Any] = {"href": f"{base}/lfs/{one.oid}?{query}", "expires_in": 6 * 3600}
                if parts and one.size > PART_BYTES:
                    upload["href"] = f"{base}/lfs/{one.oid}/complete?{query}"
                    count = -(-one.size // PART_BYTES)
                    upload["header"] = {"chunk_size": str(PART_BYTES)} | {
                        str(number): f"{base}/lfs/{one.oid}/{number}?{query}"
                        for number in range(1, count + 1)
                    }
                verify = f"{base}/api/{plural}/{found.name}/lfs-verify"
                entry["actions"] = {"upload": upload, "verify": {"href": verify, "expires_in": 6 * 3600}}
            objects.append(entry)
        return {"transfer": "multipart" if parts else "basic", "objects": objects, "hash_algo": "sha256"}

    @router.get("/lfs/{oid}")
    def lfs_download(oid: str, size: int, expires: int, signature: str, request: Request) -> Response:
        hub.check(signature, expires, "download", oid, size)
        content = hub.contents.find(oid)
        if content is None:
            raise Answer(404, "the object is not here")
        return StreamingResponse(
            hub.contents.read(content),
            headers={"Content-Length": str(content.size)},
            media_type="application/octet-stream",
        )

    @router.put("/lfs/{oid}")
    async def lfs_upload(oid: str, size: int, expires: int, signature: str, request: Request) -> Response:
        hub.check(signature, expires, "upload", oid, size)
        async with hub.landing() as path:
            await receive(request, path, size)
            await run_in_threadpool(hub.contents.accept, path, oid, size)
        return Response(status_code=200)

    @router.put("/lfs/{oid}/{number}")
    async def lfs_part(
        oid: str, number: int, size: int, expires: int, signature: str, request: Request
    ) -> Response:
        hub.check(signature, expires, "upload", oid, size)
        count = -(-size // PART_BYTES)
        if not 1 <= number <= count:
            raise Answer(400, f"the upload has parts 1 to {count}, and this is part {number}")
        folder = hub.parts / f"{oid}-{size}"
        folder.mkdir(exist_ok=True)
        async with hub.landing() as path:
            await receive(request, path, PART_BYTES)
            wanted = min(PART_BYTES, size - (number - 1) * PART_BYTES)
            if path.stat().st_size != wanted:
                raise Answer(400, f"part {number} has {path.stat().st_size} bytes and should have {wanted}")
            etag = await run_in_threadpool(durable.sha256_file, path)
            path.replace(folder / str(number))
        return Response(status_code=200, headers={"ETag": f'"{etag}"'})

    @router.post("/lfs/{oid}/complete")
    def lfs_complete(oid: str, body: Completion, size: int, expires: int, signature: str) -> dict[str, Any]:
        hub.check(signature, expires, "upload", oid, size)
        folder, count = hub.parts / f"{oid}-{size}", -(-size // PART_BYTES)
        missing = [number for number in range(1, count + 1) if not (folder / str(number)).exists()]
        if missing and hub.contents.find(oid) is None:
            raise Answer(400, f"part {missing[0]} of {count} was not uploaded")
        if not missing:
            durable.need_disk(hub.parts, size, "joining the parts")
            joined = hub.parts / f"{secrets.token_hex(8)}.part"
            try:
                with joined.open("wb") as target:
                    for number in range(1, count + 1):
                        with (folder / str(number)).open("rb") as part:
                            shutil.copyfileobj(part, target, 1 << 20)
                hub.contents.accept(joined, oid, size)
            finally:
                joined.unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
        return {"success": True}

    @router.post("/api/{plural}/{repo:repo}/lfs-verify")
    def lfs_verify(plural: str, repo: str, body: LfsObject, request: Request) -> dict[str, Any]:
        hub.proposing(request, plural, repo)
        content = hub.contents.find(body.oid)
        if content is None or content.size != body.size:
            raise Answer(404, "the object is not here")
        return {}

    # -- commits --------------------------------------------------------------------------------------

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
        ignored = pathspec.GitIgnoreSpec.from_lines((rules or "").splitlines())
        return {
            "files": [
                {"path": one.path, "uploadMode": _mode(one), "shouldIgnore": ignored.match_file(one.path),
                 "oid": (there[one.path].sha256 if there[one.path].lfs else there[one.path].oid) if one.path in there else None}
                for one in body.files
            ]
        }  # fmt: skip

    def pusher(
        plural: str, repo: str, branch: str, request: Request, as_request: bool
    ) -> tuple[Repository, Actor]:
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
        found, actor = await run_in_threadpool(pusher, plural, repo, branch, request, as_request)
        if as_request and branch != "main":
            raise Answer(404, f"changes are proposed to main, not to {branch[:80]!r}", "RevisionNotFound")
        async with hub.landing() as path:
            await receive(request, path, COMMIT_BYTES)
            done, request_name = await run_in_threadpool(apply, found, branch, path, actor.name, as_request)
        page = address(base_of(request), found)
        pull = f"{page}/discussions/{number_of(request_name)}" if request_name else None
        return {
            "success": True,
            "commitOid": done,
            "commitUrl": f"{page}/commit/{done}",
            "pullRequestUrl": pull,
            "hookOutput": "",
        }

    def apply(found: Repository, branch: str, path: Path, author: str, as_request: bool) -> tuple[str, str]:
        change = Change("")
        for number, line in enumerate(_lines(path), 1):
            try:
                item = json.loads(line)
                _take(hub, change, item["key"], item["value"])
            except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
                raise Answer(
                    400, f"line {number} of the commit cannot be read: {type(error).__name__}"
                ) from None
        if not change.title:
            raise Answer(400, "the commit has no summary; send it in the header line")
        head = hub.revision(found, branch)
        if as_request:
            made, name = hub.repositories.propose(found, head, change, author)
        else:
            made, name = hub.repositories.apply(found, branch, change, author), ""
        done = made.id
        hub.accounts.record(author, "push", f"{found.kind} {found.name}", f"{name or branch} is {done}")
        return done, name

    return router


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield line


def _take(hub: Hub, change: Change, key: str, value: dict[str, Any]) -> None:
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
        change.put[name] = File(hub.contents.put(data), len(data), False, git_oid("blob", data))
    elif key == "lfsFile":
        name, digest = check_path(value["path"]), value["oid"]
        content = hub.contents.find(digest) if len(digest) == 64 and digest.isalnum() else None
        if content is None or ("size" in value and value["size"] != content.size):
            raise Answer(400, f"the content of {name[:120]!r} was not uploaded, or has another size")
        change.put[name] = lfs_file(digest, content.size)
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
        raise Answer(400, f"commits have no operation {str(key)[:40]!r}")


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
        raise Answer(400, f"the sample of {file.path[:120]!r} is not base64") from None
    return "lfs" if b"\0" in sample else "regular"
