"""What OpenAI's chat and text completions answer.

Source: OpenAI's API reference, as the client package ``openai`` reads it; ``energy_joules`` is ours.
Types that end in ``Chunk`` or ``Delta`` are of streams.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Literal, NotRequired, Protocol, TypedDict

from freehold.inference.interface import Completion
from freehold.inference.sampling import Likelihood
from freehold.servers.inference.openai_requests import ChatCompletionRequest, CompletionRequest
from freehold.servers.inference.scheduler import Piece
from freehold.servers.inference.streams import server_sent_event
from freehold.servers.inference.tool_calls import ToolCall, ToolCallFilter, split_calls


class Vocabulary(Protocol):
    """The bytes of each token."""

    def piece(self, token: int) -> bytes:
        """Bytes of one token."""
        ...


class Head(TypedDict):
    """What all answers begin with. ``created``: seconds since 1970."""

    id: str
    object: str
    created: int
    model: str


class CachedTokens(TypedDict):
    """Tokens of prompts that had been computed before."""

    cached_tokens: int


class Usage(TypedDict):
    """Tokens and energy of all answers to one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    energy_joules: NotRequired[float]


class CalledFunction(TypedDict):
    """A function that the model calls. ``arguments``: JSON text."""

    name: str
    arguments: str


class MessageToolCall(TypedDict):
    """A call in a whole answer."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ToolCallDelta(TypedDict):
    """A call in a stream; it comes in one piece."""

    index: int
    id: str
    type: Literal["function"]
    function: CalledFunction


class AnswerMessage(TypedDict):
    """The message of a whole answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: NotRequired[list[MessageToolCall]]


class TopLogprob(TypedDict):
    """One of the likeliest tokens."""

    token: str
    bytes: list[int]
    logprob: float


class TokenLogprob(TypedDict):
    """A token of the answer, and the likeliest tokens in its place."""

    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: list[TopLogprob]


class ChatLogprobs(TypedDict):
    """Log-probabilities of an answer's tokens; ``refusal`` is in whole answers only."""

    content: list[TokenLogprob]
    refusal: NotRequired[None]


class ChatChoice(TypedDict):
    """One of several answers."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: str


class ChatCompletion(Head):
    """The answer to a chat."""

    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(TypedDict):
    """What is new in a chunk."""

    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]
    tool_calls: NotRequired[list[ToolCallDelta]]


class ChatChunkChoice(TypedDict):
    """A piece of one of several answers."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class TextLogprobs(TypedDict):
    """Log-probabilities of a text completion, by token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(TypedDict):
    """One of several texts, or a piece of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: str | None


class TextCompletion(Head):
    """The answer to prompts without messages."""

    choices: list[TextChoice]
    usage: Usage


def answer_head(prefix: str, kind: str, model: str) -> Head:
    """The head of a new answer."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def finish_reason(completion: Completion) -> str:
    """Why an answer without calls ended."""
    return "length" if completion.finish == "length" else "stop"


def usage_of(completions: Sequence[Completion]) -> Usage:
    """The usage of all answers to a request; energy only where it was counted for each."""
    prompt = sum(completion.prompt_tokens for completion in completions)
    answer = sum(len(completion.tokens) for completion in completions)
    usage: Usage = {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": sum(completion.reused for completion in completions)},
    }
    joules = [completion.joules for completion in completions if completion.joules is not None]
    if len(joules) == len(completions):
        usage["energy_joules"] = round(sum(joules, 0.0), 4)
    return usage


def _function(call: ToolCall) -> CalledFunction:
    return {"name": call.name, "arguments": call.arguments_text}


def _delta_call(index: int, call: ToolCall) -> ToolCallDelta:
    return {"index": index, "id": call.id, "type": "function", "function": _function(call)}


def chat_choice(
    index: int, completion: Completion, body: ChatCompletionRequest, vocabulary: Vocabulary
) -> ChatChoice:
    """One whole answer of a chat completion."""
    text, calls = split_calls(completion.text) if body.may_call else (completion.text, [])
    message: AnswerMessage = {
        "role": "assistant",
        "content": text if text or not calls else None,
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": _function(call)} for call in calls
        ]
    logprobs: ChatLogprobs | None = None
    if body.logprobs:
        logprobs = {"content": _token_logprobs(completion, vocabulary), "refusal": None}
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": "tool_calls" if calls else finish_reason(completion),
    }


def _token_logprobs(completion: Completion, vocabulary: Vocabulary) -> list[TokenLogprob]:
    return [_token_logprob(likelihood, vocabulary) for likelihood in completion.likelihoods]


def _token_logprob(likelihood: Likelihood, vocabulary: Vocabulary) -> TokenLogprob:
    data = vocabulary.piece(likelihood.token)
    return {
        "token": _shown(data),
        "bytes": list(data),
        "logprob": likelihood.logprob,
        "top_logprobs": [_top_logprob(token, value, vocabulary) for token, value in likelihood.top],
    }


def _top_logprob(token: int, logprob: float, vocabulary: Vocabulary) -> TopLogprob:
    data = vocabulary.piece(token)
    return {"token": _shown(data), "bytes": list(data), "logprob": logprob}


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def text_choice(
    index: int, text: str, completion: Completion | None, body: CompletionRequest, vocabulary: Vocabulary
) -> TextChoice:
    """A text completion or a piece of it; ``completion``: the whole answer, with its last piece."""
    logprobs = None
    if completion is not None and body.logprobs is not None:
        logprobs = _text_logprobs(completion, vocabulary)
    finish = None if completion is None else finish_reason(completion)
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _text_logprobs(completion: Completion, vocabulary: Vocabulary) -> TextLogprobs:
    likelihoods = completion.likelihoods
    texts = [_shown(vocabulary.piece(likelihood.token)) for likelihood in likelihoods]
    return {
        "tokens": texts,
        "token_logprobs": [likelihood.logprob for likelihood in likelihoods],
        "top_logprobs": [
            {_shown(vocabulary.piece(token)): value for token, value in likelihood.top}
            for likelihood in likelihoods
        ],
        "text_offset": list(itertools.accumulate(map(len, texts[:-1]), initial=0)) if texts else [],
    }


class ChatChunks:
    """The events of one answer of a streamed chat completion."""

    def __init__(self, head: Head, index: int, body: ChatCompletionRequest, vocabulary: Vocabulary):
        self.head, self.index, self.body, self.vocabulary = head, index, body, vocabulary
        self._filter = ToolCallFilter(calls=body.may_call)

    def begin(self) -> str:
        """The first event."""
        return self._event({"role": "assistant", "content": ""})

    def events(self, piece: Piece) -> Iterator[str]:
        """The events of a piece."""
        if text := self._filter.add(piece.text):
            yield self._event({"content": text})
        if piece.completion is None:
            return
        rest, calls = self._filter.rest()
        if rest:
            yield self._event({"content": rest})
        if calls:
            yield self._event({"tool_calls": [_delta_call(at, call) for at, call in enumerate(calls)]})
        logprobs: ChatLogprobs | None = None
        if self.body.logprobs:
            logprobs = {"content": _token_logprobs(piece.completion, self.vocabulary)}
        yield self._event({}, "tool_calls" if calls else finish_reason(piece.completion), logprobs)

    def _event(
        self, delta: ChatDelta, finish: str | None = None, logprobs: ChatLogprobs | None = None
    ) -> str:
        choice: ChatChunkChoice = {
            "index": self.index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish,
        }
        return server_sent_event({**self.head, "choices": [choice]})
