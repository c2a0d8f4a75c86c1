"""The Xet chunk store over HTTP: tokens, xorbs, shards and how files are put together again.

Source: the Xet protocol's CAS API (huggingface.co/docs/xet/api). What a server may leave out (upload grants) is
answered with 404, which clients take as "not here". A token is for one repository at one commit: only the files
of that commit are put together with it, and only the bytes of their chunks are opened. What the asker may not
read is answered as what is not here.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from freehold.core.errors import NotFound
from freehold.hub import xet
from freehold.hub.blob_store import Content
from freehold.hub.commits import Repository
from freehold.hub.signed_links import Grant
from freehold.hub.users import User
from freehold.servers.hub.api_files import byte_range, receive
from freehold.servers.hub.session import ApiError, Hub, Link, base_of, plain

#: Seconds for which a client may rely on what a shard says is here; shorter than a collection's grace.
TOLD_FOR_S = 1800
#: Seconds for which a token and the address of a xorb hold.
GRANTED_FOR_S = 3600


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter()
    at = "/xet/{place}"

    @router.get("/api/{plural}/{repo:repo}/xet-{role}-token/{revision:path}")
    def token(plural: str, repo: str, role: str, revision: str, request: Request) -> Response:
        if role == "write":
            found, actor = hub.proposing(request, plural, repo)
        elif role == "read":
            found, actor = hub.readable(request, plural, repo, files=True), hub.reader(request)
        else:
            raise ApiError(404, f"there are no {role[:40]} tokens, only read and write tokens")
        try:
            commit = hub.revision(found, plain(revision))
        except ApiError:
            if role != "write":
                raise
            commit = hub.revision(
                found, "main"
            )  # clients that propose a change name no revision, or one to be made
        grant = hub.grants.give(role, hub.who(request), found, commit, GRANTED_FOR_S)
        access, address = hub.grants.token(grant), base_of(request) + hub.chunk_store(actor)
        return JSONResponse(
            {"casUrl": address, "accessToken": access, "exp": grant.expires},
            headers={
                "X-Xet-Cas-Url": address,
                "X-Xet-Access-Token": access,
                "X-Xet-Token-Expiration": str(grant.expires),
            },
        )

    def granted(place: str, request: Request) -> tuple[Grant, User, Repository]:
        grant, actor, found = hub.chunk_token(request)
        if f"/xet/{place}" != hub.chunk_store(actor):
            raise ApiError(404, "there is nothing at this address")
        return grant, actor, found

    def writing(place: str, request: Request) -> tuple[User, Repository]:
        grant, actor, found = granted(place, request)
        if grant.right != "write":
            raise ApiError(403, "this token may read chunks and not write them")
        return actor, found

    @router.post(at + "/v1/xorbs/default/{name}")
    async def put_xorb(place: str, name: str, request: Request) -> dict[str, bool]:
        actor, _ = await run_in_threadpool(writing, place, request)
        async with hub.landing() as path:
            await receive(request, path, xet.MOST_XORB_BYTES + (1 << 20))
            await run_in_threadpool(hub.contents.put_xorb, name, path)
        return {"was_inserted": await run_in_threadpool(sent, actor, name)}

    def sent(actor: User, xorb: str) -> bool:
        """Note who sent a xorb; whether it is new from them. That another has sent it before is not told."""
        known = hub.uploads.xorbs_of(actor.name, {xorb})
        hub.uploads.xorb(actor.name, xorb)
        return not known

    @router.post(at + "/v1/shards")
    async def put_shard(place: str, request: Request) -> dict[str, int]:
        actor, found = await run_in_threadpool(writing, place, request)
        async with hub.landing() as path:
            await receive(request, path, 256 << 20)
            new = await run_in_threadpool(lambda: registered(actor, found, path.read_bytes()))
        return {"result": int(new)}

    def registered(actor: User, found: Repository, data: bytes) -> bool:
        """Take a shard; whether a file of it is new among those that its sender may name."""
        contents = hub.contents.put_shard(data, lambda spans: hub.rights.missing_chunks(actor, spans))
        digests = {content.sha256 for content in contents}
        known = hub.rights.nameable(actor, found, digests)
        for digest in sorted(digests):
            hub.uploads.content(actor.name, found.id, digest)
        hub.uploads.packed(actor.name, {term.xorb for content in contents for term in content.terms})
        return known != digests

    @router.get(at + "/v1/chunks/{prefix}/{chunk}")
    def alike(place: str, prefix: str, chunk: str, request: Request) -> Response:
        actor, _ = writing(place, request)
        content = hub.rights.alike(actor, chunk)
        if content is None:
            raise NotFound(f"nothing with the chunk {chunk[:12]} is here", "upload it")
        now, known = int(time.time()), hub.contents.known_chunks(content)
        shard = xet.write_shard(known, secrets.token_bytes(32), now, now + TOLD_FOR_S)
        return Response(shard, media_type="application/octet-stream")

    def of_revision(place: str, file_hash: str, request: Request) -> tuple[Content, Grant, Repository]:
        """A file of the commit that the token is for. Raises NotFound."""
        grant, _, found = granted(place, request)
        content = hub.contents.find_file(file_hash)
        if content is None or not hub.rights.of_revision(found, grant.subject, content.sha256):
            raise NotFound(f"no file with the Xet hash {file_hash[:12]} is here", "upload it first")
        return content, grant, found

    @router.get(at + "/v1/reconstructions/{name}")
    def reconstruction(place: str, name: str, request: Request) -> dict[str, Any]:
        content, grant, found = of_revision(place, name, request)
        asked = byte_range(request.headers.get("range", ""), content.size)
        start, end = asked or (0, content.size)
        terms: list[dict[str, Any]] = []
        wanted: dict[str, list[tuple[int, int]]] = {}
        position, skipped = 0, -1
        for term in content.terms:
            if position + term.size <= start or position >= end:
                position += term.size
                continue
            first, last, size = term.first, term.first, 0
            for number, chunk in enumerate(hub.contents.chunks(term.xorb)[term.first : term.end], term.first):
                if position + chunk.size <= start:
                    first = number + 1
                elif position < end:
                    skipped = start - position if skipped < 0 else skipped
                    last, size = number + 1, size + chunk.size
                position += chunk.size
            terms.append({"hash": term.xorb, "unpacked_length": size, "range": {"start": first, "end": last}})
            wanted.setdefault(term.xorb, []).append((first, last))
        base = f"{base_of(request)}/xet/{place}/xorbs"

        def address(xorb: str, first: int, last: int) -> str:
            """Where these bytes of a xorb, and no others, can be read."""
            link = hub.grants.give("xorb", grant.who, found, f"{xorb}:{first}:{last}", GRANTED_FOR_S)
            return f"{base}/{xorb}?first={first}&last={last}&{hub.grants.query(link)}"

        fetch: dict[str, list[dict[str, Any]]] = {}
        for xorb, ranges in wanted.items():
            chunks = hub.contents.chunks(xorb)
            fetch[xorb] = [
                {
                    "range": {"start": first, "end": last},
                    "url": address(xorb, chunks[first].offset, chunks[last - 1].end - 1),
                    "url_range": {"start": chunks[first].offset, "end": chunks[last - 1].end - 1},
                }
                for first, last in _joined(ranges)
            ]
        return {"offset_into_first_range": max(skipped, 0), "terms": terms, "fetch_info": fetch}

    @router.get(at + "/xorbs/{name}")
    def get_xorb(
        place: str, name: str, first: int, last: int, request: Request, link: Annotated[Link, Depends()]
    ) -> Response:
        hub.redeem(link.grant("xorb", f"{name}:{first}:{last}"), link.signature)
        size = hub.contents.xorb_size(name)
        asked = byte_range(request.headers.get("range", ""), size)
        start, end = asked or (0, size)
        if start < first or end > last + 1:
            raise ApiError(403, f"this address opens bytes {first} to {last}; ask for a Range within them")
        return StreamingResponse(
            hub.contents.xorbs.read(name, start, end),
            status_code=206 if asked else 200,
            headers={"Content-Length": str(end - start)}
            | ({"Content-Range": f"bytes {start}-{end - 1}/{size}"} if asked else {}),
            media_type="application/octet-stream",
        )

    return router


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without overlaps: clients fail on the same bytes told twice."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
