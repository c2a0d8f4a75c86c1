"""What OpenAI's Responses API answers: the response object, its items, and the events of a stream.

Source: OpenAI's API reference, as the client package ``openai`` reads it; ``energy_joules`` is ours.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Literal, NotRequired, TypedDict

from freehold.inference.interface import Completion
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.scheduler import Piece
from freehold.servers.inference.streams import server_sent_event
from freehold.servers.inference.tool_calls import JsonObject, ToolCall, ToolCallFilter


class RequestEcho(TypedDict):
    """What a response repeats of its request."""

    model: str
    instructions: str | None
    metadata: JsonObject
    max_output_tokens: int | None
    temperature: float
    top_p: float
    text: JsonObject
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    user: str | None


class InputDetails(TypedDict):
    """Tokens of the prompt that were computed before."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(TypedDict):
    """Tokens of reasoning; there are none."""

    reasoning_tokens: int


class Usage(TypedDict):
    """Tokens and energy of a response."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int
    energy_joules: NotRequired[float]


class TextPart(TypedDict):
    """Text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[str]
    logprobs: list[float]


class MessageItem(TypedDict):
    """The item with the text of an answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: str
    content: list[TextPart]


class CallItem(TypedDict):
    """The item of a call. ``arguments``: JSON text."""

    id: str
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    status: str


class ErrorPart(TypedDict):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(TypedDict):
    """Why a response is not complete."""

    reason: str


class Response(RequestEcho):
    """The response object. ``created_at``: seconds since 1970."""

    id: str
    object: Literal["response"]
    created_at: int
    status: str
    output: list[MessageItem | CallItem]
    error: ErrorPart | None
    incomplete_details: IncompleteDetails | None
    parallel_tool_calls: bool
    previous_response_id: None
    store: bool
    truncation: str
    usage: Usage | None


class ResponseWriter:
    """Writes the objects of one response."""

    def __init__(self, echo: RequestEcho):
        self.echo, self.id, self.created = echo, f"resp_{secrets.token_hex(16)}", int(time.time())
        self.message_id = f"msg_{secrets.token_hex(16)}"

    def response(
        self,
        items: list[MessageItem | CallItem],
        completion: Completion | None,
        error: ApiError | None = None,
    ) -> Response:
        """The response object; it is in progress while there is neither completion nor error."""
        status = _status(completion, error)
        return {
            **self.echo,
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "output": items,
            "error": None if error is None else _error(error),
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": None if completion is None else _usage(completion),
        }

    def message(self, text: str, status: str) -> MessageItem:
        """The item with the answer's text."""
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [text_part(text)] if status != "in_progress" else [],
        }

    def items(self, text: str, calls: list[ToolCall], completion: Completion) -> list[MessageItem | CallItem]:
        """The items of a whole answer: its text, unless there are only calls, and its calls."""
        status = "incomplete" if completion.finish == "length" else "completed"
        messages = [self.message(text, status)] if text or not calls else []
        return [*messages, *map(call_item, calls)]


def _status(completion: Completion | None, error: ApiError | None) -> str:
    if error is not None:
        return "failed"
    if completion is None:
        return "in_progress"
    return "incomplete" if completion.finish == "length" else "completed"


def _error(error: ApiError) -> ErrorPart:
    code = "rate_limit_exceeded" if error.status == 429 else "server_error"
    return {"code": code, "message": error.message}


def text_part(text: str) -> TextPart:
    """Text as a part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(call: ToolCall) -> CallItem:
    """The item of a call."""
    return {
        "id": call.id.replace("call_", "fc_"),
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments_text,
        "status": "completed",
    }


def _usage(completion: Completion) -> Usage:
    usage: Usage = {
        "input_tokens": completion.prompt_tokens,
        "input_tokens_details": {"cached_tokens": completion.reused, "cache_write_tokens": 0},
        "output_tokens": len(completion.tokens),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": completion.prompt_tokens + len(completion.tokens),
    }
    if completion.joules is not None:
        usage["energy_joules"] = round(completion.joules, 4)
    return usage


class ResponseEvents:
    """The events of one streamed response."""

    def __init__(self, writer: ResponseWriter, *, calls: bool):
        self._writer = writer
        self._filter = ToolCallFilter(calls=calls)
        self._text = ""
        self._sequence = 0

    def _event(self, kind: str, **values: object) -> str:
        self._sequence += 1
        return server_sent_event({"type": kind, "sequence_number": self._sequence - 1, **values}, kind)

    def _text_event(self, kind: str, **values: object) -> str:
        """An event of the part that holds the answer's text."""
        return self._event(kind, item_id=self._writer.message_id, output_index=0, content_index=0, **values)

    def begin(self) -> Iterator[str]:
        """The events before the answer."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._writer.response([], None))

    def events(self, piece: Piece) -> Iterator[str]:
        """The events of a piece."""
        if text := self._filter.add(piece.text):
            yield from self._add(text)
        if piece.completion is not None:
            rest, calls = self._filter.rest()
            if rest or not (self._text or calls):
                yield from self._add(rest)
            yield from self._end(piece.completion, calls)

    def failed(self, error: ApiError) -> str:
        """The event of an answer that ended with an error."""
        return self._event("response.failed", response=self._writer.response([], None, error))

    def _add(self, text: str) -> Iterator[str]:
        if not self._text:
            item = self._writer.message("", "in_progress")
            yield self._event("response.output_item.added", output_index=0, item=item)
            yield self._text_event("response.content_part.added", part=text_part(""))
        self._text += text
        yield self._text_event("response.output_text.delta", delta=text, logprobs=[])

    def _end(self, completion: Completion, calls: list[ToolCall]) -> Iterator[str]:
        items = self._writer.items(self._text, calls, completion)
        if items[0]["type"] == "message":
            yield self._text_event("response.output_text.done", text=self._text, logprobs=[])
            yield self._text_event("response.content_part.done", part=text_part(self._text))
            yield self._event("response.output_item.done", output_index=0, item=items[0])
        for index, call in enumerate(calls, start=len(items) - len(calls)):
            yield from self._call(index, call_item(call))
        kind = "response.incomplete" if completion.finish == "length" else "response.completed"
        yield self._event(kind, response=self._writer.response(items, completion))

    def _call(self, index: int, item: CallItem) -> Iterator[str]:
        begun: CallItem = {**item, "arguments": "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=index, item=begun)
        kind, item_id, arguments = "response.function_call_arguments", item["id"], item["arguments"]
        yield self._event(f"{kind}.delta", item_id=item_id, output_index=index, delta=arguments)
        yield self._event(
            f"{kind}.done", item_id=item_id, output_index=index, name=item["name"], arguments=arguments
        )
        yield self._event("response.output_item.done", output_index=index, item=item)
