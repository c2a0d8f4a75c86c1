"""What clients send to OpenAI's chat and text completions, and to llama.cpp's tokenize.

Source: OpenAI's API reference, as the client package ``openai`` writes it. Unknown fields are errors.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from pydantic import Field

from freehold.inference.sampling import Sampling
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.chat_request import ChatRequest, Message
from freehold.servers.inference.tool_calls import JsonObject, Tool


class StreamOptions(fields.Loose):
    """How a stream is sent."""

    include_usage: fields.Flag = False


class SamplingFields(fields.Fields):
    """How tokens are drawn, by the names of OpenAI's API, which Ollama's API uses too."""

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
        """The engine's form. ``number``: of several answers to one prompt."""
        seed = (self.seed if self.seed is not None else secrets.randbits(32)) + number
        return Sampling(
            self.temperature,
            self.top_p,
            self.top_k,
            self.min_p,
            seed % 2**63,
            self.presence_penalty,
            self.frequency_penalty,
            self.repeat_penalty,
        )


class CompletionFields(SamplingFields):
    """Fields of both chat and text completions."""

    model: fields.Name
    logit_bias: fields.LogitBias = ()
    stream: fields.Flag = False
    stream_options: StreamOptions = StreamOptions()
    n: fields.Answers = 1
    grammar: fields.Grammar | None = None
    user: fields.Text | None = None

    def sampling(self, number: int = 0) -> Sampling:
        """The engine's form, with the bias of tokens. ``number``: of several answers to one prompt."""
        return replace(super().sampling(number), bias=self.logit_bias)

    @property
    def grammar_form(self) -> str | None:
        """The grammar as a form of :class:`ChatRequest`."""
        return None if self.grammar is None else f"gbnf:{self.grammar}"


class ChatMessage(fields.Fields):
    """One message; content parts other than text are errors."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: fields.Content = ""
    name: fields.Name | None = None
    tool_calls: fields.Calls | None = None
    tool_call_id: fields.Name | None = None
    refusal: fields.Text | None = None

    def message(self) -> Message:
        """The message in the form of all APIs."""
        role = "system" if self.role == "developer" else self.role
        return Message(role, self.content, self.tool_calls or (), self.tool_call_id or None)


class JsonSchema(fields.Loose):
    """The envelope of the schema that an answer must follow."""

    body: fields.Schema = Field(alias="schema")


class ResponseFormat(fields.Loose):
    """The format of the answer."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None

    @property
    def form(self) -> JsonObject | str | None:
        """The form of :class:`ChatRequest`. Raises ApiError."""
        if self.type == "json_schema":
            if self.json_schema is None:
                raise ApiError(400, "response_format.json_schema: the schema is missing")
            return self.json_schema.body
        return "json" if self.type == "json_object" else None


class ChatCompletionRequest(CompletionFields):
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

    @property
    def may_call(self) -> bool:
        """Whether the answer may call functions."""
        return bool(self.tools) and self.tool_choice != "none"

    def chat_request(self, number: int = 0) -> ChatRequest:
        """The request for answer ``number`` of several. Raises ApiError."""
        return ChatRequest(
            self.model,
            [message.message() for message in self.messages],
            max_tokens=self.max_completion_tokens or self.max_tokens,
            sampling=self.sampling(number),
            stops=self.stop,
            tools=parse_tools(self.tools),
            tool_choice=parse_tool_choice(self.tool_choice),
            form=self.response_format.form if self.grammar is None else self.grammar_form,
            likelihoods=self.top_logprobs if self.logprobs else None,
            answer_form=self.answer_form,
        )


def parse_tools(tools: Iterable[JsonObject]) -> tuple[Tool, ...]:
    """Functions as OpenAI's APIs write them; :data:`fields.Tools` has checked them."""
    return tuple(_tool(tool.get("function", tool)) for tool in tools)


def _tool(function: JsonObject) -> Tool:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(function["name"], function.get("description") or "", parameters)


def parse_tool_choice(choice: str | JsonObject) -> str:
    """The tool choice as a word or a tool's name; :data:`fields.ToolChoice` has checked it."""
    return choice if isinstance(choice, str) else choice.get("function", choice)["name"]


class CompletionRequest(CompletionFields):
    """A completion of text or tokens."""

    prompt: fields.Prompts
    max_tokens: fields.MaxTokens = 16
    logprobs: fields.TopLogprobs | None = None
    echo: Literal[False] = False
    suffix: None = None
    best_of: fields.OneAnswer | None = None

    @property
    def count(self) -> int:
        """How many answers there are, of all prompts."""
        return len(self.prompt) * self.n

    def chat_request(self, number: int) -> ChatRequest:
        """The request for answer ``number``; each prompt has ``n`` answers."""
        return ChatRequest(
            self.model,
            prompt=self.prompt[number // self.n],
            max_tokens=self.max_tokens,
            sampling=self.sampling(number % self.n),
            stops=self.stop,
            form=self.grammar_form,
            likelihoods=self.logprobs,
        )


class TokenizeRequest(fields.Fields):
    """Text or messages to turn into tokens."""

    model: fields.Name = ""
    content: fields.Text | None = None
    messages: list[ChatMessage] | None = Field(None, max_length=fields.MOST_MESSAGES)
    add_special: fields.Flag = False


class DetokenizeRequest(fields.Fields):
    """Tokens to turn into text."""

    model: fields.Name = ""
    tokens: fields.TokenIds
