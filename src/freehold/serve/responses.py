"""OpenAI's Responses API, whole and streamed, with functions and bound answers. Nothing is kept: each request brings its whole conversation.

Source: OpenAI's API reference, as the client package ``openai`` writes and reads it. Fields that are not listed here are refused by name.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from freehold.engines.interface import Completion
from freehold.engines.sampling import Sampling
from freehold.serve.desk import Answer, Desk
from freehold.serve.dialogue import Call, Dialogue, Shown
from freehold.serve.openai import arguments_of, choice_of, event, text_of, tools_of
from freehold.serve.refusals import Refusal
from freehold.web.bodies import JsonRoute

_STATELESS = "this server keeps no conversations: send the whole of it as input"


class ResponsesRequest(BaseModel):
    """A request. ``store`` asks for what is not done here and is told so in the answer; fields that only steer OpenAI's own service are taken
    and change nothing."""

    model_config = ConfigDict(extra="forbid")
    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, Any] | None = None
    include: list[str] | None = None
    parallel_tool_calls: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    background: Literal[False] | None = None
    reasoning: dict[str, Any] | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    max_tool_calls: int | None = None
    answer_form: bool = True

    def dialogue(self) -> Dialogue:
        """What every API's request becomes. Raises Refusal."""
        if self.previous_response_id:
            raise Refusal(400, f"previous_response_id: {_STATELESS}")
        items = [{"role": "user", "content": self.input}] if isinstance(self.input, str) else self.input
        messages = [{"role": "system", "content": self.instructions}] if self.instructions else []
        for number, item in enumerate(items):
            _add(messages, item, number)
        if self.instructions and len(messages) > 1 and messages[1]["role"] == "system":  # templates take one
            messages[:2] = [
                {"role": "system", "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
            ]
        if not messages:
            raise Refusal(400, "input: it is empty")
        sampling = Sampling(self.temperature or 0.0, self.top_p or 1.0, seed=secrets.randbits(32))
        return Dialogue(
            self.model,
            messages,
            None,
            self.max_output_tokens,
            sampling,
            (),
            tools_of(self.tools),
            choice_of(self.tool_choice),
            self._form(),
            answer_form=self.answer_form,
        )

    def _form(self) -> dict[str, Any] | str | None:
        given = (self.text or {}).get("format") or {"type": "text"}
        kind = given.get("type") if isinstance(given, dict) else None
        if kind == "json_schema":
            if not isinstance(given.get("schema"), dict):
                raise Refusal(400, "text: format holds no schema")
            return given["schema"]
        if kind not in ("text", "json_object"):
            raise Refusal(
                400, f"text: the format's type {str(kind)[:40]!r} is none of text, json_object, json_schema"
            )
        return "json" if kind == "json_object" else None


def _add(messages: list[dict[str, Any]], item: dict[str, Any], number: int) -> None:
    """Append an item of the input to the messages. Raises Refusal."""
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind == "message":
        role = item.get("role")
        if role not in ("system", "developer", "user", "assistant"):
            raise Refusal(
                400, f"input.{number}.role: {str(role)[:40]!r} is none of system, developer, user, assistant"
            )
        content = item.get("content")
        if not isinstance(content, str | list):
            raise Refusal(400, f"input.{number}.content: it is neither text nor a list of parts")
        messages.append({"role": "system" if role == "developer" else role, "content": text_of(content)})
    elif kind == "function_call":
        call = {"id": str(item.get("call_id") or ""), "type": "function",
                "function": {"name": str(item.get("name") or ""), "arguments": arguments_of(str(item.get("arguments") or ""))}}  # fmt: skip
        if messages and messages[-1]["role"] == "assistant":
            messages[-1].setdefault("tool_calls", []).append(call)
        else:
            messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
    elif kind == "function_call_output":
        given = item.get("output")
        messages.append(
            {
                "role": "tool",
                "content": text_of(given if isinstance(given, list) else str(given)),
                "tool_call_id": str(item.get("call_id")),
            }
        )
    elif kind != "reasoning":  # what a reasoning model thought is not for others to read
        raise Refusal(
            400,
            f"input.{number}.type: {str(kind)[:40]!r} is none of message, function_call, function_call_output",
        )


def routes(desk: Desk) -> APIRouter:
    """All routes of this API."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/v1/responses")
    async def respond(body: ResponsesRequest, request: Request) -> Any:
        dialogue = body.dialogue()
        answer = await desk.answer(request.state.key, dialogue, request.is_disconnected)
        telling = Telling(body)
        if body.stream:
            return StreamingResponse(_events(answer, dialogue, telling), media_type="text/event-stream")
        done = await answer.whole(request.is_disconnected)
        text, calls = dialogue.parts(done.text)
        return telling.response(telling.items(text, calls, done), done)

    @router.get("/v1/responses/{number}")
    @router.delete("/v1/responses/{number}")
    async def kept(number: str) -> Any:
        raise Refusal(404, f"no response {number[:80]!r} is here: {_STATELESS}")

    return router


class Telling:
    """The forms of one response."""

    def __init__(self, body: ResponsesRequest):
        self.body, self.id, self.created = body, f"resp_{secrets.token_hex(16)}", int(time.time())
        self.message_id = f"msg_{secrets.token_hex(16)}"
        self._sequence = 0

    def response(
        self, items: list[dict[str, Any]], done: Completion | None, failure: Refusal | None = None
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
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None, "instructions": body.instructions, "metadata": body.metadata or {},
            "max_output_tokens": body.max_output_tokens, "parallel_tool_calls": True, "previous_response_id": None, "store": False,
            "temperature": body.temperature or 0.0, "top_p": body.top_p or 1.0, "text": body.text or {"format": {"type": "text"}},
            "tool_choice": body.tool_choice or "auto", "tools": body.tools or [], "truncation": "disabled", "user": body.user,
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


async def _events(answer: Answer, dialogue: Dialogue, telling: Telling) -> AsyncIterator[str]:
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
    except Refusal as refusal:
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
