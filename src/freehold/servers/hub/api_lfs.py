"""The hub's routes of Git LFS: the batch API, downloads and uploads by signed links, uploads in parts."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from freehold.core import atomic_files
from freehold.hub.commits import Repository
from freehold.hub.users import User
from freehold.servers.hub import lfs_parts
from freehold.servers.hub.addresses import plural_and_name
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.json_answers import Empty
from freehold.servers.hub.session import CurrentSession, LinkQuery, Session, SignedQuery
from freehold.servers.hub.state import Hub
from freehold.servers.hub.transfers import receive, requested_range
from freehold.servers.web.bodies import JsonRoute

#: Seconds for which links are valid.
DOWNLOAD_S, UPLOAD_S = 3600, 6 * 3600
_SHA256 = r"^[0-9a-f]{64}$"

router = APIRouter(route_class=JsonRoute)


class LfsObject(BaseModel):
    """An object of a batch: its sha256 and its bytes."""

    oid: str = Field(pattern=_SHA256)
    size: int = Field(ge=0, le=1 << 50)


class Batch(BaseModel):
    """A request of the Git LFS batch API."""

    model_config = ConfigDict(extra="allow")
    #: ``upload`` or ``download``
    operation: str
    objects: list[LfsObject] = Field(max_length=lfs_parts.MOST_OBJECTS)
    #: ways to transfer that the client knows: ``basic``, ``multipart``, ``xet``
    transfers: list[str] = ["basic"]


class Part(BaseModel):
    """An uploaded part."""

    partNumber: int = Field(ge=1, le=100_000)
    etag: str


class Completion(BaseModel):
    """The end of an upload in parts."""

    oid: str = Field(pattern=_SHA256)
    parts: list[Part] = Field(min_length=1, max_length=100_000)


class DuplicatedFile(BaseModel):
    """A file whose bytes another repository will have too."""

    sha256: str = Field(pattern=_SHA256)


class Target(BaseModel):
    """Another repository."""

    #: kind
    type: str
    name: str


class Duplication(BaseModel):
    """Files that a commit to another repository will name."""

    target: Target
    files: list[DuplicatedFile] = Field(max_length=10_000)


class Action(BaseModel):
    """An address, and the seconds for which it is valid."""

    href: str
    expires_in: int
    #: of an upload in parts: ``chunk_size``, and the address of each part by its number
    header: dict[str, str] | None = None


class Actions(BaseModel):
    """What a client does with an object."""

    download: Action | None = None
    upload: Action | None = None
    verify: Action | None = None


class ObjectError(BaseModel):
    """Why nothing can be done with an object."""

    code: int
    message: str


class ObjectAnswer(BaseModel):
    """An object of a batch; one that is here already has neither actions nor an error."""

    oid: str
    size: int
    actions: Actions | None = None
    error: ObjectError | None = None


class BatchAnswer(BaseModel):
    """What to do with the objects of a batch."""

    transfer: str
    objects: list[ObjectAnswer]
    hash_algo: str


class Completed(BaseModel):
    """An upload in parts is complete."""

    success: bool


class NotDuplicated(BaseModel):
    """A file that was not found."""

    sha256: str
    error: str


class Duplicated(BaseModel):
    """The files that could not be taken over."""

    failed: list[NotDuplicated]


@router.post("/{where:where}.git/info/lfs/objects/batch", response_model_exclude_unset=True)
def batch(where: str, body: Batch, session: CurrentSession) -> BatchAnswer:
    """Where to read objects, or to send those that are missing."""
    plural, name = plural_and_name(where)
    if body.operation == "download":
        return _downloads(session, session.readable(plural, name, files=True), body)
    if body.operation != "upload":
        raise ApiError(422, f"the operation {body.operation[:40]!r} is not known; use upload or download")
    repository, user = session.proposable(plural, name)
    if "xet" in body.transfers:
        objects = [ObjectAnswer(oid=item.oid, size=item.size) for item in body.objects]
        return BatchAnswer(transfer="xet", objects=objects, hash_algo="sha256")
    return _uploads(session, repository, user, plural, body)


def _downloads(session: Session, repository: Repository, body: Batch) -> BatchAnswer:
    """Links to those objects that a revision of the repository holds."""
    hub, who = session.hub, session.token_digest()
    held = hub.permissions.held(repository, {item.oid for item in body.objects})
    objects: list[ObjectAnswer] = []
    for item in body.objects:
        answer = ObjectAnswer(oid=item.oid, size=item.size)
        if item.oid in held:
            grant = hub.links.give("download", who, repository, f"{item.oid}:{item.size}", DOWNLOAD_S)
            href = f"{session.base}/lfs/{item.oid}?size={item.size}&{hub.links.query(grant)}"
            answer.actions = Actions(download=Action(href=href, expires_in=DOWNLOAD_S))
        else:
            answer.error = ObjectError(code=404, message="the object is not here")
        objects.append(answer)
    return BatchAnswer(transfer="basic", objects=objects, hash_algo="sha256")


def _uploads(session: Session, repository: Repository, user: User, plural: str, body: Batch) -> BatchAnswer:
    """Links for all that the user may not name in a commit, whether this hub has it or not."""
    present = _present(session.hub, user, repository, body.objects)
    large = sum(item.size > lfs_parts.PART_BYTES for item in body.objects if item.oid not in present)
    in_parts = "multipart" in body.transfers and large > 0
    verify = Action(href=f"{session.base}/api/{plural}/{repository.name}/lfs-verify", expires_in=UPLOAD_S)
    objects: list[ObjectAnswer] = []
    for item in body.objects:
        answer = ObjectAnswer(oid=item.oid, size=item.size)
        if item.oid not in present:
            if reason := lfs_parts.why_not(session.hub.incoming, item.size):
                answer.error = ObjectError(code=507, message=reason)
            else:
                upload = _upload_action(session, repository, item, large if in_parts else 0)
                answer.actions = Actions(upload=upload, verify=verify)
        objects.append(answer)
    transfer = "multipart" if in_parts else "basic"
    return BatchAnswer(transfer=transfer, objects=objects, hash_algo="sha256")


def _upload_action(session: Session, repository: Repository, item: LfsObject, large: int) -> Action:
    """Where an object is sent: in parts where it is one of ``large`` large ones, else in one piece."""
    links, subject = session.hub.links, f"{item.oid}:{item.size}"
    grant = links.give("upload", session.token_digest(), repository, subject, UPLOAD_S)
    address, query = f"{session.base}/lfs/{item.oid}", f"size={item.size}&{links.query(grant)}"
    if not large or item.size <= lfs_parts.PART_BYTES:
        return Action(href=f"{address}?{query}", expires_in=UPLOAD_S)
    plan, query = lfs_parts.parts_of(item.size, large), f"{query}&large={large}"
    header = {"chunk_size": str(plan.part_bytes)}
    header |= {str(number): f"{address}/{number}?{query}" for number in range(1, plan.count + 1)}
    return Action(href=f"{address}/complete?{query}", expires_in=UPLOAD_S, header=header)


def _present(hub: Hub, user: User, repository: Repository, objects: Iterable[LfsObject]) -> set[str]:
    """Which of the objects the user may name in a commit as they are; ``hub gc`` spares them for a while."""
    present: set[str] = set()
    sizes = {item.oid: item.size for item in objects}
    for oid in hub.permissions.nameable(user, repository, sizes.keys()):
        blob = hub.blobs.find(oid)
        if blob is not None and blob.size == sizes[oid]:
            hub.blobs.renew(blob)
            present.add(oid)
    return present


@router.get("/lfs/{oid}")
def lfs_download(oid: str, size: int, link: SignedQuery, session: CurrentSession) -> Response:
    """An object's bytes."""
    hub = session.hub
    user, repository = session.redeem(link.grant("download", f"{oid}:{size}"), link.signature)
    blob = hub.blobs.find(oid) if hub.permissions.held(repository, {oid}) else None
    if blob is None:
        raise ApiError(404, "the object is not here")
    part = requested_range(session.request, blob.size)
    if not part.start:
        session.record(user, "pull", repository, f"object {oid[:12]}")
    return StreamingResponse(
        hub.blobs.read(blob, part.start, part.end),
        status_code=part.status,
        headers=part.headers | {"Accept-Ranges": "bytes"},
        media_type="application/octet-stream",
    )


def _redeem_upload(session: Session, oid: str, size: int, link: LinkQuery) -> tuple[User, Repository]:
    return session.redeem(link.grant("upload", f"{oid}:{size}"), link.signature)


@router.put("/lfs/{oid}")
async def lfs_upload(
    oid: str, size: int, link: SignedQuery, session: CurrentSession, request: Request
) -> Response:
    """Take an object in one piece."""
    hub = session.hub
    user, repository = await run_in_threadpool(_redeem_upload, session, oid, size, link)
    async with hub.incoming_file() as path:
        await receive(request, path, size)
        await run_in_threadpool(hub.blobs.accept, path, oid, size)
    await run_in_threadpool(hub.uploads.content, user.name, repository.id, oid)
    return Response(status_code=200)


@router.put("/lfs/{oid}/{number}")
async def lfs_part(
    oid: str,
    number: int,
    size: int,
    link: SignedQuery,
    session: CurrentSession,
    request: Request,
    large: int = 1,
) -> Response:
    """Take a part of an object, which is one of ``large`` large ones of its batch."""
    user, repository = await run_in_threadpool(_redeem_upload, session, oid, size, link)
    plan = lfs_parts.parts_of(size, large)
    if not 1 <= number <= plan.count:
        raise ApiError(400, f"the upload has parts 1 to {plan.count}, and this is part {number}")
    folder, expected = _parts_folder(session.hub, user, repository, oid, plan), plan.bytes_of(number)
    atomic_files.make_folder(folder)
    async with session.hub.incoming_file() as path:
        await receive(request, path, expected)
        received = path.stat().st_size
        if received != expected:
            raise ApiError(400, f"part {number} has {received} bytes and should have {expected}")
        etag = await run_in_threadpool(atomic_files.sha256_file, path)
        path.replace(folder / str(number))
    return Response(status_code=200, headers={"ETag": f'"{etag}"'})


def _parts_folder(hub: Hub, user: User, repository: Repository, oid: str, plan: lfs_parts.Parts) -> Path:
    """The folder for an upload's parts; users have their own, so that nobody completes another's."""
    name = atomic_files.digest_of([user.name, repository.id, oid, plan.size_bytes, plan.part_bytes])
    return hub.incoming / name


@router.post("/lfs/{oid}/complete")
def lfs_complete(
    oid: str, body: Completion, size: int, link: SignedQuery, session: CurrentSession, large: int = 1
) -> Completed:
    """Put the parts of an object together."""
    hub = session.hub
    user, repository = _redeem_upload(session, oid, size, link)
    plan = lfs_parts.parts_of(size, large)
    folder = _parts_folder(hub, user, repository, oid, plan)
    missing = [number for number in range(1, plan.count + 1) if not (folder / str(number)).exists()]
    if not missing:
        _join(hub, folder, plan.count, oid, size)
        hub.uploads.content(user.name, repository.id, oid)
    elif not hub.uploads.contents_of(user.name, repository.id, {oid}):  # else it was completed before
        raise ApiError(400, f"part {missing[0]} of {plan.count} was not uploaded")
    return Completed(success=True)


def _join(hub: Hub, folder: Path, count: int, oid: str, size: int) -> None:
    atomic_files.need_disk(hub.incoming, size, "joining the parts")
    joined = hub.incoming / f"{secrets.token_hex(8)}.part"
    try:
        with joined.open("wb") as target:
            for number in range(1, count + 1):
                with (folder / str(number)).open("rb") as part:
                    shutil.copyfileobj(part, target, 1 << 20)
        hub.blobs.accept(joined, oid, size)
    finally:
        joined.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


@router.post("/api/{plural}/{repo:repo}/lfs-verify")
def lfs_verify(plural: str, repo: str, body: LfsObject, session: CurrentSession) -> Empty:
    """Whether an upload arrived."""
    repository, user = session.proposable(plural, repo)
    if not _present(session.hub, user, repository, [body]):
        raise ApiError(404, "the object is not here")
    return Empty()


@router.post("/api/{plural}/{repo:repo}/lfs-files/duplicate")
def duplicate(plural: str, repo: str, body: Duplication, session: CurrentSession) -> Duplicated:
    """Let files of this repository be named in a commit to another one, without an upload."""
    hub = session.hub
    source = session.readable(plural, repo, files=True)
    target, user = session.proposable(f"{body.target.type}s", body.target.name)
    held = hub.permissions.held(source, {file.sha256 for file in body.files})
    for digest in sorted(held):
        hub.uploads.content(user.name, target.id, digest)
    failed = [file.sha256 for file in body.files if file.sha256 not in held]
    return Duplicated(
        failed=[NotDuplicated(sha256=digest, error="the file is not here") for digest in failed]
    )
