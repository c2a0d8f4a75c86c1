"""Answers of OpenAI's completions, checked with the types of OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from openai.types import Completion as TextCompletion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from freehold.inference.interface import Completion
from freehold.inference.sampling import Likelihood
from freehold.servers.inference.openai_answers import (
    ChatChunks,
    answer_head,
    chat_choice,
    finish_reason,
    text_choice,
    usage_of,
)
from freehold.servers.inference.openai_requests import ChatCompletionRequest, CompletionRequest
from freehold.servers.inference.scheduler import Piece

ANSWER = Completion("Bern it is", (1, 2, 3), "stop", 10, 0.1, 0.3, reused=4, joules=1.23456)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"at": "Bern"}}\n</tool_call>'
TOOL = {"type": "function", "function": {"name": "weather"}}


class Vocabulary:
    """Tokens of a few bytes; the third is half of a character."""

    def piece(self, token: int) -> bytes:
        return {1: b"Be", 2: b"rn", 3: b"\xc3"}.get(token, b"?")


def asked(**fields: Any) -> ChatCompletionRequest:
    values = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    return ChatCompletionRequest.model_validate(values | fields)


def whole(completion: Completion, **fields: Any) -> ChatCompletion:
    """The answer as the client reads it."""
    choice = chat_choice(0, completion, asked(**fields), Vocabulary())
    head = answer_head("chatcmpl", "chat.completion", "m")
    return ChatCompletion.model_validate({**head, "choices": [choice], "usage": usage_of([completion])})


def streamed(texts: Sequence[str], last: Completion, **fields: Any) -> list[ChatCompletionChunk]:
    """The chunks of an answer that came in these pieces, as the client reads them."""
    head = answer_head("chatcmpl", "chat.completion.chunk", "m")
    chunks = ChatChunks(head, 0, asked(**fields), Vocabulary())
    pieces = [Piece(text) for text in texts[:-1]] + [Piece(texts[-1], last)]
    events = [chunks.begin(), *(event for piece in pieces for event in chunks.events(piece))]
    assert all(event.startswith("data: ") and event.endswith("\n\n") for event in events)
    return [ChatCompletionChunk.model_validate(json.loads(event[6:])) for event in events]


def test_a_whole_answer() -> None:
    answer = whole(ANSWER)
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason, choice.logprobs) == ("Bern it is", "stop", None)
    assert choice.message.tool_calls is None
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        10,
        3,
        13,
    )
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4


@pytest.mark.parametrize(("finish", "reason"), [("stop", "stop"), ("choice", "stop"), ("length", "length")])
def test_why_an_answer_ended(finish: str, reason: str) -> None:
    assert finish_reason(replace(ANSWER, finish=finish)) == reason


def test_energy_is_told_only_where_it_was_counted_for_every_answer() -> None:
    assert usage_of([ANSWER, ANSWER])["energy_joules"] == 2.4691
    assert "energy_joules" not in usage_of([ANSWER, replace(ANSWER, joules=None)])


def test_a_call_in_a_whole_answer() -> None:
    (choice,) = whole(replace(ANSWER, text=CALL), tools=[TOOL]).choices
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"at": "Bern"})


def test_text_beside_a_call_stays_and_without_functions_it_is_all_text() -> None:
    text = f"Let me see.\n{CALL}"
    assert whole(replace(ANSWER, text=text), tools=[TOOL]).choices[0].message.content == "Let me see."
    plain = whole(replace(ANSWER, text=text)).choices[0]
    assert (plain.message.content, plain.finish_reason) == (text, "stop")


def test_log_probabilities_name_tokens_by_their_bytes() -> None:
    likely = (Likelihood(1, -0.1, ((1, -0.1), (3, -2.0))), Likelihood(3, -0.5, ()))
    (choice,) = whole(replace(ANSWER, likelihoods=likely), logprobs=True, top_logprobs=2).choices
    assert choice.logprobs is not None
    first, second = choice.logprobs.content or []
    assert (first.token, first.bytes, first.logprob) == ("Be", [66, 101], -0.1)
    assert [(top.token, top.logprob) for top in first.top_logprobs] == [("Be", -0.1), ("\ufffd", -2.0)]
    assert (second.token, second.bytes) == ("\ufffd", [0xC3])


def test_the_pieces_of_a_stream_are_the_whole_answer() -> None:
    chunks = streamed(["Be", "rn it", " is"], ANSWER)
    first, *middle, last = [chunk.choices[0] for chunk in chunks]
    assert (first.delta.role, first.delta.content) == ("assistant", "")
    assert "".join(choice.delta.content or "" for choice in middle) == "Bern it is"
    assert (last.finish_reason, last.delta.content) == ("stop", None)
    assert all(choice.finish_reason is None for choice in (first, *middle))
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_call_that_comes_in_pieces_is_sent_as_one_and_not_as_text() -> None:
    text = f"Wait. {CALL}"
    for size in (1, 3, 7, len(text)):
        texts = [text[at : at + size] for at in range(0, len(text), size)]
        choices = [chunk.choices[0] for chunk in streamed(texts, replace(ANSWER, text=text), tools=[TOOL])]
        assert "".join(choice.delta.content or "" for choice in choices).strip() == "Wait."
        calls = [call for choice in choices for call in choice.delta.tool_calls or []]
        assert [(call.index, call.function and call.function.name) for call in calls] == [(0, "weather")]
        assert choices[-1].finish_reason == "tool_calls"


def test_what_only_begins_like_a_call_is_sent_in_the_end() -> None:
    texts = ["a <tool", "_cal", "or</x>"]
    choices = [chunk.choices[0] for chunk in streamed(texts, ANSWER, tools=[TOOL])]
    assert "".join(choice.delta.content or "" for choice in choices) == "".join(texts)
    assert choices[-1].finish_reason == "stop"


def test_a_text_completion_and_where_its_tokens_stand() -> None:
    body = CompletionRequest.model_validate({"model": "m", "prompt": "x", "logprobs": 1})
    likely = (Likelihood(1, -0.1, ((1, -0.1),)), Likelihood(2, -0.2, ((2, -0.2),)))
    choice = text_choice(0, "Bern", replace(ANSWER, likelihoods=likely), body, Vocabulary())
    head = answer_head("cmpl", "text_completion", "m")
    answer = TextCompletion.model_validate({**head, "choices": [choice], "usage": usage_of([ANSWER])})
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.text_offset) == (["Be", "rn"], [0, 2])
    assert logprobs.top_logprobs == [{"Be": -0.1}, {"rn": -0.2}]
    assert text_choice(0, "Be", None, body, Vocabulary()) == {
        "index": 0,
        "text": "Be",
        "logprobs": None,
        "finish_reason": None,
    }
