"""``serve --reproducible``: the same request has the same answer, whatever else is asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from freehold.core.errors import Unsupported
from freehold.models.store import Store
from freehold.servers.inference.model_pool import ModelPool
from freehold.servers.inference.options import PoolOptions
from freehold.servers.inference.scheduler import Scheduler
from tests.servers.inference.serving import server


@pytest.mark.slow
def test_the_same_request_has_the_same_answer_beside_others(home: Path) -> None:
    questions = [
        f"Tell me {count} things about {subject}."
        for count in (2, 3)
        for subject in ("rivers", "bread", "chess", "glass")
    ]

    def ask(address: str, question: str, **more: object) -> str:
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 24,
            "temperature": 0,
        } | more
        done = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=120)
        assert done.status_code == 200, done.text
        return done.json()["choices"][0]["message"]["content"]

    with server(home, "--reproducible", "--parallel", "4", "--context", "1024") as address:
        alone = [ask(address, question) for question in questions]
        with ThreadPoolExecutor(8) as pool:
            beside = list(pool.map(lambda question: ask(address, question), reversed(questions)))
        assert beside[::-1] == alone
        assert ask(
            address, "Say yes.", max_tokens=None, stop=[" "]
        )  # as long as its share of the context allows, and no longer
        long = httpx.post(
            f"{address}/v1/completions", json={"model": "smollm2", "prompt": "word " * 300, "max_tokens": 8}
        )
        assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert "256 tokens" in long.json()["error"]["message"]


def test_adapters_are_not_served_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="adapters cannot be served"):
        ModelPool(Store(tmp_path), [], ["tickets/smollm2"], Scheduler(), PoolOptions(reproducible=True))
