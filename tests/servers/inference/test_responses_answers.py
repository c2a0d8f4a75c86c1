"""Answers of the Responses API, checked with the types of OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from freehold.inference.interface import Completion
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.responses_answers import RequestEcho, ResponseEvents, ResponseWriter
from freehold.servers.inference.scheduler import Piece
from freehold.servers.inference.tool_calls import ToolCall

ANSWER = Completion("Bern it is", (1, 2, 3), "stop", 10, 0.1, 0.3, reused=4, joules=1.5)
CALL = '<tool_call>{"name": "weather", "arguments": {"at": "Bern"}}</tool_call>'
ECHO: RequestEcho = {
    "model": "m",
    "instructions": None,
    "metadata": {},
    "max_output_tokens": None,
    "temperature": 0.0,
    "top_p": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "user": None,
}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def events(texts: Sequence[str], last: Completion = ANSWER, *, calls: bool = False) -> list[Any]:
    """The events of an answer that came in these pieces, as the client reads them."""
    made = ResponseEvents(ResponseWriter(ECHO), calls=calls)
    pieces = [Piece(text) for text in texts[:-1]] + [Piece(texts[-1], last)]
    lines = [*made.begin(), *(line for piece in pieces for line in made.events(piece))]
    read = []
    for line in lines:
        name, _, data = line.strip().partition("\n")
        read.append(EVENT.validate_python(json.loads(data.removeprefix("data: "))))
        assert name == f"event: {read[-1].type}"
    return read


def test_a_whole_response() -> None:
    writer = ResponseWriter(ECHO)
    response = Response.model_validate(writer.response(writer.items("Bern it is", [], ANSWER), ANSWER))
    assert (response.status, response.output_text, response.error) == ("completed", "Bern it is", None)
    assert response.id.startswith("resp_")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (
        10,
        3,
        13,
    )
    assert response.usage.input_tokens_details.cached_tokens == 4


def test_a_response_that_was_cut_is_incomplete() -> None:
    writer, cut = ResponseWriter(ECHO), replace(ANSWER, finish="length")
    response = Response.model_validate(writer.response(writer.items("Bern", [], cut), cut))
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [getattr(item, "status", "") for item in response.output] == ["incomplete"]


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limit_exceeded"), (500, "server_error")])
def test_a_response_that_failed_says_why(status: int, code: str) -> None:
    response = Response.model_validate(ResponseWriter(ECHO).response([], None, ApiError(status, "no")))
    assert response.status == "failed"
    assert response.error is not None
    assert (response.error.code, response.error.message) == (code, "no")
    made = ResponseEvents(ResponseWriter(ECHO), calls=False)
    assert made.failed(ApiError(status, "no")).startswith("event: response.failed\n")


def test_calls_are_items_and_text_beside_them_is_one() -> None:
    writer, call = ResponseWriter(ECHO), ToolCall("call_1", "weather", {"at": "Bern"})
    assert [item["type"] for item in writer.items("", [call], ANSWER)] == ["function_call"]
    message, item = writer.items("Wait.", [call], ANSWER)
    assert (message["type"], item["type"], item["id"]) == ("message", "function_call", "fc_1")
    assert [item["type"] for item in writer.items("", [], ANSWER)] == ["message"]


def test_the_events_of_a_stream_come_in_their_order() -> None:
    read = events(["Be", "rn it", " is"])
    assert [event.type for event in read] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in read] == list(range(len(read)))
    deltas = [event.delta for event in read if event.type == "response.output_text.delta"]
    assert "".join(deltas) == read[7].text == read[-1].response.output_text == "Bern it is"


def test_a_stream_without_text_has_an_empty_message() -> None:
    read = events([""])
    assert "response.output_text.delta" in [event.type for event in read]
    assert read[-1].response.output_text == ""


def test_a_call_in_a_stream() -> None:
    text = f"Wait. {CALL}"
    for size in (1, 5, len(text)):
        read = events([text[at : at + size] for at in range(0, len(text), size)], calls=True)
        (done,) = [event for event in read if event.type == "response.function_call_arguments.done"]
        assert (done.name, json.loads(done.arguments), done.output_index) == ("weather", {"at": "Bern"}, 1)
        final = read[-1].response
        assert final.output_text.strip() == "Wait."
        assert [item.type for item in final.output] == ["message", "function_call"]


def test_a_call_alone_has_no_message() -> None:
    read = events([CALL], calls=True)
    assert not [event for event in read if "output_text" in event.type]
    (item,) = read[-1].response.output
    assert (item.type, item.name) == ("function_call", "weather")
    added = next(event for event in read if event.type == "response.output_item.added")
    assert (added.output_index, added.item.arguments) == (0, "")


def test_a_stream_that_was_cut_is_incomplete() -> None:
    assert events(["Bern"], replace(ANSWER, finish="length"))[-1].type == "response.incomplete"
