"""A server process and the official client."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.conftest import FREEHOLD


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    environment = {**os.environ, "FREEHOLD_HOME": str(home)}
    process = subprocess.Popen([*FREEHOLD, "serve", "smollm2", "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    found = None
    for line in process.stderr:
        if found := re.search(r"at (http://127\.0\.0\.1:\d+)/v1", line):
            break
    assert found
    yield found[1]
    process.terminate()
    process.wait(timeout=20)


def test_the_official_client_chats_and_streams(address: str) -> None:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["smollm2"]
    messages = [{"role": "user", "content": "What is 2 plus 2?"}]
    whole = client.chat.completions.create(model="smollm2", messages=messages, max_tokens=20, temperature=0)
    assert "4" in whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0
    stream = client.chat.completions.create(
        model="smollm2", messages=messages, max_tokens=20, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_many_clients_at_once(address: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")

    def ask(_: int) -> str:
        messages = [{"role": "user", "content": "What is 2 plus 2?"}]
        return client.chat.completions.create(model="smollm2", messages=messages, max_tokens=12, temperature=0).choices[0].message.content

    with ThreadPoolExecutor(12) as pool:
        assert all("4" in answer for answer in pool.map(ask, range(12)))


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"model": "other", "messages": [{"role": "user", "content": "x"}]}, 404, "not served here"),
        ({"model": "smollm2", "messages": []}, 400, "messages"),
        ({"model": "smollm2", "messages": [{"role": "user", "content": "x"}], "tools": []}, 400, "tools"),
        ({"model": "smollm2", "messages": [{"role": "user", "content": "word " * 9000}]}, 400, "exceed the context"),
    ],
)
def test_bad_requests_get_a_clear_4xx(address: str, body: dict[str, object], status: int, part: str) -> None:
    response = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == status
    assert part in response.json()["error"]["message"]


def test_a_rebound_name_is_refused(address: str) -> None:
    assert httpx.get(f"{address}/v1/models", headers={"Host": "evil.example"}).status_code == 403


def test_a_client_that_leaves_does_not_block_others(address: str) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "Tell a long story."}], "stream": True, "max_tokens": 900}
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                break
    answer = httpx.post(
        f"{address}/v1/chat/completions", json={"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}, timeout=60
    )
    assert answer.status_code == 200


def test_another_address_needs_a_key(home: Path) -> None:
    done = subprocess.run([*FREEHOLD, "serve", "smollm2", "--host", "0.0.0.0"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no key was set" in done.stderr
