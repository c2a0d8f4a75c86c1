"""Ollama's API: chat, generate, tags, show, ps, version. Streams are lines of JSON, and streaming is what it does unless told otherwise.

Source: Ollama's API reference, as the client package ``ollama`` writes and reads it. Names may end in ``:latest``, which means nothing here.
Vectors have a file of their own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from freehold.engines.interface import Completion
from freehold.engines.sampling import Sampling
from freehold.serve.desk import Answer, Desk
from freehold.serve.dialogue import Call, Dialogue, Shown
from freehold.serve.openai import form_of, tools_of
from freehold.serve.refusals import Refusal, body_of

#: Options that change nothing here: how the model is loaded is the server's affair.
_LOADING = {
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "num_keep",
    "numa",
    "low_vram",
    "vocab_only",
    "use_mlock",
    "f16_kv",
}


class Told(BaseModel):
    """What chat and generate have in common."""

    model_config = ConfigDict(extra="forbid")
    model: str
    stream: bool = True
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    think: bool | str | None = None
    answer_form: bool = True

    def name(self) -> str:
        """The model's name."""
        return self.model.removesuffix(":latest")

    def filled(self, dialogue: Dialogue) -> Dialogue:
        """With the options. Raises Refusal for one that is not known, or of the wrong kind."""
        options = {
            key: value
            for key, value in (self.options or {}).items()
            if value is not None and key not in _LOADING
        }

        def number(key: str, default: float) -> float:
            value = options.pop(key, default)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Refusal(400, f"options: {key} is no number")
            return value

        predict, seed = int(number("num_predict", -1)), int(number("seed", secrets.randbits(32)))
        dialogue.sampling = Sampling(
            number("temperature", 0.0), number("top_p", 1.0), int(number("top_k", 0)), number("min_p", 0.0), seed % 2**63,
            number("presence_penalty", 0.0), number("frequency_penalty", 0.0), number("repeat_penalty", 1.0), int(number("repeat_last_n", 64)),
        )  # fmt: skip
        if (
            not 0 <= dialogue.sampling.temperature <= 2
            or not 0 < dialogue.sampling.top_p <= 1
            or dialogue.sampling.repeat <= 0
        ):
            raise Refusal(
                400, "options: temperature is from 0 to 2, top_p above 0 and up to 1, repeat_penalty above 0"
            )
        in_form = options.pop("answer_form", True)  # Ollama's client sends no fields but those it knows
        if not isinstance(in_form, bool):
            raise Refusal(400, "options: answer_form must be true or false")
        dialogue.answer_form = in_form and self.answer_form
        stops = options.pop("stop", [])
        dialogue.stops = tuple([stops] if isinstance(stops, str) else stops)
        dialogue.max_tokens = predict if predict > 0 else None
        if options:
            raise Refusal(400, f"options: {min(options)[:40]!r} is not known")
        if isinstance(self.format, dict):
            dialogue.form = self.format
        elif self.format:
            if self.format != "json":
                raise Refusal(400, f"format: {self.format[:40]!r} is neither json nor a schema")
            dialogue.form = "json"
        return dialogue


class Message(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="forbid")
    role: str
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_name: str | None = None
    images: list[Any] | None = None
    thinking: str | None = None

    def plain(self) -> dict[str, Any]:
        """As templates take it. Raises Refusal."""
        if self.images:
            raise Refusal(400, "images: this model reads text only")
        if self.role not in ("system", "user", "assistant", "tool"):
            raise Refusal(400, f"role: {self.role[:40]!r} is none of system, user, assistant, tool")
        found: dict[str, Any] = {"role": self.role, "content": self.content or ""}
        if self.tool_calls:
            found["tool_calls"] = [
                {"id": "", "type": "function", "function": call.get("function") or {}}
                for call in self.tool_calls
            ]
        return found


class ChatRequest(Told):
    """A chat."""

    messages: list[Message] = []
    tools: list[dict[str, Any]] | None = None


class GenerateRequest(Told):
    """A prompt by itself; ``raw``: without the model's template."""

    prompt: str = ""
    system: str | None = None
    raw: bool = False


class Named(BaseModel):
    """A model's name."""

    model: str


def routes(desk: Desk) -> APIRouter:
    """All routes of this API."""
    router = APIRouter(prefix="/api")

    def details(name: str) -> dict[str, Any]:
        card = desk.pool.model(name).card
        return {"parent_model": desk.pool.bases.get(name, ""), "format": card.format, "family": card.architecture, "families": [card.architecture],
                "parameter_size": f"{card.parameters / 1e6:.1f}M", "quantization_level": card.quantization}  # fmt: skip

    def entry(name: str) -> dict[str, Any]:
        model = desk.pool.model(name)
        return {
            "name": name,
            "model": name,
            "modified_at": _when(model.created),
            "size": model.card.size_bytes,
            "digest": model.digest,
            "details": details(name),
        }

    @router.get("/version")
    def version() -> dict[str, str]:
        import importlib.metadata

        return {"version": importlib.metadata.version("freehold")}

    @router.get("/tags")
    def tags(request: Request) -> dict[str, Any]:
        return {"models": [entry(name) for name in desk.pool.names if request.state.key.opens(name)]}

    @router.get("/ps")
    def running(request: Request) -> dict[str, Any]:
        return {"models": [entry(name) for name in desk.pool.loaded if request.state.key.opens(name)]}

    @router.post("/show")
    def show(body: Named, request: Request) -> dict[str, Any]:
        name = body.model.removesuffix(":latest")
        desk.permit(request.state.key, name)
        card = desk.pool.model(name).card
        return {"license": card.licence, "template": card.chat_template or "", "modelfile": "", "parameters": "", "details": details(name),
                "model_info": {"general.architecture": card.architecture, "general.parameter_count": card.parameters,
                               "freehold.answer_form": form_of(desk, name)},
                "capabilities": ["embedding"] if desk.pool.embeds(name) else ["completion", "tools"], "modified_at": _when(desk.pool.model(name).created)}  # fmt: skip

    async def answered(
        dialogue: Dialogue, body: Told, request: Request, shape: Callable[[str, list[Call]], dict[str, Any]]
    ) -> Any:
        answer = await desk.answer(request.state.key, body.filled(dialogue), request.is_disconnected)
        if body.stream:
            return StreamingResponse(
                _lines(answer, dialogue, body.model, shape), media_type="application/x-ndjson"
            )
        done = await answer.whole(request.is_disconnected)
        text, calls = dialogue.parts(done.text)
        return {"model": body.model, "created_at": _when(), **shape(text, calls), **_end(done)}

    @router.post("/chat")
    async def chat(body: ChatRequest, request: Request) -> Any:
        dialogue = Dialogue(
            body.name(), [message.plain() for message in body.messages], tools=tools_of(body.tools)
        )

        def shape(text: str, calls: list[Call]) -> dict[str, Any]:
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if calls:
                message["tool_calls"] = [
                    {"function": {"name": call.name, "arguments": call.arguments}} for call in calls
                ]
            return {"message": message}

        return await answered(dialogue, body, request, shape)

    @router.post("/generate")
    async def generate(body: GenerateRequest, request: Request) -> Any:
        system = [{"role": "system", "content": body.system}] if body.system else []
        dialogue = (
            Dialogue(body.name(), prompt=body.prompt)
            if body.raw
            else Dialogue(body.name(), [*system, {"role": "user", "content": body.prompt}])
        )
        return await answered(dialogue, body, request, lambda text, _: {"response": text})

    return router


def _when(seconds: float | None = None) -> str:
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _end(done: Completion) -> dict[str, Any]:
    answering = max(done.total_s - done.first_token_s, 0.0)
    return {"done": True, "done_reason": "length" if done.finish == "length" else "stop", "total_duration": int(done.total_s * 1e9), "load_duration": 0,
            "prompt_eval_count": done.prompt_tokens, "prompt_eval_duration": int(done.first_token_s * 1e9), "eval_count": len(done.tokens),
            "eval_duration": int(answering * 1e9)}  # fmt: skip


async def _lines(
    answer: Answer, dialogue: Dialogue, model: str, shape: Callable[[str, list[Call]], dict[str, Any]]
) -> AsyncIterator[str]:
    def line(value: dict[str, Any]) -> str:
        return json.dumps({"model": model, "created_at": _when(), **value}, ensure_ascii=False) + "\n"

    shown = Shown(calls=dialogue.calls)
    try:
        async for piece in answer.pieces():
            text, calls = shown.add(piece.text), list[Call]()
            if piece.completion is not None:
                rest, calls = shown.rest()
                text += rest
            if text or calls:
                yield line({**shape(text, calls), "done": False})
            if piece.completion is not None:
                yield line({**shape("", []), **_end(piece.completion)})
    except Refusal as refusal:
        yield json.dumps(body_of("/api/chat", refusal)) + "\n"
