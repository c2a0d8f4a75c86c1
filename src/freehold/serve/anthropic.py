"""Anthropic's API: messages, streamed or whole, and the count of their tokens.

Source: Anthropic's API reference, as the client package ``anthropic`` writes and reads it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from freehold.engines.interface import Completion
from freehold.engines.sampling import Sampling
from freehold.serve.desk import Answer, Desk
from freehold.serve.dialogue import Call, Dialogue, Shown, Tool
from freehold.serve.openai import event
from freehold.serve.refusals import Refusal, body_of


class Turn(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant"]
    content: str | list[dict[str, Any]]


class Counted(BaseModel):
    """What has a number of tokens."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[Turn] = Field(min_length=1)
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    answer_form: bool = True

    def dialogue(self) -> Dialogue:
        """What every API's request becomes. Raises Refusal."""
        if self.thinking and self.thinking.get("type") != "disabled":
            raise Refusal(400, "thinking: these models do not think apart from their answer; leave it out")
        messages: list[dict[str, Any]] = (
            [{"role": "system", "content": _text(self.system)}] if self.system else []
        )
        for turn in self.messages:
            messages += _messages(turn)
        tools = tuple(
            Tool(_name(one), str(one.get("description") or ""), one.get("input_schema") or {"type": "object"})
            for one in self.tools or []
        )
        choice = _choice(self.tool_choice)
        return Dialogue(self.model, messages, tools=tools, tool_choice=choice, answer_form=self.answer_form)


class MessagesRequest(Counted):
    """A message that is to be answered."""

    max_tokens: int = Field(ge=1)
    temperature: float = Field(0.0, ge=0, le=1)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    stop_sequences: list[str] | None = None
    stream: bool = False
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None

    def dialogue(self) -> Dialogue:
        """What every API's request becomes. Raises Refusal."""
        found = super().dialogue()
        if any(not stop for stop in self.stop_sequences or []):
            raise Refusal(400, "stop_sequences: one is empty")
        found.max_tokens, found.stops = self.max_tokens, tuple(self.stop_sequences or ())
        found.sampling = Sampling(self.temperature, self.top_p, self.top_k, seed=secrets.randbits(32))
        return found


def _name(tool: dict[str, Any]) -> str:
    if not isinstance(tool.get("name"), str) or tool.get("type", "custom") != "custom":
        raise Refusal(
            400,
            f"tools: one is of type {str(tool.get('type'))[:40]!r} or has no name; tools of your own are supported",
        )
    return tool["name"]


def _choice(given: dict[str, Any] | None) -> str:
    kind = (given or {}).get("type", "auto")
    words = {"auto": "auto", "any": "required", "none": "none"}
    if kind == "tool" and isinstance((given or {}).get("name"), str):
        return str((given or {})["name"])
    if kind not in words:
        raise Refusal(400, f"tool_choice: {str(kind)[:40]!r} is none of auto, any, tool, none")
    return words[kind]


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for block in content:
        if block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise Refusal(
                400,
                f"content: this model reads text only, and a block is of type {str(block.get('type'))[:40]!r}",
            )
    return "".join(block["text"] for block in content)


def _messages(turn: Turn) -> list[dict[str, Any]]:
    """A turn's blocks as messages in the form of OpenAI's API."""
    if isinstance(turn.content, str):
        return [{"role": turn.role, "content": turn.content}]
    results = [block for block in turn.content if block.get("type") == "tool_result"]
    calls = [block for block in turn.content if block.get("type") == "tool_use"]
    text = _text([block for block in turn.content if block.get("type") not in ("tool_result", "tool_use")])
    found = [
        {
            "role": "tool",
            "content": _text(block.get("content")),
            "tool_call_id": str(block.get("tool_use_id", "")),
        }
        for block in results
    ]
    if calls:
        told = [
            {
                "id": block.get("id", ""),
                "type": "function",
                "function": {"name": str(block.get("name")), "arguments": block.get("input") or {}},
            }
            for block in calls
        ]
        return [*found, {"role": turn.role, "content": text, "tool_calls": told}]
    return [*found, {"role": turn.role, "content": text}] if text or not found else found


def routes(desk: Desk) -> APIRouter:
    """All routes of this API."""
    router = APIRouter()

    @router.post("/v1/messages")
    async def messages(body: MessagesRequest, request: Request) -> Any:
        dialogue = body.dialogue()
        answer = await desk.answer(request.state.key, dialogue, request.is_disconnected)
        if body.stream:
            return StreamingResponse(_events(answer, dialogue), media_type="text/event-stream")
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


async def _events(answer: Answer, dialogue: Dialogue) -> AsyncIterator[str]:
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
    except Refusal as refusal:
        yield event(body_of("/v1/messages", refusal), "error")
        return
    yield event({"type": "message_stop"}, "message_stop")
