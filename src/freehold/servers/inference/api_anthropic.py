"""Anthropic's API: messages, streamed or whole, and the count of their tokens.

Source: Anthropic's API reference, as the client package ``anthropic`` writes and reads it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.inference.interface import Completion
from freehold.inference.sampling import Sampling
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError, body_of
from freehold.servers.inference.api_openai import event
from freehold.servers.inference.chat_request import Call, ChatRequest, Shown, Tool
from freehold.servers.inference.service import Answer, InferenceService
from freehold.servers.inference.streams import Stream
from freehold.servers.web.bodies import JsonRoute


@dataclass(frozen=True)
class Block:
    """A part of a message: text, a call (``tool_use``), or what a call gave (``tool_result``, as text)."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = field(default_factory=dict)


def _block(block: dict[str, Any], at: str) -> Block:
    """A block of a message. Raises fields.fault."""
    kind = block.get("type")
    if kind == "text":
        return Block(kind, fields.text_at(block.get("text"), f"{at}.text"))
    if kind == "tool_use":
        name = fields.name_at(block.get("name"), f"{at}.name")
        given = {} if block.get("input") is None else fields.object_at(block["input"], f"{at}.input")
        return Block(kind, id=fields.name_at(block.get("id") or "", f"{at}.id"), name=name, input=given)
    if kind == "tool_result":
        called = fields.name_at(block.get("tool_use_id") or "", f"{at}.tool_use_id")
        return Block(kind, fields.text_of(block.get("content"), f"{at}.content"), called)
    raise fields.fault(f"this model reads text only, and a block is of type {fields.kind_shown(kind)}", at)


def _blocks(value: Any) -> str | list[Block]:
    if isinstance(value, str):
        return value
    return [
        _block(fields.object_at(block, str(at)), str(at)) for at, block in enumerate(fields.list_at(value))
    ]


def _own_tools(value: Any) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for number, tool in enumerate(fields.list_at(value, most=fields.MOST_TOOLS)):
        at = str(number)
        if fields.object_at(tool, at).get("type", "custom") != "custom":
            shown = fields.kind_shown(tool["type"])
            raise fields.fault(f"one is of type {shown}; tools of your own are supported", at)
        fields.check_function(tool, at, "input_schema")
        schema = tool.get("input_schema") or {"type": "object"}
        tools.append(Tool(tool["name"], tool.get("description") or "", schema))
    return tuple(tools)


_OBJECTS = {"type": "array", "items": {"type": "object"}}
Blocks = Annotated[str | list[Block], fields.Check(_blocks, {"anyOf": [{"type": "string"}, _OBJECTS]})]
OwnTools = Annotated[tuple[Tool, ...], fields.Check(_own_tools, _OBJECTS)]


class Turn(fields.Fields):
    """One message."""

    role: Literal["user", "assistant"]
    content: Blocks


class Kind(fields.Loose):
    """A choice that has a name of its own."""

    type: Literal["auto", "any", "tool", "none"] = "auto"
    name: fields.Name = ""

    @property
    def word(self) -> str:
        """As :class:`ChatRequest` has it. Raises Refusal."""
        if self.type == "tool" and not self.name:
            raise ApiError(400, "tool_choice.name: this field is required")
        return {"auto": "auto", "any": "required", "none": "none", "tool": self.name}[self.type]


class Thinking(fields.Loose):
    """Whether the model thinks before it answers."""

    type: fields.Text = "enabled"


class Counted(fields.Fields):
    """What has a number of tokens."""

    model: fields.Name
    messages: list[Turn] = Field(min_length=1, max_length=fields.MOST_MESSAGES)
    system: fields.Content = ""
    tools: OwnTools = ()
    tool_choice: Kind = Kind()
    thinking: Thinking | None = None
    answer_form: fields.Flag = True

    def dialogue(self) -> ChatRequest:
        """What every API's request becomes. Raises Refusal."""
        if self.thinking is not None and self.thinking.type != "disabled":
            raise ApiError(400, "thinking: these models do not think apart from their answer; leave it out")
        messages: list[dict[str, Any]] = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.messages:
            messages += _messages(turn)
        choice = self.tool_choice.word
        return ChatRequest(
            self.model, messages, tools=self.tools, tool_choice=choice, answer_form=self.answer_form
        )


class MessagesRequest(Counted):
    """A message that is to be answered."""

    max_tokens: fields.MaxTokens
    temperature: fields.TemperatureToOne = 0.0
    top_p: fields.TopP = 1.0
    top_k: fields.TopK = 0
    stop_sequences: fields.StopSequences = ()
    stream: fields.Flag = False
    metadata: fields.Object | None = None
    service_tier: fields.Text | None = None

    def dialogue(self) -> ChatRequest:
        """What every API's request becomes. Raises Refusal."""
        dialogue = super().dialogue()
        dialogue.max_tokens, dialogue.stops = self.max_tokens, self.stop_sequences
        dialogue.sampling = Sampling(self.temperature, self.top_p, self.top_k, seed=secrets.randbits(32))
        return dialogue


def _messages(turn: Turn) -> list[dict[str, Any]]:
    """A turn's blocks, as :func:`_blocks` has checked them, as messages in the form of OpenAI's API."""
    if isinstance(turn.content, str):
        return [{"role": turn.role, "content": turn.content}]
    results = [
        {"role": "tool", "content": block.text, "tool_call_id": block.id}
        for block in turn.content
        if block.type == "tool_result"
    ]
    text = "".join(block.text for block in turn.content if block.type == "text")
    calls = [
        {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.input}}
        for block in turn.content
        if block.type == "tool_use"
    ]
    if calls:
        return [*results, {"role": turn.role, "content": text, "tool_calls": calls}]
    return [*results, {"role": turn.role, "content": text}] if text or not results else results


def routes(desk: InferenceService) -> APIRouter:
    """All routes of this API."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/v1/messages")
    async def messages(body: MessagesRequest, request: Request) -> Any:
        dialogue = body.dialogue()
        answer = await desk.answer(request.state.key, dialogue, request.is_disconnected)
        if body.stream:
            return Stream(answer, _events(answer, dialogue), media_type="text/event-stream")
        done = await answer.whole(request.is_disconnected)
        text, calls = dialogue.parts(done.text)
        content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text or not calls else []
        content += [_use(call) | {"input": call.arguments} for call in calls]
        return {
            **_message(body.model, done.prompt_tokens, done.reused),
            "content": content,
            **_stop(done, calls),
            "usage": _usage(done),
        }

    @router.post("/v1/messages/count_tokens")
    async def count(body: Counted, request: Request) -> dict[str, int]:
        counted = await desk.count(request.state.key, body.dialogue(), request.is_disconnected)
        return {"input_tokens": counted}

    return router


def _message(model: str, prompt_tokens: int, reused: int) -> dict[str, Any]:
    return {
        "id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": prompt_tokens - reused, "cache_read_input_tokens": reused, "output_tokens": 0},
    }  # fmt: skip


def _use(call: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name, "input": {}}


def _usage(done: Completion) -> dict[str, int]:
    return {
        "input_tokens": done.prompt_tokens - done.reused,
        "cache_read_input_tokens": done.reused,
        "output_tokens": len(done.tokens),
    }


def _stop(done: Completion, calls: list[Call]) -> dict[str, Any]:
    reason = (
        "tool_use"
        if calls
        else "max_tokens"
        if done.finish == "length"
        else "stop_sequence"
        if done.stopped_by
        else "end_turn"
    )
    return {"stop_reason": reason, "stop_sequence": done.stopped_by or None}


async def _events(answer: Answer, dialogue: ChatRequest) -> AsyncGenerator[str]:
    yield event(
        {"type": "message_start", "message": _message(dialogue.model, answer.prompt_tokens, 0)},
        "message_start",
    )
    shown, block, opened = Shown(calls=dialogue.calls), 0, False

    def start(content: dict[str, Any]) -> str:
        return event(
            {"type": "content_block_start", "index": block, "content_block": content}, "content_block_start"
        )

    def delta(value: dict[str, Any]) -> str:
        return event({"type": "content_block_delta", "index": block, "delta": value}, "content_block_delta")

    def stop() -> str:
        return event({"type": "content_block_stop", "index": block}, "content_block_stop")

    try:
        async for piece in answer.pieces():
            text, calls = shown.add(piece.text), list[Call]()
            if piece.completion is not None:
                rest, calls = shown.rest()
                text += rest
            if text or (piece.completion is not None and not calls and not opened):
                if not opened:
                    opened = True
                    yield start({"type": "text", "text": ""})
                yield delta({"type": "text_delta", "text": text})
            if piece.completion is not None:
                if opened:
                    yield stop()
                    block += 1
                for call in calls:
                    yield start(_use(call))
                    yield delta(
                        {
                            "type": "input_json_delta",
                            "partial_json": json.dumps(call.arguments, ensure_ascii=False),
                        }
                    )
                    yield stop()
                    block += 1
                yield event(
                    {
                        "type": "message_delta",
                        "delta": _stop(piece.completion, calls),
                        "usage": _usage(piece.completion),
                    },
                    "message_delta",
                )
    except ApiError as refusal:
        yield event(body_of("/v1/messages", refusal), "error")
        return
    yield event({"type": "message_stop"}, "message_stop")
