"""The engines' thread is watched: its death is seen, told, counted, and it is started again; nothing
hangs on it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from freehold.core.errors import Busy, StepFailed
from freehold.inference.batch_engine import BatchingEngine
from freehold.inference.engine_options import EngineOptions
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from freehold.models.store import Store
from freehold.servers.inference.api_errors import api_error_of
from freehold.servers.inference.app import make_app
from freehold.servers.inference.options import PoolOptions, ServerOptions
from freehold.servers.inference.scheduler import Outcome, Piece, Scheduler
from freehold.servers.inference.service import InferenceService
from tests.servers.inference.conftest import TINY

LONG = GenerationRequest((40, 90, 33), 400, Sampling(bias=((1, -100.0),)))
SHORT = GenerationRequest((40, 90, 33), 4, Sampling(bias=((1, -100.0),)))


def wait_for(seen: Callable[[], Any]) -> None:
    for _ in range(600):
        if seen():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


@pytest.fixture
def served(tiny_home: Path) -> Iterator[tuple[TestClient, InferenceService]]:
    app, service = make_app(
        Store(tiny_home),
        [TINY],
        [],
        ServerOptions(engine=PoolOptions(context_length=1024, parallel=2, threads=1)),
    )
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client, service


def ask(client: TestClient) -> int:
    return client.post(
        "/v1/completions", json={"model": TINY, "prompt": "Hello", "max_tokens": 4}
    ).status_code


def die() -> None:
    raise SystemExit("a fault that nobody thought of")


def metric(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


@pytest.mark.slow
def test_a_death_is_told_and_counted_and_the_thread_is_started_again(
    served: tuple[TestClient, InferenceService], caplog: pytest.LogCaptureFixture
) -> None:
    client, service = served
    assert ask(client) == 200
    engine = client.get("/ready").json()["engine"]
    assert engine.pop("step_s") < 60  # how long its present step has lasted: it may still be at one
    assert engine == {"alive": True, "restarts": 0, "faults": 0}
    for deaths in range(1, 6):  # each time the thread stays away for longer
        service.scheduler._command(die)
        wait_for(
            lambda seen=deaths: (
                not service.scheduler.health.alive or service.scheduler.health.restarts == seen
            )
        )
        if deaths >= 4:
            told = client.get("/ready")
            assert told.status_code == 503
            assert "a fault that nobody thought of" in told.json()["reason"]
            assert ask(client) == 503
        wait_for(lambda: client.get("/ready").status_code == 200)
        assert service.scheduler.health.restarts == deaths
    assert ask(client) == 200
    assert metric(client, "freehold_engine_restarts_total") == 5.0
    assert metric(client, "freehold_engine_up") == 1.0
    assert "starts again in" in caplog.text


def test_a_step_that_does_not_end_is_seen(served: tuple[TestClient, InferenceService]) -> None:
    client, service = served
    assert client.get("/health").status_code == 200
    service.scheduler._stuck_s = 0.2
    end = threading.Event()
    service.scheduler._command(lambda: end.wait(60) and None)
    wait_for(lambda: client.get("/ready").status_code == 503)
    assert "has run for" in client.get("/ready").json()["reason"]
    assert client.get("/health").status_code == 503
    assert ask(client) == 503
    assert metric(client, "freehold_engine_up") == 0.0
    end.set()
    wait_for(lambda: client.get("/ready").status_code == 200)
    assert ask(client) == 200


def test_an_engine_that_fails_again_and_again_is_opened_anew(
    served: tuple[TestClient, InferenceService], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = served
    assert ask(client) == 200
    first = service.pool._loaded[TINY].engine

    def fail(batch: object, count: int) -> None:
        raise RuntimeError("the context is lost")

    monkeypatch.setattr(first, "_run", fail)
    assert {ask(client) for _ in range(8)} <= {500, 503, 200}
    wait_for(lambda: ask(client) == 200)
    assert service.pool._loaded[TINY].engine is not first
    assert metric(client, "freehold_engine_faults_total") > 0


async def collected(
    scheduler: Scheduler, engine: BatchingEngine, ask: GenerationRequest, ends: list[Outcome], **more: Any
) -> list[Piece]:
    return [piece async for piece in scheduler.stream(engine, ask, on_end=ends.append, **more)]


def run(weights: Path, test: Callable[[Scheduler, BatchingEngine, list[Outcome]], Any]) -> None:
    async def whole() -> None:
        scheduler, ends = Scheduler(), list[Outcome]()
        engine = BatchingEngine(weights, EngineOptions(context_length=4096, parallel=2, batch=128, threads=1))
        try:
            await asyncio.wait_for(test(scheduler, engine, ends), 120)
        finally:
            await asyncio.to_thread(scheduler.close)

    asyncio.run(whole())


def test_what_was_under_way_when_the_thread_died_ends_with_an_error(tiny_weights: Path) -> None:
    async def test(scheduler: Scheduler, engine: BatchingEngine, ends: list[Outcome]) -> None:
        before = (await collected(scheduler, engine, SHORT, []))[-1].completion
        stream = scheduler.stream(engine, LONG, on_end=ends.append)
        await anext(stream)
        scheduler._command(die)
        last = [piece async for piece in stream][-1]
        assert isinstance(last.error, Busy)
        assert api_error_of(last.error).status == 503
        assert (ends[0].status, ends[0].completion is not None) == ("error", True)
        after = (await collected(scheduler, engine, SHORT, []))[-1].completion
        assert before is not None
        assert after is not None
        assert before.text == after.text

    run(tiny_weights, test)


def test_a_listener_whose_loop_is_gone_stops_nobody(tiny_weights: Path) -> None:
    async def test(scheduler: Scheduler, engine: BatchingEngine, ends: list[Outcome]) -> None:
        def elsewhere() -> None:
            async def begin() -> None:
                stream = scheduler.stream(engine, LONG)
                await anext(stream)
                kept.append(stream)

            loop = asyncio.new_event_loop()
            loop.run_until_complete(begin())
            loop.close()

        kept: list[object] = []
        await asyncio.to_thread(elsewhere)
        assert (await collected(scheduler, engine, SHORT, []))[-1].completion is not None
        assert scheduler.health.restarts == 0

    run(tiny_weights, test)


def test_a_hook_that_fails_is_told_as_a_fault_of_the_server(tiny_weights: Path) -> None:
    def broken(logits: object, prompt: object, answer: object) -> Any:
        raise RuntimeError("a hook of the operator's")

    async def test(scheduler: Scheduler, engine: BatchingEngine, ends: list[Outcome]) -> None:
        beside = asyncio.create_task(collected(scheduler, engine, LONG, ends))
        last = (
            await collected(scheduler, engine, GenerationRequest((5,), 8, Sampling(processors=(broken,))), [])
        )[-1]
        assert isinstance(last.error, StepFailed)
        assert "a hook of the operator's" in str(last.error)
        assert api_error_of(last.error).status == 500
        assert (await beside)[-1].completion is not None
        assert scheduler.health.faults == 1

    run(tiny_weights, test)
