"""The hub's routes that move bytes: reading files, and Git LFS. Whether the asker may have them,
:mod:`freehold.hub.permissions` says."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from freehold.core import atomic_files
from freehold.core.errors import DoesNotFit
from freehold.hub.blob_store import Content
from freehold.hub.commits import File, Repository
from freehold.hub.users import User
from freehold.servers.hub import lfs_parts
from freehold.servers.hub.session import ApiError, Hub, Link, base_of, plain, whose
from freehold.servers.web.bodies import JsonRoute

#: Seconds for which links hold.
DOWNLOAD_S, UPLOAD_S = 3600, 6 * 3600
_SHA256 = r"^[0-9a-f]{64}$"


class LfsObject(BaseModel):
    """An object of a batch."""

    oid: str = Field(pattern=_SHA256)
    size: int = Field(ge=0, le=1 << 50)


class Batch(BaseModel):
    """A request of the Git LFS batch API."""

    model_config = ConfigDict(extra="allow")
    operation: str
    objects: list[LfsObject] = Field(max_length=lfs_parts.MOST_OBJECTS)
    transfers: list[str] = ["basic"]


class Part(BaseModel):
    """An uploaded part."""

    partNumber: int = Field(ge=1, le=100_000)
    etag: str


class Completion(BaseModel):
    """The end of an upload in parts."""

    oid: str = Field(pattern=_SHA256)
    parts: list[Part] = Field(min_length=1, max_length=100_000)


class Duplicated(BaseModel):
    """A file whose bytes another repository will have too."""

    sha256: str = Field(pattern=_SHA256)


class Target(BaseModel):
    """Another repository."""

    type: str
    name: str


class Duplication(BaseModel):
    """Files that a commit to another repository will name."""

    target: Target
    files: list[Duplicated] = Field(max_length=10_000)


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
        raise ApiError(
            416,
            f"bytes {wanted[:40]} are outside of the file's {size}",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, min(end, size)


async def receive(request: Request, target: Path, limit: int) -> None:
    """Write a request's body to a file; more than ``limit`` bytes or a broken connection leave nothing. Raises Answer."""
    announced = int(request.headers.get("content-length") or 0)
    if announced > limit:
        raise ApiError(413, f"the body has {announced} bytes and {limit} are expected at most")
    try:
        await run_in_threadpool(atomic_files.need_disk, target.parent, announced, "the upload")
    except DoesNotFit as error:
        raise ApiError(507, str(error)) from None
    written = 0
    try:
        with target.open("wb") as file, atomic_files.disk_full_explained(target):
            async for block in request.stream():
                written += len(block)
                if written > limit:
                    raise ApiError(413, f"the body has more than the {limit} bytes that are expected")
                await run_in_threadpool(file.write, block)
        if announced and written != announced:
            raise ApiError(400, f"{announced} bytes were announced and {written} came")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter(route_class=JsonRoute)

    # -- reading ----------------------------------------------------------------------------------

    def located(
        plural: str, repo: str, revision: str, path: str, request: Request
    ) -> tuple[Repository, str, File, Content]:
        found = hub.readable(request, plural, repo, files=True)
        commit = hub.repositories.commit(found, hub.revision(found, plain(revision)))
        file = commit.files.get(plain(path))
        if file is None:
            raise ApiError(
                404,
                f"{path[:200]} does not exist on {revision[:80]!r}",
                "EntryNotFound",
                {"X-Repo-Commit": commit.id},
            )
        content = hub.contents.find(file.sha256)
        if content is None:
            raise ApiError(
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
            "X-Repo-Commit": commit, "ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}; filename=\"{quote(name)}\";",
            "Access-Control-Expose-Headers": "X-Repo-Commit, ETag, X-Linked-Size, X-Linked-ETag, Link, X-Xet-Hash",
        }  # fmt: skip
        if file.lfs:
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": etag}
        if content.file_hash:
            token = f"{base}/api/{plural}/{found.name}/xet-read-token/{commit}"
            store = base + hub.chunk_store(hub.reader(request))
            headers |= {
                "X-Xet-Hash": content.file_hash,
                "Link": f'<{token}>; rel="xet-auth", <{store}/v1/reconstructions/{content.file_hash}>; rel="xet-reconstruction-info"',
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
            return downloads(hub.readable(request, plural, repo, files=True), body, request)
        if body.operation != "upload":
            raise ApiError(
                422, f"the operation {body.operation[:40]!r} is not known; upload and download are"
            )
        found, actor = hub.proposing(request, plural, repo)
        if "xet" in body.transfers:
            objects = [one.model_dump() for one in body.objects]
            return {"transfer": "xet", "objects": objects, "hash_algo": "sha256"}
        return uploads(found, actor, plural, body, request)

    def downloads(found: Repository, body: Batch, request: Request) -> dict[str, Any]:
        """Links to those objects that a revision of the repository holds."""
        base, who = base_of(request), hub.who(request)
        held = hub.rights.held(found, {one.oid for one in body.objects})
        objects: list[dict[str, Any]] = []
        for one in body.objects:
            entry: dict[str, Any] = {"oid": one.oid, "size": one.size}
            if one.oid in held:
                grant = hub.grants.give("download", who, found, f"{one.oid}:{one.size}", DOWNLOAD_S)
                href = f"{base}/lfs/{one.oid}?size={one.size}&{hub.grants.query(grant)}"
                entry["actions"] = {"download": {"href": href, "expires_in": DOWNLOAD_S}}
            else:
                entry["error"] = {"code": 404, "message": "the object is not here"}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects, "hash_algo": "sha256"}

    def uploads(found: Repository, actor: User, plural: str, body: Batch, request: Request) -> dict[str, Any]:
        """Links for what must be sent: all that the asker may not name in a commit, whether this hub has it
        or not."""
        here = present(actor, found, body.objects)
        sent = [one for one in body.objects if one.oid not in here]
        large = sum(one.size > lfs_parts.PART_BYTES for one in sent)
        parts = "multipart" in body.transfers and large > 0
        verify = {"href": f"{base_of(request)}/api/{plural}/{found.name}/lfs-verify", "expires_in": UPLOAD_S}
        objects: list[dict[str, Any]] = []
        for one in body.objects:
            entry: dict[str, Any] = {"oid": one.oid, "size": one.size}
            if one.oid not in here and (reason := lfs_parts.why_not(hub.parts, one.size)):
                entry["error"] = {"code": 507, "message": reason}
            elif one.oid not in here:
                grant = hub.grants.give("upload", hub.who(request), found, f"{one.oid}:{one.size}", UPLOAD_S)
                query = f"size={one.size}&{hub.grants.query(grant)}"
                address = f"{base_of(request)}/lfs/{one.oid}"
                upload = upload_action(address, query, one.size, large if parts else 0)
                entry["actions"] = {"upload": upload, "verify": verify}
            objects.append(entry)
        return {"transfer": "multipart" if parts else "basic", "objects": objects, "hash_algo": "sha256"}

    def present(actor: User, found: Repository, objects: list[LfsObject]) -> set[str]:
        """Which of the objects the actor may name in a commit as they are; they are spared from collection
        for a while."""
        here: set[str] = set()
        sizes = {one.oid: one.size for one in objects}
        for oid in hub.rights.nameable(actor, found, sizes.keys()):
            content = hub.contents.find(oid)
            if content is not None and content.size == sizes[oid]:
                hub.contents.renew(content)
                here.add(oid)
        return here

    def uploading(oid: str, size: int, link: Link) -> tuple[User, Repository]:
        return hub.redeem(link.grant("upload", f"{oid}:{size}"), link.signature)

    @router.get("/lfs/{oid}")
    def lfs_download(oid: str, size: int, link: Annotated[Link, Depends()], request: Request) -> Response:
        actor, found = hub.redeem(link.grant("download", f"{oid}:{size}"), link.signature)
        content = hub.contents.find(oid) if hub.rights.held(found, {oid}) else None
        if content is None:
            raise ApiError(404, "the object is not here")
        asked = byte_range(request.headers.get("range", ""), content.size)
        start, end = asked or (0, content.size)
        headers = {"Content-Length": str(end - start), "Accept-Ranges": "bytes"}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
        if not start:
            hub.accounts.record(
                actor.name or "nobody", "pull", f"{found.kind} {found.name}", f"object {oid[:12]}"
            )
        return StreamingResponse(
            hub.contents.read(content, start, end),
            status_code=206 if asked else 200,
            headers=headers,
            media_type="application/octet-stream",
        )

    @router.put("/lfs/{oid}")
    async def lfs_upload(oid: str, size: int, link: Annotated[Link, Depends()], request: Request) -> Response:
        actor, found = await run_in_threadpool(uploading, oid, size, link)
        async with hub.landing() as path:
            await receive(request, path, size)
            await run_in_threadpool(hub.contents.accept, path, oid, size)
        await run_in_threadpool(hub.uploads.content, actor.name, found.id, oid)
        return Response(status_code=200)

    def parts_of(actor: User, found: Repository, oid: str, plan: lfs_parts.Parts) -> Path:
        """Where the parts of an upload lie: everyone's apart, so that nobody completes another's."""
        return hub.parts / atomic_files.digest_of(
            [actor.name, found.id, oid, plan.size_bytes, plan.part_bytes]
        )

    @router.put("/lfs/{oid}/{number}")
    async def lfs_part(
        oid: str, number: int, size: int, link: Annotated[Link, Depends()], request: Request, large: int = 1
    ) -> Response:
        actor, found = await run_in_threadpool(uploading, oid, size, link)
        plan = lfs_parts.parts_of(size, large)
        if not 1 <= number <= plan.count:
            raise ApiError(400, f"the upload has parts 1 to {plan.count}, and this is part {number}")
        folder = parts_of(actor, found, oid, plan)
        atomic_files.make_folder(folder)
        async with hub.landing() as path:
            await receive(request, path, plan.bytes_of(number))
            if path.stat().st_size != plan.bytes_of(number):
                raise ApiError(
                    400,
                    f"part {number} has {path.stat().st_size} bytes and should have {plan.bytes_of(number)}",
                )
            etag = await run_in_threadpool(atomic_files.sha256_file, path)
            path.replace(folder / str(number))
        return Response(status_code=200, headers={"ETag": f'"{etag}"'})

    @router.post("/lfs/{oid}/complete")
    def lfs_complete(
        oid: str, body: Completion, size: int, link: Annotated[Link, Depends()], large: int = 1
    ) -> dict[str, Any]:
        actor, found = uploading(oid, size, link)
        plan = lfs_parts.parts_of(size, large)
        folder, count = parts_of(actor, found, oid, plan), plan.count
        missing = [number for number in range(1, count + 1) if not (folder / str(number)).exists()]
        if not missing:
            join(folder, count, oid, size)
            hub.uploads.content(actor.name, found.id, oid)
        elif not hub.uploads.contents_of(actor.name, found.id, {oid}):  # else it was completed before
            raise ApiError(400, f"part {missing[0]} of {count} was not uploaded")
        return {"success": True}

    def join(folder: Path, count: int, oid: str, size: int) -> None:
        atomic_files.need_disk(hub.parts, size, "joining the parts")
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

    @router.post("/api/{plural}/{repo:repo}/lfs-verify")
    def lfs_verify(plural: str, repo: str, body: LfsObject, request: Request) -> dict[str, Any]:
        found, actor = hub.proposing(request, plural, repo)
        if not present(actor, found, [body]):
            raise ApiError(404, "the object is not here")
        return {}

    @router.post("/api/{plural}/{repo:repo}/lfs-files/duplicate")
    def duplicate(plural: str, repo: str, body: Duplication, request: Request) -> dict[str, Any]:
        """Let files of this repository be named in a commit to another one, without an upload."""
        source = hub.readable(request, plural, repo, files=True)
        target, actor = hub.proposing(request, f"{body.target.type}s", body.target.name)
        held = hub.rights.held(source, {one.sha256 for one in body.files})
        failed = [one.sha256 for one in body.files if one.sha256 not in held]
        for digest in sorted(held):
            hub.uploads.content(actor.name, target.id, digest)
        return {"failed": [{"sha256": digest, "error": "the file is not here"} for digest in failed]}

    return router


def upload_action(address: str, query: str, size: int, large: int) -> dict[str, Any]:
    """Where an object is sent: in parts where it is one of ``large`` large ones, else in one piece."""
    if not large or size <= lfs_parts.PART_BYTES:
        return {"href": f"{address}?{query}", "expires_in": UPLOAD_S}
    plan, query = lfs_parts.parts_of(size, large), f"{query}&large={large}"
    header = {"chunk_size": str(plan.part_bytes)}
    header |= {str(number): f"{address}/{number}?{query}" for number in range(1, plan.count + 1)}
    return {"href": f"{address}/complete?{query}", "expires_in": UPLOAD_S, "header": header}
