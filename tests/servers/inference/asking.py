"""Requests to a server of the tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.servers.inference.conftest import TINY

#: Seconds after which a request counts as hanging.
HANG_S = 60.0


def headers(key: str = "") -> dict[str, str]:
    """Those of a client with a key, or without."""
    return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})


def complete(address: str, prompt: Any = "Hello world", key: str = "", **more: Any) -> httpx.Response:
    """A completion; values that JSON does not know (NaN) are sent as Python writes them."""
    body = {"model": TINY, "prompt": prompt, "max_tokens": 4} | more
    return httpx.post(
        f"{address}/v1/completions", content=json.dumps(body), headers=headers(key), timeout=HANG_S
    )


def cached(response: httpx.Response) -> int:
    """Tokens of the prompt that had been computed before."""
    assert response.status_code == 200, response.text
    return int(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@contextmanager
def streamed(address: str, key: str = "", **more: Any) -> Iterator[Iterator[str]]:
    """The lines of a streamed completion; the client leaves at the end of the block."""
    body = {"model": TINY, "prompt": "Hello world, this is", "max_tokens": 3000, "stream": True} | more
    # a token that ends the answer would end it at random weights' whim
    body.setdefault("logit_bias", {"1": -100})
    with httpx.stream(
        "POST", f"{address}/v1/completions", json=body, headers=headers(key), timeout=HANG_S
    ) as response:
        assert response.status_code == 200, response.read()
        yield response.iter_lines()
