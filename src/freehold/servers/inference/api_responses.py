"""OpenAI's Responses API, whole and streamed, with functions and formats. It keeps nothing: each request
brings its whole conversation.

Source: OpenAI's API reference, as the client package ``openai`` writes it. Unknown fields are errors.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BeforeValidator, ConfigDict, Field

from freehold.inference.sampling import Sampling
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.chat_request import ChatRequest, Message, with_system
from freehold.servers.inference.dependencies import RequestClient, Service
from freehold.servers.inference.openai_requests import parse_tool_choice, parse_tools
from freehold.servers.inference.responses_answers import Response, ResponseEvents, ResponseWriter
from freehold.servers.inference.service import Answer
from freehold.servers.inference.streams import Stream
from freehold.servers.inference.tool_calls import JsonObject, ToolCall
from freehold.servers.web.bodies import JsonRoute

_STATELESS = "this server keeps no conversations: send the whole conversation as input"
_REQUIRED = {"message": ("role", "content"), "function_call": ("name",), "function_call_output": ("output",)}
router = APIRouter(route_class=JsonRoute)
Arguments = Annotated[JsonObject, fields.Check(fields.arguments_of, {"type": "string"})]


def _typed_item(item: Any) -> Any:
    """An item with its type; of a model's reasoning only the type is kept. Raises fields.invalid."""
    if not isinstance(item, dict):
        return item
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind == "reasoning":
        return {"type": kind}
    if not isinstance(kind, str) or kind not in _REQUIRED:
        shown = "" if kind is None else f", not {fields.kind_shown(kind)}"
        raise fields.invalid(f"must be one of {', '.join(_REQUIRED)}{shown}", "type")
    for name in _REQUIRED[kind]:
        if item.get(name) is None:
            raise fields.invalid("this field is required", name)
    return {**item, "type": kind}


class InputItem(fields.Loose):
    """A part of the input: a message, a call or its result."""

    type: fields.Name
    role: Literal["system", "developer", "user", "assistant"] = "user"
    content: fields.Content = ""
    call_id: fields.Name = ""
    name: fields.Name = ""
    arguments: Arguments = Field(default_factory=dict)
    output: fields.Content = ""

    def append_to(self, messages: list[Message]) -> None:
        """Add this item to the messages; a call belongs to the assistant's message before it."""
        if self.type == "message":
            messages.append(Message("system" if self.role == "developer" else self.role, self.content))
        elif self.type == "function_call_output":
            messages.append(Message("tool", self.output, call_id=self.call_id))
        elif self.type == "function_call":
            call = ToolCall(self.call_id, self.name, self.arguments)
            if messages and messages[-1].role == "assistant":
                messages[-1] = replace(messages[-1], calls=(*messages[-1].calls, call))
            else:
                messages.append(Message("assistant", calls=(call,)))


def _as_items(value: Any) -> Any:
    return [{"type": "message", "role": "user", "content": value}] if isinstance(value, str) else value


class TextFormat(fields.Loose):
    """The format of the answer."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    body: fields.Schema | None = Field(default=None, alias="schema")

    @property
    def form(self) -> JsonObject | str | None:
        """The form of :class:`ChatRequest`. Raises ApiError."""
        if self.type == "json_schema":
            if self.body is None:
                raise ApiError(400, "text.format: the schema is missing")
            return self.body
        return "json" if self.type == "json_object" else None


class TextSettings(fields.Loose):
    """How text is answered; the response repeats it."""

    model_config = ConfigDict(extra="allow")
    format: TextFormat = TextFormat()


class ResponsesRequest(fields.Fields):
    """A request. ``store`` is not done here, and the response says so; fields that only affect OpenAI's
    own service are accepted and ignored.
    """

    model: fields.Name
    input: Annotated[list[Annotated[InputItem, BeforeValidator(_typed_item)]], BeforeValidator(_as_items)] = (
        Field(max_length=fields.MOST_MESSAGES)
    )
    instructions: fields.Text = ""
    max_output_tokens: fields.MaxTokens | None = None
    temperature: fields.Temperature = 0.0
    top_p: fields.TopP = 1.0
    tools: fields.Tools = Field(default_factory=list)
    tool_choice: fields.ToolChoice = "auto"
    text: TextSettings = TextSettings()
    stream: fields.Flag = False
    stream_options: fields.Object | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: fields.Object = Field(default_factory=dict)
    include: fields.Names = Field(default_factory=list)
    parallel_tool_calls: fields.Flag | None = None
    store: fields.Flag | None = None
    previous_response_id: fields.Name = ""
    background: Literal[False] | None = None
    reasoning: fields.Object | None = None
    service_tier: fields.Text | None = None
    user: fields.Text | None = None
    safety_identifier: fields.Text | None = None
    prompt_cache_key: fields.Text | None = None
    prompt_cache_retention: fields.Text | None = None
    max_tool_calls: fields.ToolCalls | None = None
    answer_form: fields.Flag = True

    def chat_request(self) -> ChatRequest:
        """The request in the form of all APIs. Raises ApiError."""
        if self.previous_response_id:
            raise ApiError(400, f"previous_response_id: {_STATELESS}")
        messages: list[Message] = []
        for item in self.input:
            item.append_to(messages)
        messages = with_system(messages, self.instructions)
        if not messages:
            raise ApiError(400, "input: it is empty")
        return ChatRequest(
            self.model,
            messages,
            max_tokens=self.max_output_tokens,
            sampling=Sampling(self.temperature, self.top_p, seed=secrets.randbits(32)),
            tools=parse_tools(self.tools),
            tool_choice=parse_tool_choice(self.tool_choice),
            form=self.text.format.form,
            answer_form=self.answer_form,
        )


def _writer(body: ResponsesRequest) -> ResponseWriter:
    """What the response repeats of its request."""
    return ResponseWriter(
        {
            "model": body.model,
            "instructions": body.instructions or None,
            "metadata": body.metadata,
            "max_output_tokens": body.max_output_tokens,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "text": body.text.model_dump(mode="json", by_alias=True, exclude_none=True),
            "tool_choice": body.tool_choice,
            "tools": body.tools,
            "user": body.user,
        }
    )


@router.post("/v1/responses", response_model=None)
async def create_response(
    body: ResponsesRequest, service: Service, client: RequestClient
) -> Response | Stream:
    """Answer a conversation."""
    chat = body.chat_request()
    answer = await service.answer(client, chat)
    writer = _writer(body)
    if body.stream:
        return Stream(answer, _events(answer, ResponseEvents(writer, calls=chat.may_call)))
    completion = await answer.completion(client.is_disconnected)
    text, calls = chat.parts(completion.text)
    return writer.response(writer.items(text, calls, completion), completion)


async def _events(answer: Answer, events: ResponseEvents) -> AsyncGenerator[str]:
    for event in events.begin():
        yield event
    try:
        async for piece in answer.pieces():
            for event in events.events(piece):
                yield event
    except ApiError as error:
        yield events.failed(error)


@router.get("/v1/responses/{number}", response_model=None)
@router.delete("/v1/responses/{number}", response_model=None)
async def no_stored_response(number: str) -> None:
    """Responses are not stored. Raises ApiError."""
    raise ApiError(404, f"there is no response {number[:80]!r}: {_STATELESS}")
