"""OpenAI's API: chat completions, completions, models; and llama.cpp's tokenize. Responses and embeddings have files of their own.

Source: OpenAI's API reference, as the client package ``openai`` writes and reads it. Fields that are not listed here are refused by name.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.inference.interface import Completion, Tokenizer
from freehold.inference.sampling import Likelihood, Sampling
from freehold.inference.session import NO_FORM
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError, body_of
from freehold.servers.inference.api_keys import Key
from freehold.servers.inference.chat_request import Call, ChatRequest, Shown, Tool, split_calls
from freehold.servers.inference.model_pool import Served
from freehold.servers.inference.service import Answer, InferenceService
from freehold.servers.inference.streams import Stream
from freehold.servers.web.bodies import JsonRoute

#: Asks for the answer of a number, of several to one request.
Asked = Callable[[int], Awaitable[Answer]]


class StreamOptions(fields.Loose):
    """How a stream is sent."""

    include_usage: fields.Flag = False


class Drawn(fields.Fields):
    """How tokens are drawn, by the names of OpenAI's API, which are Ollama's too."""

    temperature: fields.Temperature = 0.0
    top_p: fields.TopP = 1.0
    top_k: fields.TopK = 0
    min_p: fields.MinP = 0.0
    repeat_penalty: fields.RepeatPenalty = 1.0
    presence_penalty: fields.Penalty = 0.0
    frequency_penalty: fields.Penalty = 0.0
    seed: fields.Seed | None = None
    stop: fields.StopSequences = ()

    def sampling(self, number: int = 0) -> Sampling:
        """The engine's form; ``number`` of several answers to one prompt."""
        seed = (self.seed if self.seed is not None else secrets.randbits(32)) + number
        return Sampling(
            self.temperature, self.top_p, self.top_k, self.min_p, seed % 2**63, self.presence_penalty, self.frequency_penalty,
            self.repeat_penalty,
        )  # fmt: skip


class Completing(Drawn):
    """What both forms of completions have in common."""

    model: fields.Name
    logit_bias: fields.LogitBias = ()
    stream: fields.Flag = False
    stream_options: StreamOptions = StreamOptions()
    n: fields.Answers = 1
    grammar: fields.Grammar | None = None
    user: fields.Text | None = None

    def sampling(self, number: int = 0) -> Sampling:
        """See :class:`Drawn`."""
        return replace(super().sampling(number), bias=self.logit_bias)


class ChatMessage(fields.Fields):
    """One message; content parts other than text are refused."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: fields.Content = ""
    name: fields.Name | None = None
    tool_calls: fields.Calls | None = None
    tool_call_id: fields.Name | None = None
    refusal: fields.Text | None = None

    def plain(self) -> dict[str, Any]:
        """As templates take it."""
        role = "system" if self.role == "developer" else self.role
        message: dict[str, Any] = {"role": role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        if self.tool_call_id:
            message["tool_call_id"] = self.tool_call_id
        return message


class JsonSchema(fields.Loose):
    """The schema that an answer keeps to, in its envelope."""

    body: fields.Schema = Field(alias="schema")


class ResponseFormat(fields.Loose):
    """What an answer keeps to."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None

    @property
    def form(self) -> dict[str, Any] | str | None:
        """See :class:`ChatRequest`. Raises Refusal."""
        if self.type == "json_schema":
            if self.json_schema is None:
                raise ApiError(400, "response_format.json_schema: it holds no schema")
            return self.json_schema.body
        return "json" if self.type == "json_object" else None


class ChatCompletionRequest(Completing):
    """A chat completion."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=fields.MOST_MESSAGES)
    max_tokens: fields.MaxTokens | None = None
    max_completion_tokens: fields.MaxTokens | None = None
    logprobs: fields.Flag = False
    top_logprobs: fields.TopLogprobs = 0
    response_format: ResponseFormat = ResponseFormat()
    tools: fields.Tools = Field(default_factory=list)
    tool_choice: fields.ToolChoice = "auto"
    parallel_tool_calls: fields.Flag | None = None
    store: fields.Flag | None = None
    metadata: fields.Object | None = None
    service_tier: fields.Text | None = None
    reasoning_effort: fields.Text | None = None
    answer_form: fields.Flag = True

    def dialogue(self, number: int = 0) -> ChatRequest:
        """What every API's request becomes. Raises Refusal."""
        form = self.response_format.form if self.grammar is None else f"gbnf:{self.grammar}"
        return ChatRequest(
            self.model, [message.plain() for message in self.messages], None, self.max_completion_tokens or self.max_tokens, self.sampling(number),
            self.stop, tools_of(self.tools), choice_of(self.tool_choice), form, self.top_logprobs if self.logprobs else None, self.answer_form,
        )  # fmt: skip


def tools_of(given: list[dict[str, Any]]) -> tuple[Tool, ...]:
    """Functions in either of OpenAI's forms, as :data:`fields.Tools` has checked them."""
    functions = [tool.get("function", tool) for tool in given]
    return tuple(
        Tool(
            function["name"],
            function.get("description") or "",
            function.get("parameters") or {"type": "object", "properties": {}},
        )
        for function in functions
    )


def choice_of(given: str | dict[str, Any]) -> str:
    """The tool choice as a word or a tool's name, as :data:`fields.ToolChoice` has checked it."""
    return given if isinstance(given, str) else given.get("function", given)["name"]


class CompletionRequest(Completing):
    """A completion of text or tokens."""

    prompt: fields.Prompts
    max_tokens: fields.MaxTokens = 16
    logprobs: fields.TopLogprobs | None = None
    echo: Literal[False] = False
    suffix: None = None
    best_of: fields.OneAnswer | None = None


class TokenizeRequest(fields.Fields):
    """Text to be cut into tokens."""

    model: fields.Name = ""
    content: fields.Text | None = None
    messages: list[ChatMessage] | None = Field(None, max_length=fields.MOST_MESSAGES)
    add_special: fields.Flag = False


class DetokenizeRequest(fields.Fields):
    """Tokens to be made text."""

    model: fields.Name = ""
    tokens: fields.TokenIds


def routes(desk: InferenceService) -> APIRouter:
    """All routes of this API."""
    router = APIRouter(route_class=JsonRoute)

    @router.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        key: Key = request.state.key
        rows = [
            {
                "id": name,
                "object": "model",
                "created": int(desk.pool.model(name).created),
                "owned_by": "freehold",
                "embeds": desk.pool.embeds(name),
                "answer_form": form_of(desk, name),
            }
            for name in desk.pool.names
            if key.opens(name)
        ]
        return {"object": "list", "data": rows}

    @router.get("/v1/models/{name:path}")
    async def model(name: str, request: Request) -> dict[str, Any]:
        found = next((one for one in (await models(request))["data"] if one["id"] == name), None)
        if found is None:
            raise ApiError(404, f"the model {name[:200]!r} is not served here", "model_not_found")
        return found

    @router.post("/v1/chat/completions")
    async def chat(body: ChatCompletionRequest, request: Request) -> Any:
        async def asked(number: int) -> Answer:
            return await desk.answer(request.state.key, body.dialogue(number), request.is_disconnected)

        answer = await asked(0)
        if body.stream:
            return Stream(answer, _chat_events(answer, asked, body), media_type="text/event-stream")
        done = [await answer.whole(request.is_disconnected)]
        for number in range(1, body.n):  # what the first has computed the others reuse
            done.append(await (await asked(number)).whole(request.is_disconnected))
        vocabulary = answer.served.engine.vocabulary
        choices = [_chat_choice(number, one, body, vocabulary) for number, one in enumerate(done)]
        return {**_head("chatcmpl", "chat.completion", body.model), "choices": choices, "usage": _usage(done)}

    @router.post("/v1/completions")
    async def complete(body: CompletionRequest, request: Request) -> Any:
        prompts = body.prompt
        if len(prompts) * body.n > 64:
            raise ApiError(400, "prompt: give 1 to 64 prompts")
        form = f"gbnf:{body.grammar}" if body.grammar is not None else None

        async def asked(number: int) -> Answer:
            prompt, sampling = prompts[number // body.n], body.sampling(number % body.n)
            dialogue = ChatRequest(body.model, prompt=prompt, max_tokens=body.max_tokens, sampling=sampling, stops=body.stop, form=form,
                                likelihoods=body.logprobs)  # fmt: skip
            return await desk.answer(request.state.key, dialogue, request.is_disconnected)

        if body.stream:
            first = await asked(0)
            events = _completion_events(first, asked, len(prompts) * body.n, body)
            return Stream(first, events, media_type="text/event-stream")
        choices: list[dict[str, Any]] = []
        done: list[Completion] = []
        for number in range(len(prompts) * body.n):
            answer = await asked(number)
            done.append(await answer.whole(request.is_disconnected))
            told = (
                _text_logprobs(done[-1], answer.served.engine.vocabulary)
                if body.logprobs is not None
                else None
            )
            choices.append(
                {"index": number, "text": done[-1].text, "logprobs": told, "finish_reason": _finish(done[-1])}
            )
        return {**_head("cmpl", "text_completion", body.model), "choices": choices, "usage": _usage(done)}

    @router.post("/tokenize")
    async def tokenize(body: TokenizeRequest, request: Request) -> dict[str, Any]:
        if (body.content is None) == (body.messages is None):
            raise ApiError(400, "give either content or messages")
        key: Key = request.state.key
        name = body.model or desk.first(key)

        def tokens_of(served: Served) -> list[int]:
            if body.content is not None:
                return served.prompting.text(body.content, start=body.add_special)
            return served.prompting.chat([message.plain() for message in body.messages or []])

        tokens = await desk.tokens(key, name, tokens_of, request.is_disconnected)
        return {"tokens": tokens, "count": len(tokens), "model": name}

    @router.post("/detokenize")
    async def detokenize(body: DetokenizeRequest, request: Request) -> dict[str, Any]:
        key: Key = request.state.key
        name = body.model or desk.first(key)
        return {"content": await desk.text(key, name, body.tokens, request.is_disconnected)}

    return router


def form_of(desk: InferenceService, name: str) -> dict[str, Any] | None:
    """What a model's answer form adds to a question, in numbers; None where it adds nothing."""
    form = desk.pool.forms[name]
    return None if form == NO_FORM else form.summary()


def event(value: Any, name: str = "") -> str:
    """A server-sent event."""
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _head(prefix: str, kind: str, model: str) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _finish(done: Completion) -> str:
    return "length" if done.finish == "length" else "stop"


def _usage(done: list[Completion]) -> dict[str, Any]:
    prompt, answer = sum(one.prompt_tokens for one in done), sum(len(one.tokens) for one in done)
    found: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer,
                             "prompt_tokens_details": {"cached_tokens": sum(one.reused for one in done)}}  # fmt: skip
    if all(one.joules is not None for one in done):
        found["energy_joules"] = round(sum(one.joules or 0.0 for one in done), 4)
    return found


def _calls(calls: list[Call]) -> list[dict[str, Any]]:
    return [
        {
            "index": at,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for at, call in enumerate(calls)
    ]


def _chat_choice(
    number: int, done: Completion, body: ChatCompletionRequest, vocabulary: Any
) -> dict[str, Any]:
    text, calls = split_calls(done.text) if body.tools and body.tool_choice != "none" else (done.text, [])
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not calls else None,
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = [
            {key: value for key, value in call.items() if key != "index"} for call in _calls(calls)
        ]
    told = (
        {"content": [_logprob(one, vocabulary) for one in done.likelihoods], "refusal": None}
        if body.logprobs
        else None
    )
    return {
        "index": number,
        "message": message,
        "logprobs": told,
        "finish_reason": "tool_calls" if calls else _finish(done),
    }


def _piece(token: int, vocabulary: Tokenizer) -> dict[str, Any]:
    data: bytes = vocabulary.piece(token)  # type: ignore[attr-defined]
    return {"token": data.decode("utf-8", "replace"), "bytes": list(data)}


def _logprob(one: Likelihood, vocabulary: Tokenizer) -> dict[str, Any]:
    top = [{**_piece(token, vocabulary), "logprob": value} for token, value in one.top]
    return {**_piece(one.token, vocabulary), "logprob": one.logprob, "top_logprobs": top}


def _text_logprobs(done: Completion, vocabulary: Tokenizer) -> dict[str, Any]:
    texts = [_piece(one.token, vocabulary)["token"] for one in done.likelihoods]
    offsets = list(itertools.accumulate(map(len, texts[:-1]), initial=0)) if texts else []
    top = [
        {_piece(token, vocabulary)["token"]: value for token, value in one.top} for one in done.likelihoods
    ]
    return {
        "tokens": texts,
        "token_logprobs": [one.logprob for one in done.likelihoods],
        "top_logprobs": top,
        "text_offset": offsets,
    }


async def _chat_events(answer: Answer, asked: Asked, body: ChatCompletionRequest) -> AsyncGenerator[str]:
    head, ended, number = _head("chatcmpl", "chat.completion.chunk", body.model), list[Completion](), 0

    def chunk(delta: dict[str, Any], finish: str | None = None, told: Any = None) -> str:
        return event(
            {
                **head,
                "choices": [{"index": number, "delta": delta, "logprobs": told, "finish_reason": finish}],
            }
        )

    try:
        for number in range(body.n):
            if number:
                answer = await asked(number)
            yield chunk({"role": "assistant", "content": ""})
            shown = Shown(calls=bool(body.tools) and body.tool_choice != "none")
            async for piece in answer.pieces():
                if text := shown.add(piece.text):
                    yield chunk({"content": text})
                if (done := piece.completion) is not None:
                    rest, calls = shown.rest()
                    if rest:
                        yield chunk({"content": rest})
                    if calls:
                        yield chunk({"tool_calls": _calls(calls)})
                    told = (
                        {
                            "content": [
                                _logprob(one, answer.served.engine.vocabulary) for one in done.likelihoods
                            ]
                        }
                        if body.logprobs
                        else None
                    )
                    yield chunk({}, "tool_calls" if calls else _finish(done), told)
                    ended.append(done)
        if body.stream_options.include_usage:
            yield event({**head, "choices": [], "usage": _usage(ended)})
    except ApiError as refusal:
        yield event(body_of("/v1/chat/completions", refusal))
    finally:
        await answer.close()
    yield "data: [DONE]\n\n"


async def _completion_events(
    answer: Answer, asked: Asked, count: int, body: CompletionRequest
) -> AsyncGenerator[str]:
    head, ended = _head("cmpl", "text_completion", body.model), list[Completion]()
    try:
        for number in range(count):
            if number:
                answer = await asked(number)
            async for piece in answer.pieces():
                done = piece.completion
                if piece.text or done is not None:
                    told = (
                        _text_logprobs(done, answer.served.engine.vocabulary)
                        if done is not None and body.logprobs is not None
                        else None
                    )
                    finish = _finish(done) if done is not None else None
                    yield event(
                        {
                            **head,
                            "choices": [
                                {
                                    "index": number,
                                    "text": piece.text,
                                    "logprobs": told,
                                    "finish_reason": finish,
                                }
                            ],
                        }
                    )
                if done is not None:
                    ended.append(done)
        if body.stream_options.include_usage:
            yield event({**head, "choices": [], "usage": _usage(ended)})
    except ApiError as refusal:
        yield event(body_of("/v1/completions", refusal))
    finally:
        await answer.close()
    yield "data: [DONE]\n\n"
