"""What fields of requests may hold, over HTTP: each field of each API with values that nobody should send.

Whatever is sent is answered or refused with one sentence that names the field, and answers beside it stay
what they are alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from freehold.servers.inference import (
    api_anthropic,
    api_documents,
    api_embeddings,
    api_ollama,
    api_openai,
    api_responses,
    fields,
)
from tests.servers.inference.tiny_server import address, message, normal  # noqa: F401

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Hello"}]
SMALL = {"num_predict": 2}
SCHEMA = {"type": "object", "properties": {"a": {"const": "b"}}, "required": ["a"]}
FUNCTION = {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}
#: Path -> (the model of its body, a valid body).
BODIES: dict[str, tuple[type[fields.Fields], dict[str, Any]]] = {
    "/v1/chat/completions": (
        api_openai.ChatCompletionRequest,
        {"model": "tiny", "messages": HELLO, "max_tokens": 2},
    ),
    "/v1/completions": (api_openai.CompletionRequest, {"model": "tiny", "prompt": "Hello", "max_tokens": 2}),
    "/tokenize": (api_openai.TokenizeRequest, {"content": "Hello"}),
    "/detokenize": (api_openai.DetokenizeRequest, {"tokens": [40]}),
    "/v1/responses": (
        api_responses.ResponsesRequest,
        {"model": "tiny", "input": "Hi", "max_output_tokens": 2},
    ),
    "/v1/embeddings": (api_embeddings.EmbeddingsRequest, {"model": "vectors", "input": "Hello"}),
    "/v1/messages": (api_anthropic.MessagesRequest, {"model": "tiny", "messages": HELLO, "max_tokens": 2}),
    "/v1/messages/count_tokens": (api_anthropic.CountTokensRequest, {"model": "tiny", "messages": HELLO}),
    "/api/chat": (api_ollama.OllamaChatRequest, {"model": "tiny", "messages": HELLO, "options": SMALL}),
    "/api/generate": (api_ollama.GenerateRequest, {"model": "tiny", "prompt": "Hello", "options": SMALL}),
    "/api/show": (api_ollama.ShowRequest, {"model": "tiny"}),
    "/api/embed": (api_embeddings.OllamaEmbedRequest, {"model": "vectors", "input": "Hello"}),
    "/api/embeddings": (api_embeddings.OllamaEmbeddingsRequest, {"model": "vectors", "prompt": "Hello"}),
    "/v1/documents/search": (api_documents.SearchRequest, {"query": "Hello"}),
}
FIELDS = [(path, name) for path, (model, _) in BODIES.items() for name in model.model_fields]
OPTIONS = [name for name in api_ollama.Options.model_fields if not name.startswith(("num_", "use_", "low_"))]
#: What refusals of other places say: of the model's name, its context, the prompt that a field became part
#: of.
ELSEWHERE = (
    "JSON",
    "the model",
    "context",
    "messages",
    "form is not understood",
    "text 1 of",
    "texts",
    "the schema or grammar",
)
DEEP: Any = 1
for _ in range(150):
    DEEP = [DEEP]
AWKWARD: list[Any] = [
    True,
    False,
    -1,
    0,
    0.5,
    5,
    5e-324,
    1e-300,
    1e308,
    float("nan"),
    float("-inf"),
    2**31,
    2**63,
    2**64,
    10**400,
    "",
    "x",
    "\0",
    "x" * 100_000,
    [],
    [1],
    [""],
    [None],
    [[]],
    [2**31],
    [-1],
    ["x"] * 3000,
    [{}],
    [{"type": "image"}],
    [{"role": "x"}],
    {},
    {"type": 5},
    {"type": "json_schema", "json_schema": []},
    {"": float("nan")},
    {"5": 1e308},
    {"99999": 1},
    {"type": "function", "function": 5},
    {"$ref": "#"},
    {"$ref": "http://x"},
    {"name": DEEP},
    DEEP,
]


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:  # noqa: F811
    with httpx.Client(base_url=address, timeout=30) as asking:
        asking.post("/v1/embeddings", json=BODIES["/v1/embeddings"][1], timeout=120).raise_for_status()
        yield asking


@pytest.fixture(scope="module")
def alone(client: httpx.Client) -> str:
    return normal(client)


def send(client: httpx.Client, path: str, body: Any) -> httpx.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=data, headers={"Content-Type": "application/json"})


def refusal(answer: httpx.Response) -> str:
    """The sentence of an answer; nothing of one that succeeded."""
    if answer.status_code == 200:
        assert "the engine failed" not in answer.text
        return ""
    assert 400 <= answer.status_code < 500, answer.text
    told = message(answer)
    assert "\n" not in told
    assert 8 <= len(told) < 500
    return told


def sent_beside(client: httpx.Client, path: str, bodies: list[Any], alone: str) -> list[str]:
    """The sentences that bodies get while a normal answer is given, which is as it is alone."""
    with ThreadPoolExecutor(5) as pool:
        beside = pool.submit(normal, client)
        told = list(pool.map(lambda body: refusal(send(client, path, body)), bodies))
        assert beside.result() == alone
    return told


# -- every field, every awkward value ------------------------------------------------------------------


@pytest.mark.parametrize(("path", "name"), FIELDS)
def test_a_field_is_taken_or_refused_by_its_name(
    client: httpx.Client, alone: str, path: str, name: str
) -> None:
    valid = BODIES[path][1]
    short = {} if name in ("max_tokens", "max_output_tokens", "options") else valid
    bodies = [{**valid, **short, name: value} for value in AWKWARD]
    for value, told in zip(AWKWARD, sent_beside(client, path, bodies, alone), strict=True):
        assert not told or any(part in told for part in (name, *ELSEWHERE)), (value, told)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_ollamas_is_taken_or_refused_by_its_name(
    client: httpx.Client, alone: str, name: str
) -> None:
    valid = BODIES["/api/chat"][1]
    bodies = [{**valid, "options": {**SMALL, name: value}} for value in AWKWARD]
    for value, told in zip(AWKWARD, sent_beside(client, "/api/chat", bodies, alone), strict=True):
        assert not told or f"options.{name}" in told or "JSON" in told, (value, told)


@pytest.mark.parametrize("path", BODIES)
def test_null_means_that_a_field_is_absent(client: httpx.Client, path: str) -> None:
    model, valid = BODIES[path]
    absent = dict.fromkeys(name for name in model.model_fields if name not in valid)
    assert refusal(send(client, path, {**valid, **absent})) == ""


@pytest.mark.parametrize("path", [path for path in BODIES if path not in ("/api/show",)])
def test_a_field_that_is_not_known_is_named(client: httpx.Client, path: str) -> None:
    assert refusal(send(client, path, BODIES[path][1] | {"wings": 2})) == "wings: this field is not known"


# -- ranges, in each API's words -----------------------------------------------------------------------

CHAT, TEXT, MESSAGES, OLLAMA, RESPONSES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/messages",
    "/api/chat",
    "/v1/responses",
)
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"temperature": 2.1}, "temperature: must be a number from 0 to 2"),
    (CHAT, {"temperature": True}, "temperature: must be a number from 0 to 2"),
    (CHAT, {"temperature": float("nan")}, "temperature: must be a number from 0 to 2"),
    (CHAT, {"temperature": "0.5"}, "temperature: must be a number from 0 to 2"),
    (MESSAGES, {"temperature": 1.5}, "temperature: must be a number from 0 to 1"),
    (OLLAMA, {"options": {"temperature": float("inf")}}, "options.temperature: must be a number from 0 to 2"),
    (CHAT, {"top_p": 0}, "top_p: must be a number above 0 and up to 1"),
    (OLLAMA, {"options": {"min_p": 5}}, "options.min_p: must be a number from 0 to 1"),
    (CHAT, {"min_p": 5}, "min_p: must be a number from 0 to 1"),
    (CHAT, {"repeat_penalty": 1e-9}, "repeat_penalty: must be a number from 0.01 to 10"),
    (OLLAMA, {"options": {"repeat_penalty": -1}}, "options.repeat_penalty: must be a number from 0.01 to 10"),
    (
        CHAT,
        {"seed": 10**400},
        "seed: must be a whole number from -9223372036854775808 to 18446744073709551615",
    ),
    (CHAT, {"seed": 1.5}, "seed: must be a whole number from -9223372036854775808 to 18446744073709551615"),
    (CHAT, {"max_tokens": 0}, "max_tokens: must be a whole number from 1 to 2147483647"),
    (MESSAGES, {"max_tokens": -1}, "max_tokens: must be a whole number from 1 to 2147483647"),
    (CHAT, {"max_tokens": 10**9}, "exceed the context"),
    (CHAT, {"n": 9}, "n: must be a whole number from 1 to 8"),
    (TEXT, {"best_of": 2}, "best_of: must be a whole number from 1 to 1"),
    (CHAT, {"top_logprobs": 21}, "top_logprobs: must be a whole number from 0 to 20"),
    (CHAT, {"stop": [1]}, "stop: must be up to 16 texts of 1 to 1024 characters"),
    (CHAT, {"stop": ["x"] * 17}, "stop: must be up to 16"),
    (CHAT, {"stop": "x" * 1025}, "stop: must be up to 16"),
    (OLLAMA, {"options": {"stop": [1]}}, "options.stop: must be up to 16"),
    (MESSAGES, {"stop_sequences": [""]}, "stop_sequences: must be up to 16"),
    (CHAT, {"logit_bias": {"x": 1}}, "logit_bias.x: keys must be token numbers"),
    (CHAT, {"logit_bias": {"-1": 1}}, "logit_bias.-1: keys must be token numbers"),
    (CHAT, {"logit_bias": {"384": 1}}, "logit_bias.384: this model's tokens are numbers from 0 to 383"),
    (CHAT, {"logit_bias": {"5": 1e300}}, "logit_bias.5: must be a number from -100 to 100"),
    (TEXT, {"prompt": [2**31]}, "prompt: must be whole numbers from 0 to 2147483647"),
    (TEXT, {"prompt": [384]}, "prompt: this model's tokens are numbers from 0 to 383"),
    (TEXT, {"prompt": [-1]}, "prompt: must be whole numbers from 0"),
    (TEXT, {"prompt": [True]}, "prompt: must be whole numbers from 0"),
    (TEXT, {"prompt": ""}, "prompt: it is empty"),
    (TEXT, {"prompt": [[]]}, "prompt: it is empty"),
    (TEXT, {"prompt": []}, "prompt: must not be empty"),
    (
        CHAT,
        {"messages": [{"role": "king", "content": ""}]},
        "messages.0.role: must be one of system, developer, user",
    ),
    (
        OLLAMA,
        {"messages": [{"role": "king"}]},
        "messages.0.role: must be one of system, user, assistant, tool, not 'king'",
    ),
    (
        OLLAMA,
        {"messages": [{"role": "user", "images": ["x"]}]},
        "messages.0.images: this model reads text only",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [5]}]},
        "messages.0.content.0: this model reads text only",
    ),
    (
        MESSAGES,
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        "messages.0.content.0: this model",
    ),
    (
        MESSAGES,
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": []}]}]},
        "messages.0.content.0.input: must",
    ),
    (
        CHAT,
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}
            ]
        },
        "tool_calls.0.function.arguments",
    ),
    (
        OLLAMA,
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages.0.tool_calls.0.function.name: must be text",
    ),
    (RESPONSES, {"background": True}, "background: must be false"),
    (
        RESPONSES,
        {"text": {"format": {"type": 5}}},
        "text.format.type: must be one of text, json_object, json_schema",
    ),
    (
        CHAT,
        {"response_format": {"type": "xml"}},
        "response_format.type: must be one of text, json_object, json_schema, not 'xml'",
    ),
    (CHAT, {"response_format": []}, "response_format: must be an object"),
    (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": []}},
        "response_format.json_schema: must be an object",
    ),
    (
        RESPONSES,
        {"text": {"format": {"type": "json_schema", "schema": []}}},
        "text.format.schema: must be an object",
    ),
    (OLLAMA, {"format": "xml"}, "format: must be json or a JSON schema, not 'xml'"),
    (OLLAMA, {"format": {"$ref": "http://x"}}, "format: $ref must point to a place in the same schema"),
    (CHAT, {"tools": [5]}, "tools.0: must be an object"),
    (CHAT, {"tools": [{"type": "function", "function": {"name": 5}}]}, "tools.0.function.name: must be text"),
    (CHAT, {"tools": [FUNCTION] * 1025}, "tools: must have at most 1024 items"),
    (CHAT, {"tools": [FUNCTION], "tool_choice": {"function": 5}}, "tool_choice.function: must be an object"),
    (CHAT, {"tools": [FUNCTION], "tool_choice": {"function": {"name": "x"}}}, "tool_choice names 'x'"),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": []}]}, "tools.0.input_schema: must be an object"),
    (
        RESPONSES,
        {"input": [{"type": "function_call", "name": "f", "arguments": "["}]},
        "input.0.arguments: must be a JSON object",
    ),
    (CHAT, {"metadata": {"a": [{"b": 10**400}]}}, "metadata.a.0.b: a number must be finite"),
    ("/detokenize", {"tokens": [384]}, "tokens: this model's tokens are numbers from 0 to 383"),
    ("/v1/embeddings", {"input": ["x", ""]}, "input: give 1 to 2048 texts"),
    ("/api/embed", {"input": ["Hello", ""]}, "text 2 of 2 has no tokens for this model"),
    ("/v1/embeddings", {"dimensions": 0}, "dimensions: must be a whole number from 1"),
]


@pytest.mark.parametrize(("path", "changes", "told"), REFUSED)
def test_what_lies_outside_is_refused_with_its_range(
    client: httpx.Client, alone: str, path: str, changes: dict[str, Any], told: str
) -> None:
    (sentence,) = sent_beside(client, path, [BODIES[path][1] | changes], alone)
    assert told in sentence


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        (CHAT, {"temperature": 5e-324, "top_p": 0.5}),
        (CHAT, {"temperature": 1, "top_p": 1e-300}),
        (CHAT, {"temperature": 2, "repeat_penalty": 0.01, "logit_bias": {"5": 100}, "seed": 2**64 - 1}),
        (CHAT, {"max_tokens": 2.0, "top_k": -1, "seed": -1}),
        (OLLAMA, {"options": {"seed": -1, "repeat_last_n": 0, "repeat_penalty": 2, "num_predict": 2}}),
        (OLLAMA, {"options": {"top_k": -1, "repeat_last_n": -1, "repeat_penalty": 2, "num_predict": 2}}),
        (TEXT, {"prompt": "a\0b"}),
        (
            CHAT,
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "schema": {"anyOf": [{"const": "a"}, {"type": "array", "items": {"$ref": "#"}}]}
                    },
                }
            },
        ),
        (RESPONSES, {"input": [{"type": "reasoning", "content": 5}, {"role": "user", "content": "Hi"}]}),
    ],
)
def test_what_lies_inside_is_taken(
    client: httpx.Client, alone: str, path: str, changes: dict[str, Any]
) -> None:
    assert sent_beside(client, path, [BODIES[path][1] | changes], alone) == [""]


# -- bodies that are not JSON, or more than JSON -------------------------------------------------------

BROKEN: list[tuple[bytes, str]] = [
    (b"", "the request has no body"),
    (b"null", "must be an object"),
    (b"[]", "must be an object"),
    (b"{", "the JSON cannot be read"),
    (b"[" * 250 + b"]" * 250, "nested deeper than 200 levels"),
    (b'{"a":' * 100_000, "nested deeper than 200 levels"),
    (b'{"model": "tiny", "model": "x"}', "a name appears twice"),
    (b'{"model": "\xff"}', "not UTF-8"),
    (b'{"model": "\\ud800"}', "half of a pair of surrogates"),
    (b'{"model": "\\udc00x"}', "surrogate"),
    (b'{"a": {"\\ud800": 1}}', "surrogate"),
    ('{"model": "tiny"}'.encode("utf-16"), "not UTF-8"),
    (b'{"seed": ' + b"1" * 5000 + b"}", "too large"),
    (b'{"' + b"x" * 100_000 + b'": 1}', "this field is not known"),
    (b"[" + b"{}," * 600_000 + b"1]", "more than 500,000 names, lists or objects"),
    (json.dumps({f"x{n}": 1 for n in range(200_000)}).encode(), "x0: this field is not known"),
]


@pytest.mark.parametrize("path", [CHAT, MESSAGES, OLLAMA])
@pytest.mark.parametrize(("data", "told"), BROKEN, ids=[told for _, told in BROKEN])
def test_a_body_that_cannot_be_read_is_refused(
    client: httpx.Client, alone: str, path: str, data: bytes, told: str
) -> None:
    (sentence,) = sent_beside(client, path, [data], alone)
    assert told in sentence


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_json_is_read_whatever_it_is_sent_as(client: httpx.Client, kind: str) -> None:
    data = json.dumps(BODIES["/tokenize"][1])
    assert client.post("/tokenize", content=data, headers={"Content-Type": kind}).json()["count"] > 0


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    answer = client.post(CHAT, content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, message(answer)[:17]) == (415, "Content-Encoding:")


def test_a_stream_is_refused_before_it_begins(client: httpx.Client) -> None:
    body = BODIES[TEXT][1] | {"prompt": [384], "stream": True}
    assert "numbers from 0 to 383" in refusal(send(client, TEXT, body))


def test_the_server_is_ready_after_all_that(client: httpx.Client, alone: str) -> None:
    assert client.get("/ready").json()["status"] == "ok"
    assert normal(client) == alone
