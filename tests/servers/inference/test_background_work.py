"""Work beside the engine's: off the event loop, in a queue with an end, stopped when nobody waits for it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from freehold.core import limited_process
from freehold.data.rendering import BOUNDS
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.background_work import BackgroundWork
from tests import tiny
from tests.servers.inference.loop_watch import watched
from tests.servers.inference.tiny_shop import EMBEDDING, Shop, opened, stocked

pytestmark = pytest.mark.slow

#: Does not end for a message that says so, and is ordinary for all others.
TRAP = (
    "{% if messages[0].content == 'spin' %}{% for a in range(9999) %}{% for b in range(9999) %}"
    "{% endfor %}{% endfor %}{% endif %}" + tiny.TEMPLATE
)
SPIN = [{"role": "user", "content": "spin"}]
HANG_S = 120.0


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(stocked(tmp_path_factory.mktemp("shop"), TRAP), queue_length=3) as running:
        yield running


def until_ended() -> None:
    while True:
        limited_process.check()
        time.sleep(0.01)


def test_work_ends_when_the_client_has_left() -> None:
    async def left() -> bool:
        return True

    async def main() -> int:
        work = BackgroundWork(1)
        with pytest.raises(ApiError, match="went away"):
            await asyncio.wait_for(work.run(until_ended, left), HANG_S)
        assert await work.run(lambda: 7) == 7  # the thread is free again
        return work.waiting

    assert asyncio.run(main()) == 0


def test_work_ends_when_its_time_is_over_and_is_waited_for() -> None:
    ended = threading.Event()

    def marked() -> None:
        try:
            until_ended()
        finally:
            ended.set()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await BackgroundWork(1).run(marked)
        assert ended.is_set()  # what it used may be closed now

    asyncio.run(main())


def test_work_that_no_thread_has_begun_waits() -> None:
    async def main() -> None:
        work, go = BackgroundWork(1), threading.Event()
        first, second = (asyncio.ensure_future(work.run(lambda: go.wait(HANG_S))) for _ in range(2))
        await asyncio.sleep(0)
        assert work.waiting == 1
        go.set()
        await asyncio.gather(first, second)
        assert work.waiting == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/tokenize", {}),
        ("/v1/messages/count_tokens", {}),
        ("/v1/chat/completions", {"max_tokens": 1}),
        ("/v1/messages", {"max_tokens": 1}),
        ("/api/chat", {"stream": False}),
    ],
)
def test_a_template_that_does_not_end_holds_up_nobody(trapped: Shop, path: str, more: dict[str, Any]) -> None:
    with watched() as slow:
        answer = trapped.post(path, {"model": "alpha", "messages": SPIN, **more}, timeout=HANG_S)
    assert answer.status_code == 400
    assert f"more than {BOUNDS.cpu_s:g} s of processor time" in answer.text
    assert slow == []
    hello = {"model": "alpha", "messages": [{"role": "user", "content": "Hello"}], **more}
    assert trapped.post(path, hello, timeout=HANG_S).status_code == 200


def test_others_are_answered_while_it_runs(trapped: Shop) -> None:
    spinning = threading.Thread(target=trapped.post, args=("/tokenize", {"model": "alpha", "messages": SPIN}))
    spinning.start()
    while not trapped.service.work._under_way:
        time.sleep(0.001)
    assert trapped.get("/health").status_code == 200
    hello = trapped.post("/tokenize", {"model": "alpha", "messages": [{"role": "user", "content": "Hello"}]})
    assert hello.status_code == 200
    assert spinning.is_alive()  # or it was answered after it, not while it ran
    spinning.join(HANG_S)


def test_the_queue_has_an_end(trapped: Shop) -> None:
    answers: list[int] = []

    def ask() -> None:
        body = {"model": "alpha", "messages": SPIN}
        answers.append(trapped.post("/tokenize", body, timeout=HANG_S).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
    assert set(answers) == {400, 429}


def test_a_client_that_leaves_ends_its_rendering(trapped: Shop) -> None:
    body = b'{"model": "alpha", "messages": [{"role": "user", "content": "spin"}]}'
    host, port = trapped.address.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as client:
            head = (
                f"POST /tokenize HTTP/1.1\r\nHost: {host}\r\nContent-Type:"
                f" application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            client.sendall(head.encode() + body)
    end = time.monotonic() + HANG_S
    while trapped.service.work._under_way and time.monotonic() < end:
        time.sleep(0.05)
    assert trapped.service.work._under_way == 0


def test_the_deadline_covers_rendering(tmp_path_factory: pytest.TempPathFactory) -> None:
    with opened(stocked(tmp_path_factory.mktemp("shop"), TRAP), deadline_s=0.3) as running:
        for path in ("/tokenize", "/v1/chat/completions"):
            answer = running.post(path, {"model": "alpha", "messages": SPIN}, timeout=HANG_S)
            assert (answer.status_code, "longer than 0.3 s" in answer.text) == (504, True)


MEGABYTES = 9_000_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"content": "a" * MEGABYTES}),
        ("/tokenize", {"content": "<|end|>x" * (MEGABYTES // 8)}),
        ("/tokenize", {"messages": [{"role": "user", "content": "\n" * MEGABYTES}]}),
        ("/detokenize", {"tokens": [40] * 1_000_000}),
        ("/v1/completions", {"prompt": "a b " * (MEGABYTES // 4)}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "<|" * (MEGABYTES // 2)}]}),
        (
            "/v1/messages/count_tokens",
            {
                "messages": [{"role": "user", "content": "Hi"}],
                "tools": [
                    {"name": f"f{n}", "description": "d" * 90, "input_schema": {"type": "object"}}
                    for n in range(50_000)
                ],
            },
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "1" * MEGABYTES}], "max_tokens": 1},
        ),
        ("/v1/responses", {"input": "a" * MEGABYTES}),
        ("/api/generate", {"prompt": "a" * MEGABYTES, "stream": False}),
        ("/v1/embeddings", {"model": EMBEDDING, "input": "a" * MEGABYTES}),
        ("/api/embed", {"model": EMBEDDING, "input": ["word " * 1000] * 200}),
        ("/v1/documents/search", {"model": EMBEDDING, "query": "a" * MEGABYTES}),
    ],
)
def test_no_request_holds_up_the_event_loop(trapped: Shop, path: str, body: dict[str, Any]) -> None:
    with watched() as slow:
        answer = trapped.post(path, {"model": "alpha", **body}, timeout=HANG_S)
    assert slow == []
    assert answer.status_code < 500, answer.text


def test_a_document_of_one_long_line_is_read(trapped: Shop) -> None:
    with watched() as slow:
        path = f"{trapped.address}/v1/documents?name=line.txt"
        answer = httpx.post(path, content=b"word " * 5_000, timeout=HANG_S)
    assert slow == []
    assert answer.status_code == 200, answer.text
