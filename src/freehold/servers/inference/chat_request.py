"""What a client asks, whichever API it speaks; how that becomes a prompt, and what an answer's text means.

Functions that a model may call are told to it in its template's own form, or where that has none in a system message; it calls one by
writing ``<tool_call>{"name": ..., "arguments": ...}</tool_call>``, the form of Hermes and Qwen models.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from freehold.core import strict_json
from freehold.core.errors import BadData
from freehold.inference.grammar import Source
from freehold.inference.interface import Choices, PromptEncoder
from freehold.inference.prompt_encoder import USUAL
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from freehold.models.answer_form import AnswerForm
from freehold.servers.inference.api_errors import ApiError

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_BEGIN = re.compile(re.escape(OPEN) + r"\s*+(?=\{)")
_END = re.compile(r"\}(\s*+)" + re.escape(CLOSE))


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; ``parameters`` is a JSON schema."""

    name: str
    description: str
    parameters: dict[str, Any]

    def told(self) -> dict[str, Any]:
        """In the form of OpenAI's API, which templates take."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": self.parameters},
        }


@dataclass(frozen=True)
class Call:
    """A function that the model calls, with its arguments as a JSON object."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass
class ChatRequest:
    """A request. ``messages`` are in the form of OpenAI's API with text for content. ``prompt`` instead of messages: text or tokens as they are.

    ``tool_choice``: auto, none, required, or a tool's name. ``form``: a JSON schema, or "json" for any object, or "gbnf:..." for a grammar.
    ``answer_form``: whether the form in which the model was measured may be used; :meth:`in_form` says when it is.
    """

    model: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    prompt: str | list[int] | None = None
    max_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    form: dict[str, Any] | str | None = None
    likelihoods: int | None = None
    answer_form: bool = True

    def in_form(self, form: AnswerForm) -> bool:
        """Whether this is a question as the model was measured with: no functions to call, and no turns that such a question has not."""
        if not self.answer_form or self.prompt is not None or self.calls:
            return False
        return form.asks([str(message["role"]) for message in self.messages])

    @property
    def calls(self) -> bool:
        """Whether an answer may call functions."""
        return bool(self.tools) and self.tool_choice != "none"

    def parts(self, text: str) -> tuple[str, list[Call]]:
        """An answer's text beside its calls, and the calls."""
        return split_calls(text) if self.calls else (text, [])


def tokens_of(dialogue: ChatRequest, prompting: PromptEncoder, form: AnswerForm) -> list[int]:
    """The prompt's tokens. ``form``: how the model was asked when it was measured. Raises Refusal, Unsupported."""
    if dialogue.prompt is not None:
        if isinstance(dialogue.prompt, str):
            return prompting.text(dialogue.prompt, start=True)
        return dialogue.prompt
    if not dialogue.messages:
        raise ApiError(400, "messages is empty: send at least one message")
    messages = _with_form(dialogue, form)
    own = prompting.template.takes_tools
    if not own and (
        dialogue.calls or any(one["role"] == "tool" or one.get("tool_calls") for one in messages)
    ):
        messages = _plainly(messages, dialogue.tools if dialogue.calls else ())
    return prompting.chat(
        messages, [tool.told() for tool in dialogue.tools] if own and dialogue.calls else []
    )


def _with_form(dialogue: ChatRequest, form: AnswerForm) -> list[dict[str, Any]]:
    """The messages with the form's system message where they bring none, and its worked examples before a question."""
    messages = list(dialogue.messages)
    if not dialogue.answer_form:
        return messages
    if form.system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": form.system})
    if dialogue.in_form(form):
        after = int(messages[0]["role"] == "system")
        messages[after:after] = [{"role": role, "content": text} for role, text in form.shown]
    return messages


def _plainly(messages: list[dict[str, Any]], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Messages for a template that knows no functions: told in the system message, calls and results as text."""
    found: list[dict[str, Any]] = []
    for one in messages:
        if one["role"] == "tool":
            found.append({"role": "user", "content": f"<tool_response>\n{one['content']}\n</tool_response>"})
        elif one.get("tool_calls"):
            calls = "\n".join(
                f"{OPEN}\n{json.dumps({'name': c['function']['name'], 'arguments': c['function']['arguments']})}\n{CLOSE}"
                for c in one["tool_calls"]
            )
            found.append({"role": "assistant", "content": f"{one.get('content') or ''}\n{calls}".strip()})
        else:
            found.append(one)
    if tools:
        listed = "\n".join(json.dumps(tool.told()["function"], ensure_ascii=False) for tool in tools)
        told = (
            "You can call these functions, each given as JSON:\n"
            f'{listed}\nTo call one, answer with\n{OPEN}\n{{"name": the function\'s name, "arguments": an object}}\n{CLOSE}'
        )
        if found[0]["role"] == "system":
            found[0] = {"role": "system", "content": f"{found[0]['content']}\n\n{told}"}
        else:
            found.insert(0, {"role": "system", "content": told})
    # two turns of one side, as several results are, become one
    merged: list[dict[str, Any]] = []
    for one in found:
        if merged and merged[-1]["role"] == one["role"] == "user":
            merged[-1] = {"role": "user", "content": f"{merged[-1]['content']}\n{one['content']}"}
        else:
            merged.append(one)
    return merged


def grammar_of(dialogue: ChatRequest, form: AnswerForm) -> Source | None:
    """What binds the answer beside labels, not compiled yet; None for nothing. Raises UsageError, Refusal."""
    if dialogue.calls and dialogue.tool_choice not in ("auto", "none"):
        tools = [tool for tool in dialogue.tools if dialogue.tool_choice in ("required", tool.name)]
        if not tools:
            raise ApiError(400, f"tool_choice names {dialogue.tool_choice!r}, which is none of the tools")
        calls = [
            {"type": "object", "properties": {"name": {"const": tool.name}, "arguments": tool.parameters or {"type": "object"}},
             "required": ["name", "arguments"], "additionalProperties": False}
            for tool in tools
        ]  # fmt: skip
        return Source.of_schema(calls[0] if len(calls) == 1 else {"anyOf": calls}, f"{OPEN}\n", f"\n{CLOSE}")
    if dialogue.form is None:
        bound = form.schema and dialogue.in_form(form)
        return Source.of_schema(json.loads(form.schema)) if bound else None
    if isinstance(dialogue.form, dict):
        return Source.of_schema(dialogue.form)
    if dialogue.form.startswith("gbnf:"):
        return Source("gbnf", dialogue.form.removeprefix("gbnf:"))
    return Source.any_json()


def ask_of(
    dialogue: ChatRequest,
    prompting: PromptEncoder,
    form: AnswerForm,
    choices: Choices | None,
    room: int,
    adapter: str = "",
) -> GenerationRequest:
    """The engine's request. ``choices``: the form's labels as tokens. ``room``: tokens of context a prompt and its answer may take.

    Raises Refusal, UsageError, Unsupported.
    """
    tokens = tokens_of(dialogue, prompting, form)
    _check_tokens(dialogue, tokens, prompting.vocabulary.size)
    in_form = dialogue.in_form(form)
    bound = choices if in_form and dialogue.form is None else None
    usual = max(map(len, bound.tokens)) if bound else (form.max_tokens if in_form else 0) or USUAL
    most = dialogue.max_tokens or max(1, min(room - len(tokens), usual))
    stops = dialogue.stops if dialogue.prompt is not None else (*prompting.template.stops, *dialogue.stops)
    return GenerationRequest(
        tuple(tokens), most, dialogue.sampling, stops, grammar_of(dialogue, form), dialogue.likelihoods, adapter, choices=bound
    )  # fmt: skip


def _check_tokens(dialogue: ChatRequest, tokens: Sequence[int], size: int) -> None:
    """Check what depends on the model's vocabulary of ``size`` tokens. Raises Refusal."""
    if not tokens:
        raise ApiError(400, "prompt: it is empty, and this model needs at least one token to go on from")
    if isinstance(dialogue.prompt, list) and max(tokens) >= size:
        raise ApiError(
            400, f"prompt: this model's tokens are numbers from 0 to {size - 1}, and {max(tokens)} is none"
        )
    for token, _ in dialogue.sampling.bias:
        if token >= size:
            raise ApiError(400, f"logit_bias.{token}: this model's tokens are numbers from 0 to {size - 1}")


def split_calls(text: str) -> tuple[str, list[Call]]:
    """(the text beside its calls, the calls). What is no JSON object with a name stays text."""
    calls: list[Call] = []
    rest: list[str] = []
    end = 0
    for first, begin, close, last in _marked(text):
        call = _call(text[begin:close])
        if call is not None:
            calls.append(call)
            rest.append(text[end:first])
            end = last
    rest.append(text[end:])
    whole = "".join(rest)
    return (whole.strip() if calls else whole), calls


def _marked(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Where each marked object begins and ends, with its marks and without, in time that grows as the text does."""
    ends = [(found.start() + 1, found.end()) for found in _END.finditer(text)]
    at = place = 0
    while begins := _BEGIN.search(text, at):
        while place < len(ends) and ends[place][0] <= begins.end():
            place += 1
        if place == len(ends):
            return
        close, at = ends[place]
        yield begins.start(), begins.end(), close, at


def _call(text: str) -> Call | None:
    """A call's JSON; None for what is not one."""
    try:
        value = strict_json.read(text.encode())
    except BadData:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if not isinstance(value.get("name"), str) or not isinstance(arguments, dict):
        return None
    return Call(f"call_{secrets.token_hex(12)}", value["name"], arguments)


class Shown:
    """Text of a stream that may be shown: what could become a call is held back until the end."""

    def __init__(self, *, calls: bool):
        self._calls, self._whole, self._sent = calls, "", 0

    def add(self, text: str) -> str:
        """What may be shown now."""
        self._whole += text
        if not self._calls:
            return text
        end = self._whole.find(OPEN)
        if end < 0:
            end = len(self._whole)
            for size in range(min(len(OPEN) - 1, end), 0, -1):
                if self._whole.endswith(OPEN[:size]):
                    end -= size
                    break
        shown = self._whole[self._sent : max(end, self._sent)]
        self._sent += len(shown)
        return shown

    def rest(self) -> tuple[str, list[Call]]:
        """(what is still to be shown, the calls), at the end."""
        if not self._calls:
            return "", []
        text, calls = split_calls(self._whole[self._sent :])
        return text, calls
