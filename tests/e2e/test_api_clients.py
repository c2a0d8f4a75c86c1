"""A server process and the clients of three APIs."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest

from tests.conftest import FREEHOLD
from tests.servers.inference.serving import server

pytestmark = pytest.mark.slow

SUM = [{"role": "user", "content": "What is 2 plus 2?"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    # texts are compared, so each must be the same whatever was asked before
    with server(home, "--waiting", "200", "--reproducible", "--context", "32768") as running:
        yield running


@pytest.fixture(scope="module")
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


# -- OpenAI ---------------------------------------------------------------------------------------


def test_the_official_client_chats_and_streams(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["smollm2"]
    assert client.models.retrieve("smollm2").id == "smollm2"
    whole = client.chat.completions.create(model="smollm2", messages=SUM, max_tokens=20, temperature=0)
    assert "4" in whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0
    chunks = list(
        client.chat.completions.create(
            model="smollm2",
            messages=SUM,
            max_tokens=20,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert (
        "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        == whole.choices[0].message.content
    )
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0


def test_completions_of_text_and_of_tokens(client: openai.OpenAI, address: str) -> None:
    text = client.completions.create(
        model="smollm2", prompt="The capital of France is", max_tokens=4, temperature=0, logprobs=2
    )
    tokens = httpx.post(f"{address}/tokenize", json={"content": "The capital of France is"}).json()["tokens"]
    same = client.completions.create(model="smollm2", prompt=tokens, max_tokens=4, temperature=0)
    assert text.choices[0].text == same.choices[0].text
    assert "Paris" in text.choices[0].text
    assert len(text.choices[0].logprobs.tokens) == len(text.choices[0].logprobs.top_logprobs) == 4
    assert (
        httpx.post(f"{address}/detokenize", json={"tokens": tokens}).json()["content"]
        == "The capital of France is"
    )
    streamed = client.completions.create(
        model="smollm2", prompt=tokens, max_tokens=4, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in streamed) == text.choices[0].text
    two = client.completions.create(
        model="smollm2", prompt=["One, two,", "Red, green,"], max_tokens=3, n=2, temperature=1.0, seed=3
    )
    assert [choice.index for choice in two.choices] == [0, 1, 2, 3]
    streamed = client.completions.create(
        model="smollm2",
        prompt=["One, two,", "Red, green,"],
        max_tokens=3,
        n=2,
        temperature=1.0,
        seed=3,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, counted = {number: "" for number in range(4)}, 0
    for chunk in streamed:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
        counted += chunk.usage.completion_tokens if chunk.usage else 0
    assert list(texts.values()) == [choice.text for choice in two.choices]
    assert counted == two.usage.completion_tokens


def test_a_schema_is_kept_to(client: openai.OpenAI) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}
    answer = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Weather in Paris?"}],
        response_format=form,
        max_tokens=60,
    )
    assert set(json.loads(answer.choices[0].message.content)) == {"city"}
    any_object = client.chat.completions.create(
        model="smollm2", messages=SUM, response_format={"type": "json_object"}, max_tokens=300
    )
    if any_object.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(any_object.choices[0].message.content), dict)


def test_tools_are_called_and_answered(client: openai.OpenAI) -> None:
    tools: Any = [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Weather of a city", "parameters": WEATHER},
        }
    ]
    messages: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = client.chat.completions.create(
        model="smollm2", messages=messages, tools=tools, tool_choice="required", max_tokens=80
    )
    call = first.choices[0].message.tool_calls[0]
    assert first.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"},
    ]
    second = client.chat.completions.create(
        model="smollm2", messages=messages, tools=tools, tool_choice="none", max_tokens=30
    )
    assert second.choices[0].message.content
    streamed = list(
        client.chat.completions.create(
            model="smollm2",
            messages=messages[:1],
            tools=tools,
            tool_choice="required",
            max_tokens=80,
            stream=True,
        )
    )
    assert (
        next(c.choices[0].delta.tool_calls for c in streamed if c.choices[0].delta.tool_calls)[
            0
        ].function.name
        == "weather"
    )
    assert not any(c.choices[0].delta.content for c in streamed)


def test_logprobs_and_several_answers(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2",
        messages=SUM,
        max_tokens=8,
        logprobs=True,
        top_logprobs=3,
        n=2,
        temperature=0.9,
        seed=1,
    )
    assert len(answer.choices) == 2
    for choice in answer.choices:
        assert all(one.logprob <= 0 and len(one.top_logprobs) == 3 for one in choice.logprobs.content)
    again = client.chat.completions.create(
        model="smollm2", messages=SUM, max_tokens=8, n=2, temperature=0.9, seed=1
    )
    assert [c.message.content for c in again.choices] == [c.message.content for c in answer.choices]
    texts = ["", ""]
    for chunk in client.chat.completions.create(
        model="smollm2", messages=SUM, max_tokens=8, n=2, temperature=0.9, seed=1, stream=True
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [c.message.content for c in answer.choices]


def test_many_clients_at_once(client: openai.OpenAI) -> None:
    def ask(_: int) -> str:
        return (
            client.chat.completions.create(model="smollm2", messages=SUM, max_tokens=12, temperature=0)
            .choices[0]
            .message.content
        )

    with ThreadPoolExecutor(24) as pool:
        assert len(set(pool.map(ask, range(24)))) == 1


# -- Anthropic and Ollama -------------------------------------------------------------------------


def test_anthropics_client(address: str) -> None:
    own = anthropic.Anthropic(base_url=address, api_key="none", max_retries=0)
    whole = own.messages.create(model="smollm2", max_tokens=20, system="Be brief.", messages=SUM)
    assert whole.content[0].text
    assert whole.usage.output_tokens > 0
    with own.messages.stream(model="smollm2", max_tokens=20, system="Be brief.", messages=SUM) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        assert stream.get_final_message().stop_reason == whole.stop_reason
    assert (
        own.messages.count_tokens(model="smollm2", system="Be brief.", messages=SUM).input_tokens
        == whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    )
    tools: Any = [{"name": "weather", "description": "Weather of a city", "input_schema": WEATHER}]
    asked: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    called = own.messages.create(
        model="smollm2", max_tokens=80, messages=asked, tools=tools, tool_choice={"type": "any"}
    )
    assert called.stop_reason == "tool_use"
    assert set(called.content[-1].input) == {"city"}
    result = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "sunny"}
    asked += [
        {"role": "assistant", "content": called.model_dump()["content"]},
        {"role": "user", "content": [result]},
    ]
    assert own.messages.create(model="smollm2", max_tokens=20, messages=asked, tools=tools).content
    with own.messages.stream(
        model="smollm2", max_tokens=80, messages=asked[:1], tools=tools, tool_choice={"type": "any"}
    ) as stream:
        assert stream.get_final_message().content[-1].name == "weather"
    with pytest.raises(anthropic.NotFoundError):
        own.messages.create(model="none", max_tokens=2, messages=SUM)


def test_ollamas_client(address: str) -> None:
    own = ollama.Client(host=address)
    assert [model.model for model in own.list().models] == ["smollm2"]
    whole = own.chat(model="smollm2:latest", messages=SUM, options={"temperature": 0, "num_predict": 20})
    assert "4" in whole.message.content
    assert (
        "".join(
            part.message.content
            for part in own.chat(model="smollm2", messages=SUM, stream=True, options={"num_predict": 20})
        )
        == whole.message.content
    )
    generated = own.generate(model="smollm2", prompt="What is 2 plus 2?", options={"num_predict": 20})
    assert generated.response == whole.message.content
    assert generated.eval_count > 0
    form = json.loads(
        own.chat(
            model="smollm2", messages=[{"role": "user", "content": "Weather in Paris?"}], format=WEATHER
        ).message.content
    )
    assert set(form) == {"city"}
    assert own.show("smollm2").details.quantization_level == "Q4_1"
    with pytest.raises(ollama.ResponseError) as refused:
        own.chat(model="none", messages=SUM)
    assert refused.value.status_code == 404


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "part"),
    [
        ("/v1/chat/completions", {"model": "other", "messages": SUM}, 404, "not served here"),
        ("/v1/chat/completions", {"model": "smollm2", "messages": []}, 400, "messages"),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": SUM, "magic": 1},
            400,
            "magic: this field is not known",
        ),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": [{"role": "user", "content": "word " * 9000}]},
            400,
            "exceed the context",
        ),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "text only",
        ),
        ("/v1/chat/completions", {"model": "smollm2", "messages": SUM, "temperature": 9}, 400, "temperature"),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": SUM, "response_format": {"type": "json_schema"}},
            400,
            "the schema is missing",
        ),
        (
            "/v1/chat/completions",
            {"model": "smollm2", "messages": SUM, "grammar": 'root ::= nothing "'},
            400,
            "GBNF",
        ),
        ("/v1/completions", {"model": "smollm2", "prompt": []}, 400, "prompt"),
        ("/v1/nothing", {}, 404, "nothing at this address"),
    ],
)
def test_bad_requests_get_a_clear_4xx(
    address: str, path: str, body: dict[str, object], status: int, part: str
) -> None:
    response = httpx.post(address + path, json=body, timeout=60)
    assert response.status_code == status
    assert part in response.json()["error"]["message"]


def test_each_api_refuses_in_its_own_shape(address: str) -> None:
    told = httpx.post(
        f"{address}/v1/messages", json={"model": "smollm2", "max_tokens": 5, "messages": []}
    ).json()
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")
    told = httpx.post(
        f"{address}/api/chat", json={"model": "smollm2", "messages": SUM, "options": {"wings": 2}}
    ).json()
    assert told == {"error": "options: 'wings' is not known"}
    told = httpx.post(
        f"{address}/v1/chat/completions",
        content=b'{"model": "smollm2", "messages": [{"role": "user", "content": "\xff"}]}',
    )
    assert told.status_code == 400
    assert httpx.post(f"{address}/v1/chat/completions", content=b"{").status_code == 400


def test_large_bodies_are_refused(address: str) -> None:
    whole = httpx.post(f"{address}/v1/chat/completions", content=b"x" * 11_000_000)
    assert (whole.status_code, whole.json()["error"]["message"]) == (413, "the body has more than 10 MiB")

    def pieces() -> Iterator[bytes]:
        for _ in range(52):
            yield b"x" * 1_000_000

    with contextlib.suppress(httpx.WriteError):  # the connection may be closed before all of it was sent
        assert httpx.post(f"{address}/v1/chat/completions", content=pieces()).status_code == 413


def test_a_rebound_name_is_refused(address: str) -> None:
    assert httpx.get(f"{address}/v1/models", headers={"Host": "evil.example"}).status_code == 403


def test_a_web_page_from_elsewhere_may_not_ask(address: str) -> None:
    asked = httpx.options(
        f"{address}/v1/models",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"},
    )
    assert "access-control-allow-origin" not in asked.headers


def test_a_client_that_leaves_does_not_block_others(address: str) -> None:
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Tell a long story."}],
        "stream": True,
        "max_tokens": 900,
    }
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                break
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/v1/chat/completions", json=body | {"stream": False}, timeout=1.0)
    for _ in range(100):
        told = httpx.get(f"{address}/metrics").text
        if "freehold_requests_under_way 0.0" in told:
            break
        time.sleep(0.1)
    assert "freehold_requests_under_way 0.0" in told
    assert re.search(r'freehold_requests_total\{model="smollm2",status="cancelled"\} [2-9]', told)


# -- keys, limits, usage --------------------------------------------------------------------------


def test_another_address_needs_a_key(home: Path) -> None:
    done = subprocess.run(
        [*FREEHOLD, "serve", "smollm2", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "there is no key" in done.stderr
