"""OpenAI's API: chat completions, completions, models; and llama.cpp's tokenize and detokenize.

The Responses API and embeddings have files of their own. Source: OpenAI's API reference.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal, TypedDict

from fastapi import APIRouter

from freehold.inference.interface import Completion
from freehold.inference.session import NO_FORM
from freehold.servers.inference.api_errors import ApiError, error_body
from freehold.servers.inference.chat_request import ChatRequest
from freehold.servers.inference.dependencies import RequestClient, Service
from freehold.servers.inference.model_pool import LeasedModel
from freehold.servers.inference.openai_answers import (
    ChatChunks,
    ChatCompletion,
    TextCompletion,
    answer_head,
    chat_choice,
    text_choice,
    usage_of,
)
from freehold.servers.inference.openai_requests import (
    ChatCompletionRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeRequest,
)
from freehold.servers.inference.service import Answer, Client, InferenceService
from freehold.servers.inference.streams import Stream, server_sent_event
from freehold.servers.inference.tool_calls import JsonObject
from freehold.servers.web.bodies import JsonRoute

_DONE = "data: [DONE]\n\n"
#: The most texts that one request for completions may ask for.
MOST_COMPLETIONS = 64
#: Begins the answer of a number, where a request asks for several.
BeginAnswer = Callable[[int], Awaitable[Answer]]
router = APIRouter(route_class=JsonRoute)


class ServedModel(TypedDict):
    """A model in the list of models. ``embeds`` and ``answer_form`` are ours."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    embeds: bool
    answer_form: JsonObject | None


class ModelList(TypedDict):
    """The models that a key may use."""

    object: Literal["list"]
    data: list[ServedModel]


class Tokens(TypedDict):
    """The tokens of a text or of messages."""

    tokens: list[int]
    count: int
    model: str


class TokenText(TypedDict):
    """The text of tokens."""

    content: str


def answer_form_summary(service: InferenceService, name: str) -> JsonObject | None:
    """What a model's answer form adds to a question, in numbers; None where it adds nothing."""
    form = service.pool.forms[name]
    return None if form == NO_FORM else form.summary()


def _served_model(service: InferenceService, name: str) -> ServedModel:
    return {
        "id": name,
        "object": "model",
        "created": int(service.pool.model(name).created),
        "owned_by": "freehold",
        "embeds": service.pool.embeds(name),
        "answer_form": answer_form_summary(service, name),
    }


@router.get("/v1/models", response_model=None)
async def list_models(service: Service, client: RequestClient) -> ModelList:
    """The models that the key may use."""
    names = [name for name in service.pool.names if client.key.may_use(name)]
    return {"object": "list", "data": [_served_model(service, name) for name in names]}


@router.get("/v1/models/{name:path}", response_model=None)
async def get_model(name: str, service: Service, client: RequestClient) -> ServedModel:
    """One model; a model of other keys is as unknown as one that does not exist."""
    if name not in service.pool.names or not client.key.may_use(name):
        raise ApiError(404, f"the model {name[:200]!r} is not served here", "model_not_found")
    return _served_model(service, name)


def _begin(
    service: InferenceService, client: Client, request_of: Callable[[int], ChatRequest]
) -> BeginAnswer:
    async def begin(number: int) -> Answer:
        return await service.answer(client, request_of(number))

    return begin


@router.post("/v1/chat/completions", response_model=None)
async def create_chat_completion(
    body: ChatCompletionRequest, service: Service, client: RequestClient
) -> ChatCompletion | Stream:
    """Answer a chat, ``n`` times; the later answers reuse what the first has computed of the prompt."""
    begin = _begin(service, client, body.chat_request)
    answer = await begin(0)
    if body.stream:
        return Stream(answer, _chat_events(answer, begin, body))
    completions = [await answer.completion(client.is_disconnected)]
    for number in range(1, body.n):
        completions.append(await (await begin(number)).completion(client.is_disconnected))
    vocabulary = answer.leased.engine.vocabulary
    return {
        **answer_head("chatcmpl", "chat.completion", body.model),
        "choices": [
            chat_choice(number, completion, body, vocabulary) for number, completion in enumerate(completions)
        ],
        "usage": usage_of(completions),
    }


@router.post("/v1/completions", response_model=None)
async def create_completion(
    body: CompletionRequest, service: Service, client: RequestClient
) -> TextCompletion | Stream:
    """Continue each prompt, ``n`` times."""
    if body.count > MOST_COMPLETIONS:
        raise ApiError(400, f"prompt: give 1 to {MOST_COMPLETIONS} prompts")
    begin = _begin(service, client, body.chat_request)
    if body.stream:
        answer = await begin(0)
        return Stream(answer, _text_events(answer, begin, body))
    completion: TextCompletion = {
        **answer_head("cmpl", "text_completion", body.model),
        "choices": [],
        "usage": usage_of([]),
    }
    completions: list[Completion] = []
    for number in range(body.count):
        answer = await begin(number)
        whole = await answer.completion(client.is_disconnected)
        choice = text_choice(number, whole.text, whole, body, answer.leased.engine.vocabulary)
        completion["choices"].append(choice)
        completions.append(whole)
    completion["usage"] = usage_of(completions)
    return completion


async def _chat_events(
    answer: Answer, begin: BeginAnswer, body: ChatCompletionRequest
) -> AsyncGenerator[str]:
    head = answer_head("chatcmpl", "chat.completion.chunk", body.model)
    completions: list[Completion] = []
    try:
        for number in range(body.n):
            if number:
                answer = await begin(number)
            chunks = ChatChunks(head, number, body, answer.leased.engine.vocabulary)
            yield chunks.begin()
            async for piece in answer.pieces():
                for event in chunks.events(piece):
                    yield event
                if piece.completion is not None:
                    completions.append(piece.completion)
        if body.stream_options.include_usage:
            yield server_sent_event({**head, "choices": [], "usage": usage_of(completions)})
    except ApiError as error:
        yield server_sent_event(error_body("/v1/chat/completions", error))
    finally:
        await answer.close()
    yield _DONE


async def _text_events(answer: Answer, begin: BeginAnswer, body: CompletionRequest) -> AsyncGenerator[str]:
    head = answer_head("cmpl", "text_completion", body.model)
    completions: list[Completion] = []
    try:
        for number in range(body.count):
            if number:
                answer = await begin(number)
            vocabulary = answer.leased.engine.vocabulary
            async for piece in answer.pieces():
                if piece.text or piece.completion is not None:
                    choice = text_choice(number, piece.text, piece.completion, body, vocabulary)
                    yield server_sent_event({**head, "choices": [choice]})
                if piece.completion is not None:
                    completions.append(piece.completion)
        if body.stream_options.include_usage:
            yield server_sent_event({**head, "choices": [], "usage": usage_of(completions)})
    except ApiError as error:
        yield server_sent_event(error_body("/v1/completions", error))
    finally:
        await answer.close()
    yield _DONE


@router.post("/tokenize", response_model=None)
async def tokenize(body: TokenizeRequest, service: Service, client: RequestClient) -> Tokens:
    """The tokens of a text, or of messages in the model's template."""
    if (body.content is None) == (body.messages is None):
        raise ApiError(400, "give either content or messages")
    name = body.model or service.default_model(client.key)

    def tokens_of(leased: LeasedModel) -> list[int]:
        if body.content is not None:
            return leased.encoder.text(body.content, start=body.add_special)
        return leased.encoder.chat([entry.message().for_template() for entry in body.messages or []])

    tokens = await service.tokens(client, name, tokens_of)
    return {"tokens": tokens, "count": len(tokens), "model": name}


@router.post("/detokenize", response_model=None)
async def detokenize(body: DetokenizeRequest, service: Service, client: RequestClient) -> TokenText:
    """The text of tokens."""
    name = body.model or service.default_model(client.key)
    return {"content": await service.text(client, name, body.tokens)}
