"""What is wrong with one request ends that request: the engine goes on, and others' answers are what they
would be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.inference.asking import HANG_S, complete, headers, streamed
from tests.servers.inference.conftest import TINY
from tests.servers.inference.serving import server

_INFINITE = float("inf")


@pytest.fixture(scope="module")
def address(tiny_original: Path) -> Iterator[str]:
    with server(
        tiny_original, "--context", "4096", "--parallel", "4", "--states", "0B", names=(TINY,)
    ) as found:
        yield found


@pytest.mark.parametrize("tokens", [[2147483648], [-1], [384], [1 << 70], [5, 4294967296, 5]])
def test_numbers_that_are_no_tokens_are_refused_and_the_next_request_is_answered(
    address: str, tokens: list[int]
) -> None:
    refused = complete(address, tokens)
    assert 400 <= refused.status_code < 500, refused.text
    assert complete(address).status_code == 200
    assert httpx.get(f"{address}/ready").status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 5e-324, "top_p": 0.5},
        {"temperature": 1e-310, "top_p": 0.9, "top_k": 3},
        {"temperature": math.nan},
        {"temperature": _INFINITE},
        {"top_p": math.nan, "temperature": 1.0},
        {"repeat_penalty": 1e-300, "temperature": 1.0},
        {"repeat_penalty": 5e-324},
        {"logit_bias": {"384": 1.0}},
        {"logit_bias": {"-1": 1.0}},
        {"logit_bias": {"4294967296": 1.0}},
        {"logit_bias": {"5": math.nan}},
        {"logit_bias": {"5": _INFINITE}},
        {"logit_bias": {str(token): -1e39 for token in range(384)}},
        {"presence_penalty": math.nan},
        {"logprobs": 20, "temperature": 5e-324, "top_p": 0.1},
        {"stop": ["\ud800"]},
        {"prompt": "\ud800"},
        {"seed": 10**400},
        {"grammar": "root ::= root"},
        {"grammar": 'root ::= ""'},
        {"grammar": 'root ::= "\\ud800"'},
    ],
    ids=lambda fields: json.dumps(fields)[:60],
)
def test_a_value_that_cannot_be_ends_no_others_answer(address: str, fields: dict[str, Any]) -> None:
    def other() -> list[str]:
        with streamed(address, max_tokens=400) as lines:
            return list(lines)

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(other)
        answers = [complete(address, **({"prompt": "Hello"} | fields)) for _ in range(3)]
        lines = beside.result(HANG_S)
    assert {answer.status_code for answer in answers} <= {200, 400, 413, 422}, answers[0].text
    assert lines[-2] == "data: [DONE]" or lines[-1] == "data: [DONE]", lines[-3:]
    assert not any('"error"' in line for line in lines)
    assert '"finish_reason": "length"' in "".join(lines)


@pytest.mark.parametrize(
    "options", [{"min_p": 5}, {"stop": [1, 2]}, {"repeat_penalty": 1e-300}, {"num_predict": 1 << 40}]
)
def test_ollamas_options_end_no_others_answer(address: str, options: dict[str, Any]) -> None:
    def other() -> list[str]:
        with streamed(address, max_tokens=400) as lines:
            return list(lines)

    body = {
        "model": TINY,
        "prompt": "Hello",
        "raw": True,
        "stream": False,
        "options": {"num_predict": 8} | options,
    }
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(other)
        answer = httpx.post(
            f"{address}/api/generate", content=json.dumps(body), headers=headers(), timeout=HANG_S
        )
        lines = beside.result(HANG_S)
    assert answer.status_code < 500, answer.text
    assert not any('"error"' in line for line in lines)
