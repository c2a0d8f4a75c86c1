"""The Xet chunk store over HTTP: tokens, xorbs, shards and how files are put together again.

Source: the Xet protocol's CAS API (huggingface.co/docs/xet/api). What a server may leave out (upload grants) is answered with 404, which
clients take as "not here".
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from freehold.hub import xet
from freehold.hub.api_files import byte_range, receive
from freehold.hub.session import Answer, Hub, base_of

#: Seconds for which a client may rely on what a shard says is here; shorter than a collection's grace.
TOLD_FOR_S = 1800


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter()
    at = f"/xet/{hub.id}"

    @router.get("/api/{plural}/{repo:repo}/xet-{role}-token/{revision:path}")
    def token(plural: str, repo: str, role: str, revision: str, request: Request) -> Response:
        if role == "write":
            hub.proposing(request, plural, repo)
        elif role == "read":
            hub.readable(request, plural, repo, files=True)
        else:
            raise Answer(404, f"there are no {role[:40]} tokens; read and write ones there are")
        access, expires = hub.xet_token(role)
        address = base_of(request) + at
        return JSONResponse(
            {"casUrl": address, "accessToken": access, "exp": expires},
            headers={
                "X-Xet-Cas-Url": address,
                "X-Xet-Access-Token": access,
                "X-Xet-Token-Expiration": str(expires),
            },
        )

    def may_write(request: Request) -> None:
        if hub.xet_role(request) != "write":
            raise Answer(403, "this token may read chunks and not write them")

    @router.post(at + "/v1/xorbs/default/{name}")
    async def put_xorb(name: str, request: Request) -> dict[str, bool]:
        may_write(request)
        async with hub.landing() as path:
            await receive(request, path, xet.MOST_XORB_BYTES + (1 << 20))
            return {"was_inserted": await run_in_threadpool(hub.contents.put_xorb, name, path)}

    @router.post(at + "/v1/shards")
    async def put_shard(request: Request) -> dict[str, int]:
        may_write(request)
        async with hub.landing() as path:
            await receive(request, path, 256 << 20)
            return {
                "result": int(await run_in_threadpool(lambda: hub.contents.put_shard(path.read_bytes())) > 0)
            }

    @router.get(at + "/v1/chunks/{prefix}/{chunk}")
    def alike(prefix: str, chunk: str, request: Request) -> Response:
        may_write(request)
        now = int(time.time())
        shard = xet.write_shard(hub.contents.alike(chunk), secrets.token_bytes(32), now, now + TOLD_FOR_S)
        return Response(shard, media_type="application/octet-stream")

    @router.get(at + "/v1/reconstructions/{name}")
    def reconstruction(name: str, request: Request) -> dict[str, Any]:
        hub.xet_role(request)
        content = hub.contents.find_file(name)
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
        expires, base = int(time.time()) + 3600, base_of(request)
        fetch: dict[str, list[dict[str, Any]]] = {}
        for xorb, ranges in wanted.items():
            chunks = hub.contents.chunks(xorb)
            url = f"{base}{at}/xorbs/{xorb}?expires={expires}&signature={hub.sign(expires, 'xorb', xorb)}"
            fetch[xorb] = [
                {
                    "range": {"start": first, "end": last},
                    "url": url,
                    "url_range": {"start": chunks[first].offset, "end": chunks[last - 1].end - 1},
                }
                for first, last in _joined(ranges)
            ]
        return {"offset_into_first_range": max(skipped, 0), "terms": terms, "fetch_info": fetch}

    @router.get(at + "/xorbs/{name}")
    def get_xorb(name: str, expires: int, signature: str, request: Request) -> Response:
        hub.check(signature, expires, "xorb", name)
        size = hub.contents.xorb_size(name)
        asked = byte_range(request.headers.get("range", ""), size)
        start, end = asked or (0, size)

        headers = {"Content-Length": str(end - start)} | (
            {"Content-Range": f"bytes {start}-{end - 1}/{size}"} if asked else {}
        )
        return StreamingResponse(
            hub.contents.xorbs.read(name, start, end),
            status_code=206 if asked else 200,
            headers=headers,
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
