"""What a client asks, whichever API it speaks, and how that becomes a request to an engine.

Functions that a model may call are described in its template's own form, or in a system message where the
template has none; ``tool_calls.py`` holds their types and reads the calls in an answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from freehold.inference.grammar import Source
from freehold.inference.interface import Choices, PromptEncoder
from freehold.inference.prompt_encoder import USUAL
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from freehold.models.answer_form import AnswerForm
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.tool_calls import CLOSE, OPEN, JsonObject, Tool, ToolCall, split_calls


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    #: system, user, assistant or tool
    role: str
    content: str = ""
    #: functions that the assistant called in this message
    calls: tuple[ToolCall, ...] = ()
    #: id of the call whose result this message of a tool is; None where the API has no such ids
    call_id: str | None = None

    def for_template(self) -> JsonObject:
        """In the form of OpenAI's API, which chat templates take."""
        message: JsonObject = {"role": self.role, "content": self.content}
        if self.calls:
            message["tool_calls"] = [call.for_template() for call in self.calls]
        if self.call_id is not None:
            message["tool_call_id"] = self.call_id
        return message


@dataclass(frozen=True)
class ChatRequest:
    """A request for an answer, from any API."""

    model: str
    messages: Sequence[Message] = ()
    #: text or tokens that the model continues, instead of messages
    prompt: str | Sequence[int] | None = None
    #: longest answer in tokens; None for the model's usual one
    max_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    #: texts that end the answer
    stops: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    #: auto, none, required, or a tool's name
    tool_choice: str = "auto"
    #: a JSON schema, or "json" for any object, or "gbnf:..." for a grammar
    form: JsonObject | str | None = None
    #: how many of the likeliest tokens to report beside each token; None for no report
    likelihoods: int | None = None
    #: whether the answer form in which the model was measured may be used; :meth:`uses_form` says when it is
    answer_form: bool = True

    def uses_form(self, form: AnswerForm) -> bool:
        """Whether this is a question like those the model was measured with: no functions, no other
        turns.
        """
        if not self.answer_form or self.prompt is not None or self.may_call:
            return False
        return form.asks([message.role for message in self.messages])

    @property
    def may_call(self) -> bool:
        """Whether an answer may call functions."""
        return bool(self.tools) and self.tool_choice != "none"

    def parts(self, text: str) -> tuple[str, list[ToolCall]]:
        """An answer's text without its calls, and the calls."""
        return split_calls(text) if self.may_call else (text, [])


def prompt_tokens(chat: ChatRequest, encoder: PromptEncoder, form: AnswerForm) -> list[int]:
    """The prompt's tokens. ``form``: how the model was asked when it was measured.

    Raises ApiError, Unsupported.
    """
    if chat.prompt is not None:
        return encoder.text(chat.prompt, start=True) if isinstance(chat.prompt, str) else list(chat.prompt)
    if not chat.messages:
        raise ApiError(400, "messages is empty: send at least one message")
    messages = _with_form(chat, form)
    if encoder.template.takes_tools:
        tools = [tool.for_template() for tool in chat.tools] if chat.may_call else []
        return encoder.chat([message.for_template() for message in messages], tools)
    if chat.may_call or any(message.role == "tool" or message.calls for message in messages):
        messages = _without_tool_roles(messages, chat.tools if chat.may_call else ())
    return encoder.chat([message.for_template() for message in messages])


def _with_form(chat: ChatRequest, form: AnswerForm) -> list[Message]:
    """The messages with the form's system message where they have none, and its worked examples first."""
    messages = list(chat.messages)
    if not chat.answer_form:
        return messages
    if form.system and messages[0].role != "system":
        messages.insert(0, Message("system", form.system))
    if chat.uses_form(form):
        start = int(messages[0].role == "system")
        messages[start:start] = [Message(role, text) for role, text in form.shown]
    return messages


def _without_tool_roles(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Messages for a template without functions: they go into the system message; calls and results
    become text.
    """
    texts = [_as_text(message) for message in messages]
    if tools:
        description = _description(tools)
        if texts[0].role == "system":
            texts[0] = Message("system", f"{texts[0].content}\n\n{description}")
        else:
            texts.insert(0, Message("system", description))
    return _merged(texts)


def _as_text(message: Message) -> Message:
    if message.role == "tool":
        return Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
    if message.calls:
        calls = "\n".join(call.as_text() for call in message.calls)
        return Message("assistant", f"{message.content}\n{calls}".strip())
    return message


def _description(tools: Sequence[Tool]) -> str:
    functions = "\n".join(json.dumps(tool.function, ensure_ascii=False) for tool in tools)
    return (
        "You can call these functions, each given as JSON:\n"
        f"{functions}\nTo call one, answer with\n"
        f'{OPEN}\n{{"name": the function\'s name, "arguments": an object}}\n{CLOSE}'
    )


def _merged(messages: Sequence[Message]) -> list[Message]:
    """Messages with user messages that follow each other, as several results do, joined into one."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role == "user":
            merged[-1] = Message("user", f"{merged[-1].content}\n{message.content}")
        else:
            merged.append(message)
    return merged


def answer_grammar(chat: ChatRequest, form: AnswerForm) -> Source | None:
    """What the answer must follow besides labels, not compiled yet; None for nothing. Raises UsageError,
    ApiError.
    """
    if chat.may_call and chat.tool_choice not in ("auto", "none"):
        return _call_grammar(chat)
    if chat.form is None:
        bound = form.schema and chat.uses_form(form)
        return Source.of_schema(json.loads(form.schema)) if bound else None
    if isinstance(chat.form, dict):
        return Source.of_schema(chat.form)
    if chat.form.startswith("gbnf:"):
        return Source("gbnf", chat.form.removeprefix("gbnf:"))
    return Source.any_json()


def _call_grammar(chat: ChatRequest) -> Source:
    """The form of one call of a tool that the request allows. Raises ApiError where it names another."""
    tools = [tool for tool in chat.tools if chat.tool_choice in ("required", tool.name)]
    if not tools:
        raise ApiError(400, f"tool_choice names {chat.tool_choice!r}, which is none of the tools")
    calls = [_call_schema(tool) for tool in tools]
    return Source.of_schema(calls[0] if len(calls) == 1 else {"anyOf": calls}, f"{OPEN}\n", f"\n{CLOSE}")


def _call_schema(tool: Tool) -> JsonObject:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": tool.parameters or {"type": "object"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def generation_request(
    chat: ChatRequest,
    encoder: PromptEncoder,
    form: AnswerForm,
    choices: Choices | None,
    room: int,
    adapter: str = "",
) -> GenerationRequest:
    """The engine's request. ``choices``: the form's labels as tokens. ``room``: tokens of prompt and
    answer together.

    Raises ApiError, UsageError, Unsupported.
    """
    tokens = prompt_tokens(chat, encoder, form)
    _check_tokens(chat, tokens, encoder.vocabulary.size)
    in_form = chat.uses_form(form)
    labels = choices if in_form and chat.form is None else None
    usual = max(map(len, labels.tokens)) if labels else (form.max_tokens if in_form else 0) or USUAL
    return GenerationRequest(
        tuple(tokens),
        chat.max_tokens or max(1, min(room - len(tokens), usual)),
        chat.sampling,
        chat.stops if chat.prompt is not None else (*encoder.template.stops, *chat.stops),
        answer_grammar(chat, form),
        chat.likelihoods,
        adapter,
        choices=labels,
    )


def _check_tokens(chat: ChatRequest, tokens: Sequence[int], size: int) -> None:
    """Check what depends on the model's vocabulary of ``size`` tokens. Raises ApiError."""
    if not tokens:
        raise ApiError(400, "prompt: it is empty, and this model needs at least one token to continue from")
    valid = f"this model's tokens are numbers from 0 to {size - 1}"
    if chat.prompt is not None and not isinstance(chat.prompt, str) and max(tokens) >= size:
        raise ApiError(400, f"prompt: {valid}, not {max(tokens)}")
    for token, _ in chat.sampling.bias:
        if token >= size:
            raise ApiError(400, f"logit_bias.{token}: {valid}")


def with_system(messages: Sequence[Message], system: str) -> list[Message]:
    """The messages after a system message; one that they begin with is joined to it, since templates take
    one.
    """
    if not system:
        return list(messages)
    if messages and messages[0].role == "system":
        joined = f"{system}\n\n{messages[0].content}"
        return [replace(messages[0], content=joined), *messages[1:]]
    return [Message("system", system), *messages]
