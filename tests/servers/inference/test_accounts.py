"""Whatever way an answer ends, what was computed of it is charged."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from freehold.costs.usage import usage
from freehold.inference.batch_engine import BatchingEngine
from freehold.inference.engine_options import EngineOptions
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from freehold.models.store import Store
from freehold.servers.inference.api_keys import Keys, Limits
from freehold.servers.inference.app import make_app
from freehold.servers.inference.options import PoolOptions, ServerOptions
from freehold.servers.inference.scheduler import Outcome, Scheduler
from freehold.servers.inference.usage_writer import WRITE_EVERY_S
from tests.servers.inference.asking import complete, streamed
from tests.servers.inference.conftest import TINY
from tests.servers.inference.serving import server, start
from tests.servers.inference.test_supervision import LONG

pytestmark = pytest.mark.slow

MORE = ("--context", "8192", "--parallel", "2", "--states", "0B")
TOKENS = [40 + number for number in range(30)]


def rows(home: Path, count: int) -> list[sa.Row[tuple[str, int, int]]]:
    """(status, prompt tokens, answer tokens) of the requests, once there are so many."""
    asked = sa.select(usage.c.status, usage.c.prompt_tokens, usage.c.answer_tokens).order_by(usage.c.id)
    for _ in range(600):
        with contextlib.suppress(sa.exc.OperationalError), Store(home).engine.connect() as connection:
            found = list(connection.execute(asked))
            if len(found) >= count:
                return found
        time.sleep(0.1)
    raise AssertionError("the requests are not booked")


def test_a_stream_that_its_client_leaves_is_charged(tiny_home: Path) -> None:
    key = Keys(Store(tiny_home)).create("few", limits=Limits(tokens_per_minute=35))
    with server(tiny_home, *MORE, names=(TINY,)) as address:
        with streamed(address, key, prompt=TOKENS, max_tokens=8000) as lines:
            for _, line in zip(range(20), lines, strict=False):
                assert "error" not in line
        (row,) = rows(tiny_home, 1)
        assert (row.status, row.prompt_tokens) == ("cancelled", len(TOKENS))
        assert 5 <= row.answer_tokens < 8000
        # and what it had counts against the key's limit
        assert complete(address, key=key).status_code == 429


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_takes_too_long_is_charged_and_told(tiny_home: Path, stream: bool) -> None:
    with server(tiny_home, *MORE, "--deadline", "3", names=(TINY,)) as address:
        late = complete(address, TOKENS, max_tokens=8000, logit_bias={"1": -100}, stream=stream)
        assert "took longer than 3 s" in late.text
    (row,) = rows(tiny_home, 1)
    assert (row.status, row.prompt_tokens) == ("error", len(TOKENS))
    assert row.answer_tokens > 0


def test_what_is_under_way_when_the_server_ends_is_charged(tiny_home: Path) -> None:
    process, address = start(tiny_home, *MORE, names=(TINY,))
    with streamed(address, prompt=TOKENS, max_tokens=3000) as lines:
        next(lines)
        process.send_signal(signal.SIGTERM)
        assert "data: [DONE]" in list(lines)
    assert process.wait(60) == 0
    (row,) = rows(tiny_home, 1)
    assert row.prompt_tokens == len(TOKENS)
    assert row.answer_tokens > 0


def ends_of(
    weights: Path, leave: Callable[[Scheduler, BatchingEngine, list[Outcome]], object]
) -> list[Outcome]:
    async def whole() -> list[Outcome]:
        scheduler, ends = Scheduler(), list[Outcome]()
        engine = BatchingEngine(weights, EngineOptions(context_length=4096, parallel=1, batch=128, threads=1))
        await asyncio.wait_for(leave(scheduler, engine, ends), 60)  # type: ignore[arg-type]
        await asyncio.to_thread(scheduler.close)
        for _ in range(100):
            await asyncio.sleep(0.01)
            if ends:
                break
        return ends

    return asyncio.run(whole())


def test_closing_the_engine_charges_what_runs(tiny_weights: Path) -> None:
    async def leave(scheduler: Scheduler, engine: BatchingEngine, ends: list[Outcome]) -> None:
        stream = scheduler.stream(engine, LONG, on_end=ends.append)
        await anext(stream)
        await asyncio.to_thread(scheduler.close)
        assert [piece async for piece in stream][-1].error is not None

    (outcome,) = ends_of(tiny_weights, leave)
    assert outcome.status == "cancelled"
    assert outcome.completion is not None
    assert outcome.completion.prompt_tokens == 3
    assert len(outcome.completion.tokens) > 0


def test_one_that_leaves_while_it_waits_is_ended_with_nothing_to_charge(tiny_weights: Path) -> None:
    async def leave(scheduler: Scheduler, engine: BatchingEngine, ends: list[Outcome]) -> None:
        first = scheduler.stream(engine, GenerationRequest((40, 90), 4000, LONG.sampling))
        await anext(first)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(scheduler.stream(engine, GenerationRequest((5, 6), 4), on_end=ends.append))
        await first.aclose()

    assert ends_of(tiny_weights, leave) == [Outcome("cancelled")]


def test_a_deadline_covers_the_time_in_the_queue(tiny_weights: Path) -> None:
    async def leave(scheduler: Scheduler, engine: BatchingEngine, ends: list[Outcome]) -> None:
        first = scheduler.stream(engine, GenerationRequest((40, 90), 4000, LONG.sampling))
        await anext(first)
        waits = scheduler.stream(
            engine, GenerationRequest((5, 6), 4), deadline=time.monotonic() + 0.2, on_end=ends.append
        )
        last = [piece async for piece in waits][-1]
        assert last.error is not None
        assert "took too long" in str(last.error)
        await first.aclose()

    assert ends_of(tiny_weights, leave) == [Outcome("error")]


def test_an_answer_that_ends_with_an_error_is_charged(tiny_weights: Path) -> None:
    def failing(logits: np.ndarray, prompt: object, answer: Sequence[int]) -> np.ndarray:
        if len(answer) == 5:
            raise RuntimeError("a hook of the operator's")
        return logits

    async def leave(scheduler: Scheduler, engine: BatchingEngine, ends: list[Outcome]) -> None:
        asks = GenerationRequest((40, 90), 40, Sampling(bias=((1, -100.0),), processors=(failing,)))
        assert [piece async for piece in scheduler.stream(engine, asks, on_end=ends.append)][
            -1
        ].error is not None

    (outcome,) = ends_of(tiny_weights, leave)
    assert outcome.status == "error"
    assert outcome.completion is not None
    assert (outcome.completion.prompt_tokens, len(outcome.completion.tokens)) == (2, 5)


def test_usage_that_could_not_be_written_is_written_later(tiny_home: Path) -> None:
    store = Store(tiny_home)
    app, service = make_app(
        store, [TINY], [], ServerOptions(engine=PoolOptions(context_length=512, threads=1))
    )

    async def asked(client: httpx.AsyncClient, count: int) -> None:
        for _ in range(count):
            body = {"model": TINY, "prompt": "Hello", "max_tokens": 2}
            assert (await client.post("/v1/completions", json=body)).status_code == 200
        await asyncio.sleep(4 * WRITE_EVERY_S)

    async def whole() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client,
        ):
            usage.drop(store.engine)  # what a database in trouble does: it refuses
            await asked(client, 2)
            usage.create(store.engine)
            await asked(client, 1)
            assert [row.requests for row in service.usage_log.sums()] == [3]

    asyncio.run(whole())


def test_requests_at_once_have_no_more_tokens_than_one_after_the_other(tiny_home: Path) -> None:
    store = Store(tiny_home)
    key = Keys(store).create("few", limits=Limits(tokens_per_minute=200))
    app, _ = make_app(store, [TINY], [], ServerOptions(engine=PoolOptions(context_length=1024, threads=1)))

    async def whole() -> list[int]:
        transport, headers = httpx.ASGITransport(app), {"authorization": f"Bearer {key}"}
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers=headers, timeout=60
            ) as client,
        ):
            body = {"model": TINY, "prompt": "Hello", "max_tokens": 300, "logit_bias": {"1": -100}}
            answers = await asyncio.gather(*(client.post("/v1/completions", json=body) for _ in range(5)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(whole()) == [200, 429, 429, 429, 429]
