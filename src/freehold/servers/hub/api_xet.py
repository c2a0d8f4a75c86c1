"""The Xet chunk store over HTTP: tokens, xorbs, shards and how files are put together again.

Source: the Xet protocol's CAS API (huggingface.co/docs/xet/api). What a server may leave out (upload grants)
is answered with 404, which clients take as "not here". A token is for one repository at one commit: only the
files of that commit are put together with it, and only the bytes of their chunks are opened. What the user
may not read is answered as what is not here.
"""

from __future__ import annotations

import secrets
import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from freehold.core.errors import NotFound
from freehold.hub import xet
from freehold.hub.blob_store import Content
from freehold.hub.commits import Repository
from freehold.hub.signed_links import Grant
from freehold.hub.users import User
from freehold.servers.hub.addresses import unescape_slashes
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.session import CurrentSession, Session, SignedQuery
from freehold.servers.hub.state import Hub
from freehold.servers.hub.transfers import receive, requested_range
from freehold.servers.hub.xet_reconstruction import Reconstruction, reconstruction

#: Seconds for which a client may rely on what a shard says is here; shorter than a collection's grace.
RELIABLE_S = 1800
#: Seconds for which a token and the address of a xorb are valid.
GRANTED_S = 3600
_MOST_SHARD_BYTES = 256 << 20
_STORE = "/xet/{store}"

router = APIRouter()


@router.get("/api/{plural}/{repo:repo}/xet-{role}-token/{revision:path}")
def token(plural: str, repo: str, role: str, revision: str, session: CurrentSession) -> Response:
    """A token for the chunk store, to read the files of a commit or to write."""
    if role == "write":
        repository, user = session.proposable(plural, repo)
    elif role == "read":
        repository, user = session.readable(plural, repo, files=True), session.reader()
    else:
        raise ApiError(404, f"there are no {role[:40]} tokens; ask for a read or a write token")
    try:
        commit = session.commit_id(repository, unescape_slashes(revision))
    except ApiError:
        if role != "write":
            raise
        # clients that propose a change name no revision, or one that does not exist yet
        commit = session.commit_id(repository, "main")
    hub = session.hub
    grant = hub.links.give(role, session.token_digest(), repository, commit, GRANTED_S)
    access, address = hub.links.token(grant), session.base + hub.chunk_store_path(user)
    return JSONResponse(
        {"casUrl": address, "accessToken": access, "exp": grant.expires},
        headers={
            "X-Xet-Cas-Url": address,
            "X-Xet-Access-Token": access,
            "X-Xet-Token-Expiration": str(grant.expires),
        },
    )


def _granted(session: Session, store: str) -> tuple[Grant, User, Repository]:
    grant, user, repository = session.chunk_token()
    if f"/xet/{store}" != session.hub.chunk_store_path(user):
        raise ApiError(404, "there is nothing at this address")
    return grant, user, repository


def _writing(session: Session, store: str) -> tuple[User, Repository]:
    grant, user, repository = _granted(session, store)
    if grant.right != "write":
        raise ApiError(403, "this token may read chunks, not write them")
    return user, repository


@router.post(_STORE + "/v1/xorbs/default/{name}")
async def put_xorb(store: str, name: str, request: Request, session: CurrentSession) -> dict[str, bool]:
    """Take a xorb."""
    hub = session.hub
    user, _ = await run_in_threadpool(_writing, session, store)
    async with hub.incoming_file() as path:
        await receive(request, path, xet.MOST_XORB_BYTES + (1 << 20))
        await run_in_threadpool(hub.blobs.put_xorb, name, path)
    return {"was_inserted": await run_in_threadpool(_note_xorb, hub, user, name)}


def _note_xorb(hub: Hub, user: User, xorb: str) -> bool:
    """Note who sent a xorb; whether it is new from them. Whether others have sent it is not said."""
    known = hub.uploads.xorbs_of(user.name, {xorb})
    hub.uploads.xorb(user.name, xorb)
    return not known


@router.post(_STORE + "/v1/shards")
async def put_shard(store: str, request: Request, session: CurrentSession) -> dict[str, int]:
    """Take a shard, which says of which chunks files consist."""
    user, repository = await run_in_threadpool(_writing, session, store)
    async with session.hub.incoming_file() as path:
        await receive(request, path, _MOST_SHARD_BYTES)
        is_new = await run_in_threadpool(lambda: _register(session.hub, user, repository, path.read_bytes()))
    return {"result": int(is_new)}


def _register(hub: Hub, user: User, repository: Repository, data: bytes) -> bool:
    """Take a shard; whether a file of it is new among those that its sender may name."""
    blobs = hub.blobs.put_shard(data, lambda spans: hub.permissions.missing_chunks(user, spans))
    digests = {blob.sha256 for blob in blobs}
    known = hub.permissions.nameable(user, repository, digests)
    for digest in sorted(digests):
        hub.uploads.content(user.name, repository.id, digest)
    hub.uploads.packed(user.name, {term.xorb for blob in blobs for term in blob.terms})
    return known != digests


@router.get(_STORE + "/v1/chunks/{prefix}/{chunk}")
def known_chunks(store: str, prefix: str, chunk: str, session: CurrentSession) -> Response:
    """A shard of the chunks of a file that holds this one, so that the client need not send them."""
    hub = session.hub
    user, _ = _writing(session, store)
    blob = hub.permissions.alike(user, chunk)
    if blob is None:
        raise NotFound(f"nothing with the chunk {chunk[:12]} is here", "upload it")
    now, chunks = int(time.time()), hub.blobs.known_chunks(blob)
    shard = xet.write_shard(chunks, secrets.token_bytes(32), now, now + RELIABLE_S)
    return Response(shard, media_type="application/octet-stream")


@router.get(_STORE + "/v1/reconstructions/{name}")
def reconstruct(store: str, name: str, session: CurrentSession) -> Reconstruction:
    """Of which chunks a file of the token's commit consists, and where they can be read."""
    hub = session.hub
    grant, _, repository = _granted(session, store)
    blob = _file_of_commit(hub, repository, grant, name)
    part = requested_range(session.request, blob.size)

    def address_of(xorb: str, first: int, last: int) -> str:
        """Where these bytes of a xorb, and no others, can be read."""
        link = hub.links.give("xorb", grant.who, repository, f"{xorb}:{first}:{last}", GRANTED_S)
        query = f"first={first}&last={last}&{hub.links.query(link)}"
        return f"{session.base}/xet/{store}/xorbs/{xorb}?{query}"

    return reconstruction(hub.blobs, blob, part.start, part.end, address_of)


def _file_of_commit(hub: Hub, repository: Repository, grant: Grant, file_hash: str) -> Content:
    """A file of the commit that a token is for. Raises NotFound."""
    blob = hub.blobs.find_file(file_hash)
    if blob is None or not hub.permissions.of_revision(repository, grant.subject, blob.sha256):
        raise NotFound(f"no file with the Xet hash {file_hash[:12]} is here", "upload it first")
    return blob


@router.get(_STORE + "/xorbs/{name}")
def get_xorb(
    store: str, name: str, first: int, last: int, session: CurrentSession, link: SignedQuery
) -> Response:
    """Bytes of a xorb, by an address that opens these alone."""
    session.redeem(link.grant("xorb", f"{name}:{first}:{last}"), link.signature)
    xorbs = session.hub.blobs
    part = requested_range(session.request, xorbs.xorb_size(name))
    if part.start < first or part.end > last + 1:
        raise ApiError(403, f"this address opens bytes {first} to {last}; ask for a Range within them")
    return StreamingResponse(
        xorbs.xorbs.read(name, part.start, part.end),
        status_code=part.status,
        headers=part.headers,
        media_type="application/octet-stream",
    )
