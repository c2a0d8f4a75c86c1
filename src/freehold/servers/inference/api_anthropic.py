"""Anthropic's API: messages, streamed or whole, and the count of their tokens.

Source: Anthropic's API reference, as the client package ``anthropic`` writes and reads it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypedDict

from fastapi import APIRouter
from pydantic import Field

from freehold.inference.interface import Completion
from freehold.inference.sampling import Sampling
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError, error_body
from freehold.servers.inference.chat_request import ChatRequest, Message
from freehold.servers.inference.dependencies import RequestClient, Service
from freehold.servers.inference.scheduler import Piece
from freehold.servers.inference.service import Answer
from freehold.servers.inference.streams import Stream, server_sent_event
from freehold.servers.inference.tool_calls import JsonObject, Tool, ToolCall, ToolCallFilter
from freehold.servers.web.bodies import JsonRoute

router = APIRouter(route_class=JsonRoute)


# -- what clients send ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ContentBlock:
    """A part of a message: text, a call (``tool_use``), or the result of a call (``tool_result``)."""

    type: str
    #: of text and results
    text: str = ""
    #: of the call, in calls and results
    id: str = ""
    #: of the function that is called
    name: str = ""
    #: the call's arguments
    input: JsonObject = field(default_factory=dict)


def _block(block: JsonObject, at: str) -> ContentBlock:
    """A block of a message. Raises fields.invalid."""
    kind = block.get("type")
    if kind == "text":
        return ContentBlock(kind, fields.text_at(block.get("text"), f"{at}.text"))
    if kind == "tool_use":
        name = fields.name_at(block.get("name"), f"{at}.name")
        arguments = {} if block.get("input") is None else fields.object_at(block["input"], f"{at}.input")
        call_id = fields.name_at(block.get("id") or "", f"{at}.id")
        return ContentBlock(kind, id=call_id, name=name, input=arguments)
    if kind == "tool_result":
        call_id = fields.name_at(block.get("tool_use_id") or "", f"{at}.tool_use_id")
        return ContentBlock(kind, fields.text_of(block.get("content"), f"{at}.content"), call_id)
    shown = fields.kind_shown(kind)
    raise fields.invalid(f"this model reads text only, and a block is of type {shown}", at)


def _blocks(value: Any) -> str | list[ContentBlock]:
    if isinstance(value, str):
        return value
    blocks = enumerate(fields.list_at(value))
    return [_block(fields.object_at(block, str(at)), str(at)) for at, block in blocks]


def _tools(value: Any) -> tuple[Tool, ...]:
    tools = enumerate(fields.list_at(value, most=fields.MOST_TOOLS))
    return tuple(_tool(tool, str(number)) for number, tool in tools)


def _tool(value: Any, at: str) -> Tool:
    if fields.object_at(value, at).get("type", "custom") != "custom":
        shown = fields.kind_shown(value["type"])
        raise fields.invalid(f"the type {shown} is not supported; define tools of your own", at)
    fields.check_function(value, at, "input_schema")
    schema = value.get("input_schema") or {"type": "object"}
    return Tool(value["name"], value.get("description") or "", schema)


_OBJECTS = {"type": "array", "items": {"type": "object"}}
_TEXT_OR_OBJECTS = {"anyOf": [{"type": "string"}, _OBJECTS]}
ContentBlocks = Annotated[str | list[ContentBlock], fields.Check(_blocks, _TEXT_OR_OBJECTS)]
Tools = Annotated[tuple[Tool, ...], fields.Check(_tools, _OBJECTS)]


class MessageParam(fields.Fields):
    """One message."""

    role: Literal["user", "assistant"]
    content: ContentBlocks

    def messages(self) -> list[Message]:
        """The message in the form of all APIs, after the results of calls that it has."""
        if isinstance(self.content, str):
            return [Message(self.role, self.content)]
        results = [
            Message("tool", block.text, call_id=block.id)
            for block in self.content
            if block.type == "tool_result"
        ]
        text = "".join(block.text for block in self.content if block.type == "text")
        calls = tuple(
            ToolCall(block.id, block.name, block.input) for block in self.content if block.type == "tool_use"
        )
        return [*results, Message(self.role, text, calls)] if text or calls or not results else results


class ToolChoice(fields.Loose):
    """Whether and which functions the model must call."""

    type: Literal["auto", "any", "tool", "none"] = "auto"
    name: fields.Name = ""

    @property
    def word(self) -> str:
        """The tool choice of :class:`ChatRequest`. Raises ApiError."""
        if self.type == "tool" and not self.name:
            raise ApiError(400, "tool_choice.name: this field is required")
        return {"auto": "auto", "any": "required", "none": "none", "tool": self.name}[self.type]


class Thinking(fields.Loose):
    """Whether the model thinks before it answers."""

    type: fields.Text = "enabled"


class CountTokensRequest(fields.Fields):
    """Messages whose tokens are counted."""

    model: fields.Name
    messages: list[MessageParam] = Field(min_length=1, max_length=fields.MOST_MESSAGES)
    system: fields.Content = ""
    tools: Tools = ()
    tool_choice: ToolChoice = ToolChoice()
    thinking: Thinking | None = None
    answer_form: fields.Flag = True

    def chat_request(self) -> ChatRequest:
        """The request in the form of all APIs. Raises ApiError."""
        if self.thinking is not None and self.thinking.type != "disabled":
            raise ApiError(400, "thinking: these models have no separate thinking; leave it out")
        system = [Message("system", self.system)] if self.system else []
        messages = [message for entry in self.messages for message in entry.messages()]
        return ChatRequest(
            self.model,
            [*system, *messages],
            tools=self.tools,
            tool_choice=self.tool_choice.word,
            answer_form=self.answer_form,
        )


class MessagesRequest(CountTokensRequest):
    """Messages to answer."""

    max_tokens: fields.MaxTokens
    temperature: fields.TemperatureToOne = 0.0
    top_p: fields.TopP = 1.0
    top_k: fields.TopK = 0
    stop_sequences: fields.StopSequences = ()
    stream: fields.Flag = False
    metadata: fields.Object | None = None
    service_tier: fields.Text | None = None

    def chat_request(self) -> ChatRequest:
        """The request in the form of all APIs. Raises ApiError."""
        sampling = Sampling(self.temperature, self.top_p, self.top_k, seed=secrets.randbits(32))
        return replace(
            super().chat_request(),
            max_tokens=self.max_tokens,
            stops=self.stop_sequences,
            sampling=sampling,
        )


# -- what the server answers ---------------------------------------------------------------------


class Usage(TypedDict):
    """Tokens of an answer; ``input_tokens`` are those that were computed for it."""

    input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class TextBlock(TypedDict):
    """Text of an answer."""

    type: Literal["text"]
    text: str


class ToolUseBlock(TypedDict):
    """A call of a function."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject


class AnthropicMessage(TypedDict):
    """An answer; without content while it is streamed."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[TextBlock | ToolUseBlock]
    stop_reason: str | None
    stop_sequence: str | None
    usage: Usage


class StopReason(TypedDict):
    """Why an answer ended, and the stop text that ended it."""

    stop_reason: str
    stop_sequence: str | None


class TextDelta(TypedDict):
    """New text of a block."""

    type: Literal["text_delta"]
    text: str


class JsonDelta(TypedDict):
    """The arguments of a call as JSON text."""

    type: Literal["input_json_delta"]
    partial_json: str


class TokenCount(TypedDict):
    """Tokens of a prompt."""

    input_tokens: int


def _message(model: str, prompt_tokens: int) -> AnthropicMessage:
    """An answer that has just begun."""
    return {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": prompt_tokens, "cache_read_input_tokens": 0, "output_tokens": 0},
    }


def _tool_use(call: ToolCall, arguments: JsonObject) -> ToolUseBlock:
    tool_use_id = call.id.replace("call_", "toolu_")
    return {"type": "tool_use", "id": tool_use_id, "name": call.name, "input": arguments}


def _usage(completion: Completion) -> Usage:
    return {
        "input_tokens": completion.prompt_tokens - completion.reused,
        "cache_read_input_tokens": completion.reused,
        "output_tokens": len(completion.tokens),
    }


def _stop_reason(completion: Completion, calls: list[ToolCall]) -> StopReason:
    if calls:
        reason = "tool_use"
    elif completion.finish == "length":
        reason = "max_tokens"
    else:
        reason = "stop_sequence" if completion.stopped_by else "end_turn"
    return {"stop_reason": reason, "stop_sequence": completion.stopped_by or None}


class MessageEvents:
    """The events of a streamed answer, block by block."""

    def __init__(self, chat: ChatRequest):
        self._filter = ToolCallFilter(calls=chat.may_call)
        self._block = 0
        #: whether the block of text was begun
        self._text_open = False

    def events(self, piece: Piece) -> Iterator[str]:
        """The events of a piece."""
        text, calls = self._filter.add(piece.text), list[ToolCall]()
        if piece.completion is not None:
            rest, calls = self._filter.rest()
            text += rest
        if text or (piece.completion is not None and not calls and not self._text_open):
            yield from self._text(text)
        if piece.completion is not None:
            yield from self._end(piece.completion, calls)

    def _text(self, text: str) -> Iterator[str]:
        if not self._text_open:
            self._text_open = True
            yield self._start({"type": "text", "text": ""})
        yield self._delta({"type": "text_delta", "text": text})

    def _end(self, completion: Completion, calls: list[ToolCall]) -> Iterator[str]:
        if self._text_open:
            yield self._stop()
        for call in calls:
            yield self._start(_tool_use(call, {}))
            yield self._delta({"type": "input_json_delta", "partial_json": call.arguments_text})
            yield self._stop()
        delta, usage = _stop_reason(completion, calls), _usage(completion)
        yield server_sent_event({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta")

    def _start(self, block: TextBlock | ToolUseBlock) -> str:
        name = "content_block_start"
        return server_sent_event({"type": name, "index": self._block, "content_block": block}, name)

    def _delta(self, delta: TextDelta | JsonDelta) -> str:
        name = "content_block_delta"
        return server_sent_event({"type": name, "index": self._block, "delta": delta}, name)

    def _stop(self) -> str:
        self._block += 1
        name = "content_block_stop"
        return server_sent_event({"type": name, "index": self._block - 1}, name)


async def _events(answer: Answer, chat: ChatRequest) -> AsyncGenerator[str]:
    message = _message(chat.model, answer.prompt_tokens)
    yield server_sent_event({"type": "message_start", "message": message}, "message_start")
    events = MessageEvents(chat)
    try:
        async for piece in answer.pieces():
            for event in events.events(piece):
                yield event
    except ApiError as error:
        yield server_sent_event(error_body("/v1/messages", error), "error")
        return
    yield server_sent_event({"type": "message_stop"}, "message_stop")


# -- routes ----------------------------------------------------------------------------------------


@router.post("/v1/messages", response_model=None)
async def create_message(
    body: MessagesRequest, service: Service, client: RequestClient
) -> AnthropicMessage | Stream:
    """Answer messages."""
    chat = body.chat_request()
    answer = await service.answer(client, chat)
    if body.stream:
        return Stream(answer, _events(answer, chat))
    completion = await answer.completion(client.is_disconnected)
    text, calls = chat.parts(completion.text)
    texts: list[TextBlock] = [{"type": "text", "text": text}] if text or not calls else []
    stop = _stop_reason(completion, calls)
    message = _message(body.model, completion.prompt_tokens)
    message["content"] = [*texts, *(_tool_use(call, call.arguments) for call in calls)]
    message["stop_reason"], message["stop_sequence"] = stop["stop_reason"], stop["stop_sequence"]
    message["usage"] = _usage(completion)
    return message


@router.post("/v1/messages/count_tokens", response_model=None)
async def count_tokens(body: CountTokensRequest, service: Service, client: RequestClient) -> TokenCount:
    """The number of tokens in the messages' prompt."""
    return {"input_tokens": await service.count(client, body.chat_request())}
