"""Two replicas behind one address, where Ray is installed."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from freehold.costs.usage import UsageLog
from freehold.models.store import Store
from tests.servers.inference.serving import own_home, start

pytestmark = pytest.mark.slow


def test_two_replicas_answer_behind_one_address(home: Path, tmp_path: Path) -> None:
    # Ray alone comes without what it serves with
    if not all(importlib.util.find_spec(name) for name in ("ray", "grpc")):
        pytest.skip("Ray is not installed here: pip install 'freehold[ray]'")
    own = own_home(home, tmp_path, "smollm2")
    process, address = start(
        own,
        "--replicas",
        "2",
        "--cores",
        "1",
        "--context",
        "2048",
        "--parallel",
        "2",
        PYTHONPATH=os.pathsep.join(sys.path),
    )
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)

    def ask(number: int) -> str:
        answer = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": f"Name {number} rivers."}],
            max_tokens=24,
            stream=True,
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)

    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(2, 18)))
        assert httpx.get(f"{address}/health").json() == {"status": "ok"}
        # each replica counts its own, and neither has answered all
        told = httpx.get(f"{address}/metrics").text
        assert (
            0
            < float(told.partition('freehold_requests_total{model="smollm2",status="ok"} ')[2].split("\n")[0])
            < 16
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)
    assert sum(one.requests for one in UsageLog(Store(own)).sums()) == 16
