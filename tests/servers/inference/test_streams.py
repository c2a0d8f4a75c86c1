"""An answer that is sent while it comes about ends with its client, whatever was being done when that
left.
"""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from freehold.models.store import Store
from freehold.servers.inference.app import make_app
from freehold.servers.inference.options import PoolOptions, ServerOptions
from tests.servers.inference.conftest import TINY

pytestmark = pytest.mark.slow

_QUESTION = [{"role": "user", "content": "Hello"}]
#: A stream of each API that would take long.
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "Hello", "max_tokens": 3000, "logit_bias": {"1": -100}, "stream": True},
    "/v1/chat/completions": {
        "messages": _QUESTION,
        "max_tokens": 3000,
        "logit_bias": {"1": -100},
        "stream": True,
    },
    "/v1/messages": {"messages": _QUESTION, "max_tokens": 3000, "stream": True},
    "/v1/responses": {"input": "Hello", "max_output_tokens": 3000, "stream": True},
    "/api/chat": {"messages": _QUESTION, "options": {"num_predict": 3000}},
}


async def left_while_sending(app: FastAPI, path: str, number: int) -> None:
    """Ask, read nothing from the message of a number on, and leave."""
    body = json.dumps(REQUESTS[path] | {"model": TINY}).encode()
    coming, stalled = [{"type": "http.request", "body": body, "more_body": False}], asyncio.Event()
    sent = 0

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        await stalled.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            stalled.set()
            await asyncio.Event().wait()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_who_leaves_while_something_is_sent_holds_nothing_until_it_is_collected(
    tiny_home: Path, number: int
) -> None:
    options = PoolOptions(context_length=4096, parallel=2, state_bytes=0, threads=1)
    app, service = make_app(Store(tiny_home), [TINY], [], ServerOptions(engine=options))

    async def all_of_them() -> list[str]:
        async with app.router.lifespan_context(app):
            held = []
            for path in REQUESTS:
                await left_while_sending(app, path, number)
                await asyncio.sleep(0.5)  # the engine ends it at its next step
                if service.scheduler.in_progress or any(
                    opened.users for opened in service.pool._loaded.values()
                ):
                    held.append(path)
            return held

    gc.disable()
    try:
        assert asyncio.run(all_of_them()) == []
    finally:
        gc.enable()
