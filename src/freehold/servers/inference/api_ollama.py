"""Ollama's API: chat, generate, tags, show, ps, version. Streams are JSON lines; streaming is the default.

Source: Ollama's API reference, as the client package ``ollama`` writes and reads it. Names may end in
``:latest``, which is ignored. Embeddings have a file of their own.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from fastapi import APIRouter
from pydantic import Field
from pydantic_core import PydanticCustomError

from freehold.inference.interface import Completion
from freehold.inference.sampling import Sampling
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError, error_body
from freehold.servers.inference.api_keys import Key
from freehold.servers.inference.api_openai import answer_form_summary
from freehold.servers.inference.chat_request import ChatRequest, Message
from freehold.servers.inference.dependencies import RequestClient, Service
from freehold.servers.inference.openai_requests import SamplingFields, parse_tools
from freehold.servers.inference.service import Answer, Client, InferenceService
from freehold.servers.inference.streams import JSON_LINES, Stream
from freehold.servers.inference.tool_calls import JsonObject, ToolCall, ToolCallFilter
from freehold.servers.web.bodies import JsonRoute

router = APIRouter(prefix="/api", route_class=JsonRoute)


# -- what clients send ---------------------------------------------------------------------------


def _unknown_option(name: str) -> PydanticCustomError:
    return fields.invalid(f"{name[:40]!r} is not known")


class Options(SamplingFields):
    """How to answer. ``answer_form`` is here too, since Ollama's client sends no other unknown fields."""

    unknown = _unknown_option
    repeat_last_n: fields.RepeatLast = 64
    num_predict: fields.NumPredict = -1
    answer_form: fields.Flag = True
    # these are ignored: the server's options say how models are loaded
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
        """The engine's form, with the repeat penalty's window."""
        repeat_last = fields.MOST_INT32 if self.repeat_last_n < 0 else self.repeat_last_n
        repeat = self.repeat_penalty if repeat_last else 1.0
        return replace(super().sampling(number), repeat=repeat, repeat_last=repeat_last)


def _form(value: Any) -> JsonObject | str:
    if isinstance(value, str):
        if value not in ("", "json"):
            raise fields.invalid(f"must be json or a JSON schema, not {value[:40]!r}")
        return value
    return fields.schema_at(value)


def _keep_alive(value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise fields.invalid("must be a number of seconds or text such as 5m")
    return value


def _think(value: Any) -> bool | str:
    if not isinstance(value, bool | str):
        raise fields.invalid("must be true, false or text")
    return value


def _no_images(value: Any) -> None:
    if fields.list_at(value):
        raise fields.invalid("this model reads text only")


_FORM = {"anyOf": [{"enum": ["json"]}, {"type": "object"}]}
_WORD_OR_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string"}]}
KeepAlive = Annotated[float | str | None, fields.Check(_keep_alive, _WORD_OR_NUMBER)]


class GenerationFields(fields.Fields):
    """Fields of both chat and generate."""

    model: fields.Name
    stream: fields.Flag = True
    format: Annotated[JsonObject | str, fields.Check(_form, _FORM)] = ""
    options: Options = Options()
    keep_alive: KeepAlive = None
    think: Annotated[bool | str | None, fields.Check(_think, {"type": "boolean"})] = None
    answer_form: fields.Flag = True

    def with_options(self, chat: ChatRequest) -> ChatRequest:
        """The request with the options that both have."""
        return replace(
            chat,
            model=model_name(self.model),
            sampling=self.options.sampling(),
            stops=self.options.stop,
            answer_form=self.options.answer_form and self.answer_form,
            max_tokens=self.options.num_predict if self.options.num_predict > 0 else None,
            form=self.format or None,
        )


class ChatMessage(fields.Fields):
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: fields.Text = ""
    tool_calls: fields.Calls = ()
    tool_name: fields.Name = ""
    images: Annotated[None, fields.Check(_no_images, {"type": "array"})] = None
    thinking: fields.Text = ""

    def message(self) -> Message:
        """The message in the form of all APIs."""
        return Message(self.role, self.content, self.tool_calls)


class OllamaChatRequest(GenerationFields):
    """A chat."""

    messages: list[ChatMessage] = Field(default_factory=list, max_length=fields.MOST_MESSAGES)
    tools: fields.Tools = Field(default_factory=list)

    def chat_request(self) -> ChatRequest:
        """The request in the form of all APIs."""
        messages = [message.message() for message in self.messages]
        return self.with_options(ChatRequest(self.model, messages, tools=parse_tools(self.tools)))


class GenerateRequest(GenerationFields):
    """A prompt without a conversation. ``raw``: without the model's template."""

    prompt: fields.Text = ""
    system: fields.Text = ""
    raw: fields.Flag = False

    def chat_request(self) -> ChatRequest:
        """The request in the form of all APIs."""
        if self.raw:
            return self.with_options(ChatRequest(self.model, prompt=self.prompt))
        system = [Message("system", self.system)] if self.system else []
        return self.with_options(ChatRequest(self.model, [*system, Message("user", self.prompt)]))


class ShowRequest(fields.Loose):
    """A model's name."""

    model: fields.Name


def model_name(name: str) -> str:
    """A model's name here; Ollama's clients add a tag."""
    return name.removesuffix(":latest")


# -- what the server answers ---------------------------------------------------------------------


class Version(TypedDict):
    """The server's version."""

    version: str


class ModelDetails(TypedDict):
    """What a model is. ``parent_model``: the base of an adapter."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class ModelEntry(TypedDict):
    """A model in a list."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: ModelDetails


class ModelEntries(TypedDict):
    """The models that a key may use."""

    models: list[ModelEntry]


class LoadedModelEntry(ModelEntry):
    """A model in memory."""

    #: what of it lies on graphics cards, bytes
    size_vram: int


class LoadedModelEntries(TypedDict):
    """The models in memory that a key may use."""

    models: list[LoadedModelEntry]


class ShownModel(TypedDict):
    """All about a model. ``model_info``: keys of GGUF's kind, and ``freehold.answer_form``."""

    license: str
    template: str
    modelfile: str
    parameters: str
    details: ModelDetails
    model_info: JsonObject
    capabilities: list[str]
    modified_at: str


class CalledFunction(TypedDict):
    """A function that the model calls."""

    name: str
    arguments: JsonObject


class MessageToolCall(TypedDict):
    """A call in an answer."""

    function: CalledFunction


class AnswerMessage(TypedDict):
    """The message of an answer, or a piece of it."""

    role: Literal["assistant"]
    content: str
    tool_calls: NotRequired[list[MessageToolCall]]


class ChatText(TypedDict):
    """The answer to a chat, or a piece of it."""

    message: AnswerMessage


class GeneratedText(TypedDict):
    """The answer to a prompt, or a piece of it."""

    response: str


class Summary(TypedDict):
    """The end of an answer; durations are in nanoseconds."""

    done: Literal[True]
    done_reason: str
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int


#: The text and calls of an answer, or of a piece of it, as the route answers them.
AnswerShape = Callable[[str, list[ToolCall]], ChatText | GeneratedText]


def _chat_shape(text: str, calls: list[ToolCall]) -> ChatText:
    message: AnswerMessage = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in calls
        ]
    return {"message": message}


def _generate_shape(text: str, _: list[ToolCall]) -> GeneratedText:
    return {"response": text}


def _timestamp(seconds: float | None = None) -> str:
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _summary(completion: Completion) -> Summary:
    answering = max(completion.total_s - completion.first_token_s, 0.0)
    return {
        "done": True,
        "done_reason": "length" if completion.finish == "length" else "stop",
        "total_duration": int(completion.total_s * 1e9),
        "load_duration": 0,
        "prompt_eval_count": completion.prompt_tokens,
        "prompt_eval_duration": int(completion.first_token_s * 1e9),
        "eval_count": len(completion.tokens),
        "eval_duration": int(answering * 1e9),
    }


def _details(service: InferenceService, name: str, key: Key) -> ModelDetails:
    info, base = service.pool.model(name).info, service.pool.bases.get(name, "")
    return {
        "parent_model": base if key.may_use(base) else "",
        "format": info.format,
        "family": info.architecture,
        "families": [info.architecture],
        "parameter_size": f"{info.parameters / 1e6:.1f}M",
        "quantization_level": info.quantization,
    }


def _entry(service: InferenceService, name: str, key: Key) -> ModelEntry:
    model = service.pool.model(name)
    return {
        "name": name,
        "model": name,
        "modified_at": _timestamp(model.created),
        "size": model.info.size_bytes,
        "digest": model.digest,
        "details": _details(service, name, key),
    }


# -- routes ----------------------------------------------------------------------------------------


@router.get("/version", response_model=None)
def version() -> Version:
    """The server's version."""
    return {"version": importlib.metadata.version("freehold")}


@router.get("/tags", response_model=None)
async def list_models(service: Service, client: RequestClient) -> ModelEntries:
    """The models that the key may use."""
    names = [name for name in service.pool.names if client.key.may_use(name)]
    return {"models": [_entry(service, name, client.key) for name in names]}


@router.get("/ps", response_model=None)
async def list_loaded_models(service: Service, client: RequestClient) -> LoadedModelEntries:
    """The models in memory that the key may use."""
    names = [name for name in service.pool.loaded if client.key.may_use(name)]
    return {
        "models": [
            {**_entry(service, name, client.key), "size_vram": service.pool.card_bytes(name)}
            for name in names
        ]
    }


@router.post("/show", response_model=None)
async def show(body: ShowRequest, service: Service, client: RequestClient) -> ShownModel:
    """All about a model."""
    name = model_name(body.model)
    service.permit(client.key, name)
    model = service.pool.model(name)
    return {
        "license": model.info.licence,
        "template": model.info.chat_template or "",
        "modelfile": "",
        "parameters": "",
        "details": _details(service, name, client.key),
        "model_info": {
            "general.architecture": model.info.architecture,
            "general.parameter_count": model.info.parameters,
            "freehold.answer_form": answer_form_summary(service, name),
        },
        "capabilities": ["embedding"] if service.pool.embeds(name) else ["completion", "tools"],
        "modified_at": _timestamp(model.created),
    }


@router.post("/chat", response_model=None)
async def chat(
    body: OllamaChatRequest, service: Service, client: RequestClient
) -> dict[str, object] | Stream:
    """Answer a chat."""
    return await _answer(service, client, body, body.chat_request(), _chat_shape)


@router.post("/generate", response_model=None)
async def generate(
    body: GenerateRequest, service: Service, client: RequestClient
) -> dict[str, object] | Stream:
    """Answer a prompt."""
    return await _answer(service, client, body, body.chat_request(), _generate_shape)


async def _answer(
    service: InferenceService, client: Client, body: GenerationFields, chat: ChatRequest, shape: AnswerShape
) -> dict[str, object] | Stream:
    answer = await service.answer(client, chat)
    if body.stream:
        return Stream(answer, _lines(answer, chat, body.model, shape), JSON_LINES)
    completion = await answer.completion(client.is_disconnected)
    text, calls = chat.parts(completion.text)
    return {
        "model": body.model,
        "created_at": _timestamp(),
        **shape(text, calls),
        **_summary(completion),
    }


async def _lines(answer: Answer, chat: ChatRequest, model: str, shape: AnswerShape) -> AsyncGenerator[str]:
    def line(value: dict[str, object]) -> str:
        head = {"model": model, "created_at": _timestamp()}
        return json.dumps({**head, **value}, ensure_ascii=False) + "\n"

    visible = ToolCallFilter(calls=chat.may_call)
    try:
        async for piece in answer.pieces():
            text, calls = visible.add(piece.text), list[ToolCall]()
            if piece.completion is not None:
                rest, calls = visible.rest()
                text += rest
            if text or calls:
                yield line({**shape(text, calls), "done": False})
            if piece.completion is not None:
                yield line({**shape("", []), **_summary(piece.completion)})
    except ApiError as error:
        yield json.dumps(error_body("/api/chat", error)) + "\n"
