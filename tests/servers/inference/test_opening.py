"""Opening a model: what is ready when the first request comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from freehold.models.store import Store
from freehold.servers.inference.chat_request import ChatRequest, Message, prompt_tokens
from freehold.servers.inference.model_pool import ModelPool
from freehold.servers.inference.options import PoolOptions
from freehold.servers.inference.scheduler import Scheduler
from tests.servers.inference.conftest import TINY


def test_the_process_for_chat_templates_is_started_with_the_model(
    tiny_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freehold.core.limited_process import Workers
    from freehold.data import rendering

    workers = Workers("freehold.data.rendering:render", rendering.BOUNDS, 1)
    monkeypatch.setattr(rendering, "_processes", lambda: workers)
    started: list[str] = []

    async def test() -> None:
        scheduler = Scheduler()
        options = PoolOptions(context_length=512, parallel=1, state_bytes=0, threads=1)
        pool = ModelPool(Store(tiny_home), [TINY], [], scheduler, options)
        try:
            await pool.open(TINY)
            (worker,) = list(workers._idle.queue)
            process = worker._process
            assert process is not None
            assert process.poll() is None
            async with pool.lease(TINY) as leased:
                chat = ChatRequest(TINY, [Message("user", "Hello")])
                assert prompt_tokens(chat, leased.encoder, leased.form)
            assert worker._process is process  # the first request has used it
            started.append(TINY)
        finally:
            await asyncio.to_thread(scheduler.close)

    try:
        asyncio.run(test())
    finally:
        workers.close()
    assert started == [TINY]
