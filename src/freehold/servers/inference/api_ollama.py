"""Ollama's API: chat, generate, tags, show, ps, version. Streams are lines of JSON, and streaming is what it does unless told otherwise.

Source: Ollama's API reference, as the client package ``ollama`` writes and reads it. Names may end in ``:latest``, which means nothing here.
Vectors have a file of their own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from pydantic_core import PydanticCustomError

from freehold.inference.interface import Completion
from freehold.inference.sampling import Sampling
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError, body_of
from freehold.servers.inference.api_keys import Key
from freehold.servers.inference.api_openai import Drawn, form_of, tools_of
from freehold.servers.inference.chat_request import Call, ChatRequest, Shown
from freehold.servers.inference.service import Answer, InferenceService
from freehold.servers.inference.streams import Stream
from freehold.servers.web.bodies import JsonRoute


def _unknown(name: str) -> PydanticCustomError:
    return fields.fault(f"{name[:40]!r} is not known")


class Options(Drawn):
    """How to answer. Ollama's client sends no fields beside it but those it knows, so ``answer_form`` is here too."""

    unknown = _unknown
    repeat_last_n: fields.RepeatLast = 64
    num_predict: fields.NumPredict = -1
    answer_form: fields.Flag = True
    # these change nothing: how a model is loaded is the server's affair
    num_ctx: Any = None
    num_batch: Any = None
    num_gpu: Any = None
    main_gpu: Any = None
    use_mmap: Any = None
    num_thread: Any = None
    num_keep: Any = None
    numa: Any = None
    low_vram: Any = None
    vocab_only: Any = None
    use_mlock: Any = None
    f16_kv: Any = None

    def sampling(self, number: int = 0) -> Sampling:
        """See :class:`Drawn`."""
        looks_back = fields.MOST_INT32 if self.repeat_last_n < 0 else self.repeat_last_n
        repeat = self.repeat_penalty if looks_back else 1.0
        return replace(super().sampling(number), repeat=repeat, repeat_last=looks_back)


def _form(value: Any) -> dict[str, Any] | str:
    if isinstance(value, str):
        if value not in ("", "json"):
            raise fields.fault(f"{value[:40]!r} is neither json nor a schema")
        return value
    return fields.schema_at(value)


def _keep_alive(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise fields.fault("must be a number of seconds or text such as 5m")
    return value


def _think(value: Any) -> bool | str:
    if not isinstance(value, bool | str):
        raise fields.fault("must be true, false or text")
    return value


def _no_images(value: Any) -> None:
    if fields.list_at(value):
        raise fields.fault("this model reads text only")


_WORD_OR_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string"}]}
KeepAlive = Annotated[float | str | None, fields.Check(_keep_alive, _WORD_OR_NUMBER)]


class Told(fields.Fields):
    """What chat and generate have in common."""

    model: fields.Name
    stream: fields.Flag = True
    format: Annotated[
        dict[str, Any] | str, fields.Check(_form, {"anyOf": [{"enum": ["json"]}, {"type": "object"}]})
    ] = ""
    options: Options = Options()
    keep_alive: KeepAlive = None
    think: Annotated[bool | str | None, fields.Check(_think, {"type": "boolean"})] = None
    answer_form: fields.Flag = True

    def name(self) -> str:
        """The model's name."""
        return self.model.removesuffix(":latest")

    def filled(self, dialogue: ChatRequest) -> ChatRequest:
        """With the options."""
        options = self.options
        dialogue.sampling, dialogue.stops = options.sampling(), options.stop
        dialogue.answer_form = options.answer_form and self.answer_form
        dialogue.max_tokens = options.num_predict if options.num_predict > 0 else None
        dialogue.form = self.format or None
        return dialogue


class Message(fields.Fields):
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: fields.Text = ""
    tool_calls: fields.Calls = Field(default_factory=list)
    tool_name: fields.Name = ""
    images: Annotated[None, fields.Check(_no_images, {"type": "array"})] = None
    thinking: fields.Text = ""

    def plain(self) -> dict[str, Any]:
        """As templates take it."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message


class OllamaChatRequest(Told):
    """A chat."""

    messages: list[Message] = Field(default_factory=list, max_length=fields.MOST_MESSAGES)
    tools: fields.Tools = Field(default_factory=list)


class GenerateRequest(Told):
    """A prompt by itself; ``raw``: without the model's template."""

    prompt: fields.Text = ""
    system: fields.Text = ""
    raw: fields.Flag = False


class Named(fields.Loose):
    """A model's name."""

    model: fields.Name


def routes(desk: InferenceService) -> APIRouter:
    """All routes of this API."""
    router = APIRouter(prefix="/api", route_class=JsonRoute)

    def details(name: str, key: Key) -> dict[str, Any]:
        card, base = desk.pool.model(name).info, desk.pool.bases.get(name, "")
        return {"parent_model": base if key.opens(base) else "", "format": card.format, "family": card.architecture, "families": [card.architecture],
                "parameter_size": f"{card.parameters / 1e6:.1f}M", "quantization_level": card.quantization}  # fmt: skip

    def entry(name: str, key: Key) -> dict[str, Any]:
        model = desk.pool.model(name)
        return {
            "name": name,
            "model": name,
            "modified_at": _when(model.created),
            "size": model.info.size_bytes,
            "digest": model.digest,
            "details": details(name, key),
        }

    @router.get("/version")
    def version() -> dict[str, str]:
        import importlib.metadata

        return {"version": importlib.metadata.version("freehold")}

    @router.get("/tags")
    def tags(request: Request) -> dict[str, Any]:
        key: Key = request.state.key
        return {"models": [entry(name, key) for name in desk.pool.names if key.opens(name)]}

    @router.get("/ps")
    def running(request: Request) -> dict[str, Any]:
        key: Key = request.state.key
        return {"models": [entry(name, key) for name in desk.pool.loaded if key.opens(name)]}

    @router.post("/show")
    def show(body: Named, request: Request) -> dict[str, Any]:
        name = body.model.removesuffix(":latest")
        desk.permit(request.state.key, name)
        card = desk.pool.model(name).info
        return {"license": card.licence, "template": card.chat_template or "", "modelfile": "", "parameters": "", "details": details(name, request.state.key),
                "model_info": {"general.architecture": card.architecture, "general.parameter_count": card.parameters,
                               "freehold.answer_form": form_of(desk, name)},
                "capabilities": ["embedding"] if desk.pool.embeds(name) else ["completion", "tools"], "modified_at": _when(desk.pool.model(name).created)}  # fmt: skip

    async def answered(
        dialogue: ChatRequest,
        body: Told,
        request: Request,
        shape: Callable[[str, list[Call]], dict[str, Any]],
    ) -> Any:
        answer = await desk.answer(request.state.key, body.filled(dialogue), request.is_disconnected)
        if body.stream:
            return Stream(
                answer, _lines(answer, dialogue, body.model, shape), media_type="application/x-ndjson"
            )
        done = await answer.whole(request.is_disconnected)
        text, calls = dialogue.parts(done.text)
        return {"model": body.model, "created_at": _when(), **shape(text, calls), **_end(done)}

    @router.post("/chat")
    async def chat(body: OllamaChatRequest, request: Request) -> Any:
        dialogue = ChatRequest(
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
            ChatRequest(body.name(), prompt=body.prompt)
            if body.raw
            else ChatRequest(body.name(), [*system, {"role": "user", "content": body.prompt}])
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
    answer: Answer, dialogue: ChatRequest, model: str, shape: Callable[[str, list[Call]], dict[str, Any]]
) -> AsyncGenerator[str]:
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
    except ApiError as refusal:
        yield json.dumps(body_of("/api/chat", refusal)) + "\n"
