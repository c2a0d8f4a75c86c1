"""What clients send to OpenAI's completions, as the one request of all APIs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.chat_request import Message
from freehold.servers.inference.openai_requests import (
    ChatCompletionRequest,
    CompletionRequest,
    parse_tool_choice,
    parse_tools,
)

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def chat(**values: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate({"model": "m", "messages": HELLO} | values)


def text(**values: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"model": "m", "prompt": "Once"} | values)


def test_a_plain_request_is_greedy_and_asks_for_nothing_else() -> None:
    request = chat().chat_request()
    assert request.messages == [Message("user", "Hello")]
    assert (request.model, request.max_tokens, request.stops, request.tools) == ("m", None, (), ())
    assert (request.sampling.temperature, request.sampling.top_p, request.likelihoods) == (0.0, 1.0, None)
    assert request.answer_form


def test_sampling_fields_reach_the_engine() -> None:
    sampling = chat(
        temperature=0.7,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        repeat_penalty=1.1,
        logit_bias={"5": -100},
    ).sampling()
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.7, 0.9, 40, 0.05)
    assert (sampling.seed, sampling.presence, sampling.frequency, sampling.repeat) == (7, 0.5, -0.5, 1.1)
    assert sampling.bias == ((5, -100.0),)


def test_several_answers_have_seeds_that_follow_each_other() -> None:
    asked = chat(n=3, seed=7, temperature=1)
    assert [asked.chat_request(number).sampling.seed for number in range(3)] == [7, 8, 9]
    drawn = {chat(temperature=1).sampling().seed for _ in range(8)}
    assert len(drawn) == 8


def test_the_newer_name_of_the_longest_answer_goes_first() -> None:
    assert chat(max_tokens=5).chat_request().max_tokens == 5
    assert chat(max_tokens=5, max_completion_tokens=9).chat_request().max_tokens == 9


def test_null_is_a_field_that_is_not_there() -> None:
    asked = chat(temperature=None, stop=None, tools=None, response_format=None, max_tokens=None)
    assert asked.chat_request().sampling.temperature == 0.0
    assert asked == chat()


def test_a_developer_is_the_system() -> None:
    messages = [{"role": "developer", "content": "Be brief."}, *HELLO]
    assert chat(messages=messages).chat_request().messages[0] == Message("system", "Be brief.")


def test_parts_of_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert chat(messages=[{"role": "user", "content": parts}]).chat_request().messages[0].content == "Hello"


def test_a_call_and_its_result_are_messages() -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"at": "Bern"}'},
    }
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    _, called, result = chat(messages=messages).chat_request().messages
    assert [(one.id, one.name, one.arguments) for one in called.calls] == [
        ("call_1", "weather", {"at": "Bern"})
    ]
    assert (result.role, result.content, result.call_id) == ("tool", "rain", "call_1")


@pytest.mark.parametrize(
    ("choice", "expected", "may_call"),
    [
        ("auto", "auto", True),
        ("none", "none", False),
        ("required", "required", True),
        ({"type": "function", "function": {"name": "weather"}}, "weather", True),
    ],
)
def test_which_functions_may_be_called(choice: Any, expected: str, may_call: bool) -> None:
    asked = chat(tools=[WEATHER], tool_choice=choice)
    assert asked.chat_request().tool_choice == expected
    assert asked.may_call is may_call
    assert not chat(tool_choice="none").may_call
    assert parse_tool_choice({"name": "weather"}) == "weather"


def test_a_function_without_parameters_takes_none() -> None:
    (tool,) = parse_tools([{"type": "function", "function": {"name": "now"}}])
    assert (tool.description, tool.parameters) == ("", {"type": "object", "properties": {}})
    (flat,) = parse_tools([{"type": "function", "name": "now", "description": "The time"}])
    assert (flat.name, flat.description) == ("now", "The time")


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, "json"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "string"}},
                }
            },
            {"type": "string"},
        ),
        ({"grammar": 'root ::= "a"'}, 'gbnf:root ::= "a"'),
        ({"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}}, 'gbnf:root ::= "a"'),
    ],
)
def test_the_form_of_the_answer(fields: dict[str, Any], form: object) -> None:
    assert chat(**fields).chat_request().form == form


def test_a_schema_that_is_missing_is_said() -> None:
    with pytest.raises(ApiError, match="the schema is missing"):
        chat(response_format={"type": "json_schema"}).chat_request()


def test_likelihoods_are_reported_where_they_are_asked_for() -> None:
    assert chat(logprobs=True).chat_request().likelihoods == 0
    assert chat(logprobs=True, top_logprobs=3).chat_request().likelihoods == 3
    assert chat(top_logprobs=3).chat_request().likelihoods is None


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "red"},
        {"messages": []},
        {"messages": [{"role": "judge", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"temperature": -1},
        {"top_p": 2},
        {"n": 0},
        {"max_tokens": 0},
        {"logit_bias": {"x": 1}},
    ],
)
def test_what_cannot_be_done_is_an_error_of_its_field(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        chat(**fields)


def test_each_of_several_prompts_has_n_answers() -> None:
    asked = text(prompt=["a", "b"], n=2, seed=1)
    assert asked.count == 4
    requests = [asked.chat_request(number) for number in range(4)]
    assert [request.prompt for request in requests] == ["a", "a", "b", "b"]
    assert [request.sampling.seed for request in requests] == [1, 2, 1, 2]


def test_a_prompt_may_be_tokens() -> None:
    request = text(prompt=[1, 2, 3], max_tokens=2, logprobs=4).chat_request(0)
    assert list(request.prompt or ()) == [1, 2, 3]
    assert (request.max_tokens, request.likelihoods) == (2, 4)


@pytest.mark.parametrize("fields", [{"echo": True}, {"suffix": "x"}, {"best_of": 2}])
def test_fields_that_text_completions_do_not_have_here_are_errors(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        text(**fields)
    assert text(echo=False, suffix=None, best_of=1).count == 1
