"""OpenAI's Responses API, whole and streamed, with functions and bound answers. Nothing is kept: each request brings its whole conversation.

Source: OpenAI's API reference, as the client package ``openai`` writes and reads it. Fields that are not listed here are refused by name.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, ConfigDict, Field

from freehold.inference.interface import Completion
from freehold.inference.sampling import Sampling
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_openai import choice_of, event, tools_of
from freehold.servers.inference.chat_request import Call, ChatRequest, Shown
from freehold.servers.inference.service import Answer, InferenceService
from freehold.servers.inference.streams import Stream
from freehold.servers.web.bodies import JsonRoute

_STATELESS = "this server keeps no conversations: send the whole of it as input"


Arguments = Annotated[dict[str, Any], fields.Check(fields.arguments_of, {"type": "string"})]


def _kind(item: Any) -> Any:
    """An item as its kind says; what a reasoning model thought is not for others to read. Raises fields.fault."""
    if not isinstance(item, dict):
        return item
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind == "reasoning":
        return {"type": kind}
    if kind not in ("message", "function_call", "function_call_output"):
        shown = None if kind is None else fields.kind_shown(kind)
        raise fields.fault(f"{shown} is none of message, function_call, function_call_output", "type")
    needed = {"message": ("role", "content"), "function_call": ("name",), "function_call_output": ("output",)}
    for name in needed[kind]:
        if item.get(name) is None:
            raise fields.fault("this field is required", name)
    return {**item, "type": kind}


class Item(fields.Loose):
    """A part of the input: a message, a call or what it gave."""

    type: fields.Name
    role: Literal["system", "developer", "user", "assistant"] = "user"
    content: fields.Content = ""
    call_id: fields.Name = ""
    name: fields.Name = ""
    arguments: Arguments = Field(default_factory=dict)
    output: fields.Content = ""

    def add(self, messages: list[dict[str, Any]]) -> None:
        """Append it to the messages."""
        if self.type == "message":
            role = "system" if self.role == "developer" else self.role
            messages.append({"role": role, "content": self.content})
        elif self.type == "function_call":
            function = {"name": self.name, "arguments": self.arguments}
            call = {"id": self.call_id, "type": "function", "function": function}
            if messages and messages[-1]["role"] == "assistant":
                messages[-1].setdefault("tool_calls", []).append(call)
            else:
                messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif self.type == "function_call_output":
            messages.append({"role": "tool", "content": self.output, "tool_call_id": self.call_id})


def _items(value: Any) -> Any:
    return [{"type": "message", "role": "user", "content": value}] if isinstance(value, str) else value


class Format(fields.Loose):
    """What an answer keeps to."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    body: fields.Schema | None = Field(default=None, alias="schema")

    @property
    def form(self) -> dict[str, Any] | str | None:
        """See :class:`ChatRequest`. Raises Refusal."""
        if self.type == "json_schema":
            if self.body is None:
                raise ApiError(400, "text.format: it holds no schema")
            return self.body
        return "json" if self.type == "json_object" else None


class TextSettings(fields.Loose):
    """How text is answered; the response repeats it."""

    model_config = ConfigDict(extra="allow")
    format: Format = Format()


class ResponsesRequest(fields.Fields):
    """A request. ``store`` asks for what is not done here and is told so in the answer; fields that only steer OpenAI's own service are taken
    and change nothing."""

    model: fields.Name
    input: Annotated[list[Annotated[Item, BeforeValidator(_kind)]], BeforeValidator(_items)] = Field(
        max_length=fields.MOST_MESSAGES
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

    def dialogue(self) -> ChatRequest:
        """What every API's request becomes. Raises Refusal."""
        if self.previous_response_id:
            raise ApiError(400, f"previous_response_id: {_STATELESS}")
        messages: list[dict[str, Any]] = []
        if self.instructions:
            messages.append({"role": "system", "content": self.instructions})
        for item in self.input:
            item.add(messages)
        if self.instructions and len(messages) > 1 and messages[1]["role"] == "system":  # templates take one
            joined = f"{messages[0]['content']}\n\n{messages[1]['content']}"
            messages[:2] = [{"role": "system", "content": joined}]
        if not messages:
            raise ApiError(400, "input: it is empty")
        return ChatRequest(
            self.model, messages, None, self.max_output_tokens, Sampling(self.temperature, self.top_p, seed=secrets.randbits(32)), (),
            tools_of(self.tools), choice_of(self.tool_choice), self.text.format.form, answer_form=self.answer_form,
        )  # fmt: skip


def routes(desk: InferenceService) -> APIRouter:
    """All routes of this API."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/v1/responses")
    async def respond(body: ResponsesRequest, request: Request) -> Any:
        dialogue = body.dialogue()
        answer = await desk.answer(request.state.key, dialogue, request.is_disconnected)
        telling = Telling(body)
        if body.stream:
            return Stream(answer, _events(answer, dialogue, telling), media_type="text/event-stream")
        done = await answer.whole(request.is_disconnected)
        text, calls = dialogue.parts(done.text)
        return telling.response(telling.items(text, calls, done), done)

    @router.get("/v1/responses/{number}")
    @router.delete("/v1/responses/{number}")
    async def kept(number: str) -> Any:
        raise ApiError(404, f"no response {number[:80]!r} is here: {_STATELESS}")

    return router


class Telling:
    """The forms of one response."""

    def __init__(self, body: ResponsesRequest):
        self.body, self.id, self.created = body, f"resp_{secrets.token_hex(16)}", int(time.time())
        self.message_id = f"msg_{secrets.token_hex(16)}"
        self._sequence = 0

    def response(
        self, items: list[dict[str, Any]], done: Completion | None, failure: ApiError | None = None
    ) -> dict[str, Any]:
        """The response object, under way while there is neither completion nor failure."""
        body = self.body
        cut = done is not None and done.finish == "length"
        status = (
            "failed" if failure else "in_progress" if done is None else "incomplete" if cut else "completed"
        )
        code = "rate_limit_exceeded" if failure and failure.status == 429 else "server_error"
        return {
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "model": body.model, "output": items,
            "error": {"code": code, "message": failure.message} if failure else None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None, "instructions": body.instructions or None, "metadata": body.metadata,
            "max_output_tokens": body.max_output_tokens, "parallel_tool_calls": True, "previous_response_id": None, "store": False,
            "temperature": body.temperature, "top_p": body.top_p, "text": body.text.model_dump(mode="json", by_alias=True, exclude_none=True),
            "tool_choice": body.tool_choice, "tools": body.tools, "truncation": "disabled", "user": body.user,
            "usage": _usage(done) if done else None,
        }  # fmt: skip

    def message(self, text: str, status: str) -> dict[str, Any]:
        """The item that holds the answer's text."""
        content = [self.part(text)] if status != "in_progress" else []
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    @staticmethod
    def part(text: str) -> dict[str, Any]:
        """Text as a part of a message."""
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def items(self, text: str, calls: list[Call], done: Completion) -> list[dict[str, Any]]:
        """What an answer consists of."""
        status = "incomplete" if done.finish == "length" else "completed"
        return [*([self.message(text, status)] if text or not calls else []), *map(_call, calls)]

    def event(self, kind: str, **values: Any) -> str:
        """One event of the stream."""
        self._sequence += 1
        return event({"type": kind, "sequence_number": self._sequence - 1, **values}, kind)

    def called(self, call: Call, place: int) -> Iterator[str]:
        """The events of a call."""
        item = _call(call)
        yield self.event(
            "response.output_item.added",
            output_index=place,
            item=item | {"arguments": "", "status": "in_progress"},
        )
        at = {"item_id": item["id"], "output_index": place}
        yield self.event("response.function_call_arguments.delta", **at, delta=item["arguments"])
        yield self.event(
            "response.function_call_arguments.done", **at, name=call.name, arguments=item["arguments"]
        )
        yield self.event("response.output_item.done", output_index=place, item=item)


async def _events(answer: Answer, dialogue: ChatRequest, telling: Telling) -> AsyncGenerator[str]:
    yield telling.event("response.created", response=telling.response([], None))
    yield telling.event("response.in_progress", response=telling.response([], None))
    at = {"item_id": telling.message_id, "output_index": 0, "content_index": 0}
    shown, sent = Shown(calls=dialogue.calls), ""

    def more(text: str) -> Iterator[str]:
        nonlocal sent
        if not sent:
            yield telling.event(
                "response.output_item.added", output_index=0, item=telling.message("", "in_progress")
            )
            yield telling.event("response.content_part.added", **at, part=telling.part(""))
        sent += text
        yield telling.event("response.output_text.delta", **at, delta=text, logprobs=[])

    try:
        async for piece in answer.pieces():
            if text := shown.add(piece.text):
                for one in more(text):
                    yield one
            if (done := piece.completion) is None:
                continue
            rest, calls = shown.rest()
            if rest or not (sent or calls):
                for one in more(rest):
                    yield one
            items = telling.items(sent, calls, done)
            if items[0]["type"] == "message":
                yield telling.event("response.output_text.done", **at, text=sent, logprobs=[])
                yield telling.event("response.content_part.done", **at, part=telling.part(sent))
                yield telling.event("response.output_item.done", output_index=0, item=items[0])
            for place, call in enumerate(calls, start=len(items) - len(calls)):
                for one in telling.called(call, place):
                    yield one
            kind = "response.incomplete" if done.finish == "length" else "response.completed"
            yield telling.event(kind, response=telling.response(items, done))
    except ApiError as refusal:
        yield telling.event("response.failed", response=telling.response([], None, refusal))


def _call(call: Call) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id.replace("call_", "fc_"), "type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments,
            "status": "completed"}  # fmt: skip


def _usage(done: Completion) -> dict[str, Any]:
    answer = len(done.tokens)
    found: dict[str, Any] = {
        "input_tokens": done.prompt_tokens, "input_tokens_details": {"cached_tokens": done.reused, "cache_write_tokens": 0}, "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": done.prompt_tokens + answer,
    }  # fmt: skip
    return found if done.joules is None else found | {"energy_joules": round(done.joules, 4)}
