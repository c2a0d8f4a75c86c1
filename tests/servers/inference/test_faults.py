"""Keys and limits over HTTP, an end that lets answers finish, and a kill in the midst of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from freehold.costs.usage import UsageLog
from freehold.models.store import Store
from freehold.servers.inference.api_keys import Keys, Limits
from tests.servers.inference.serving import own_home, server, start

pytestmark = pytest.mark.slow


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Path:
    return own_home(home, tmp_path, "smollm2")


def ask(address: str, key: str = "", **more: object) -> httpx.Response:
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Tell me about the sea."}],
        "max_tokens": 8,
    } | more
    return httpx.post(
        f"{address}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=120,
    )


def test_keys_are_asked_for_and_bound(own: Path) -> None:
    keys = Keys(Store(own))
    other, few = (
        keys.create("other", models=["another"]),
        keys.create("few", limits=Limits(requests_per_minute=2)),
    )
    with server(own) as address:
        assert ask(address).status_code == 401
        assert ask(address, "fh-wrong").status_code == 401
        assert httpx.get(f"{address}/health").status_code == 200
        assert httpx.get(address).status_code == 200  # the page asks for a key itself
        assert httpx.get(f"{address}/metrics").status_code == 401
        assert ask(address, other).status_code == 403
        assert httpx.get(f"{address}/v1/models", headers={"x-api-key": other}).json()["data"] == []
        assert [ask(address, few).status_code for _ in range(2)] == [200, 200]
        third = ask(address, few)
        assert (third.status_code, third.json()["error"]["type"]) == (429, "rate_limit_error")
        assert 1 <= int(third.headers["retry-after"]) <= 60
        time.sleep(0.6)
        assert [(one.key, one.requests) for one in UsageLog(Store(own)).sums()] == [("few", 2)]


def test_what_is_under_way_ends_before_the_server_does(own: Path) -> None:
    process, address = start(own)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, address, max_tokens=120)
        time.sleep(0.8)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert httpx.get(f"{address}/ready").status_code == 503
        assert ask(address).status_code == 503
        assert answer.result().json()["choices"][0]["finish_reason"] in ("length", "stop")
    assert process.wait(30) == 0
    assert UsageLog(Store(own)).sums()[0].requests == 1


@pytest.mark.minutes
def test_killed_under_load_it_comes_back_with_keys_usage_and_states_whole(own: Path) -> None:
    made = Keys(Store(own)).create("one")
    document = "The keeper of the lighthouse at Skagen writes down every ship that passes. " * 60
    answered: list[int] = []
    before = ""
    for _ in range(3):
        process, address = start(own)
        first = ask(address, made, messages=[{"role": "user", "content": f"{document}Who writes?"}])
        assert first.status_code == 200
        usage = first.json()["usage"]
        if before:  # the prompt was read from the disk, and the answer is the same
            assert usage["prompt_tokens_details"]["cached_tokens"] > 500
            assert first.json()["choices"][0]["message"]["content"] == before
        before = first.json()["choices"][0]["message"]["content"]
        answered.append(1)
        stopped = threading.Event()

        def load(address: str = address, stopped: threading.Event = stopped) -> None:
            while not stopped.is_set():
                try:
                    if ask(address, made).status_code == 200:
                        answered.append(1)
                except httpx.TransportError:
                    return

        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(2.0)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        stopped.set()
        for thread in threads:
            thread.join()
    (row,) = UsageLog(Store(own)).sums()
    assert (row.key, row.model) == ("one", "smollm2")
    assert row.prompt_tokens > 0
    # what a quarter of a second held may be lost at each kill, and nothing is counted twice
    assert len(answered) - 3 * 40 <= row.requests <= len(answered) + 3 * 8
    assert [one.name for one in Keys(Store(own)).list()] == ["one"]
    with server(own) as address:
        assert ask(address, made).status_code == 200
