"""Functions that a model may call, and its calls in the text of an answer.

A model calls a function by writing ``<tool_call>{"name": ..., "arguments": ...}</tool_call>``, the form
of Hermes and Qwen models.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from freehold.core import strict_json
from freehold.core.errors import BadData
from freehold.core.json_types import JsonObject

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_BEGIN = re.compile(re.escape(OPEN) + r"\s*+(?=\{)")
_END = re.compile(r"\}(\s*+)" + re.escape(CLOSE))


@dataclass(frozen=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    #: a JSON schema
    parameters: JsonObject

    @property
    def function(self) -> JsonObject:
        """Name, description and parameters as OpenAI's API writes them."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}

    def for_template(self) -> JsonObject:
        """In the form of OpenAI's API, which chat templates take."""
        return {"type": "function", "function": self.function}


@dataclass(frozen=True)
class ToolCall:
    """A call of a function by the model."""

    id: str
    name: str
    arguments: JsonObject

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON text."""
        return json.dumps(self.arguments, ensure_ascii=False)

    def for_template(self) -> JsonObject:
        """In the form of OpenAI's API, which chat templates take."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}

    def as_text(self) -> str:
        """As the model writes it, for templates that do not know functions."""
        return f"{OPEN}\n{json.dumps({'name': self.name, 'arguments': self.arguments})}\n{CLOSE}"


def split_calls(text: str) -> tuple[str, list[ToolCall]]:
    """(the text without its calls, the calls). What is not a JSON object with a name stays text."""
    calls: list[ToolCall] = []
    parts: list[str] = []
    end = 0
    for first, begin, close, last in _marked(text):
        call = _parse_call(text[begin:close])
        if call is not None:
            calls.append(call)
            parts.append(text[end:first])
            end = last
    parts.append(text[end:])
    rest = "".join(parts)
    return (rest.strip() if calls else rest), calls


def _marked(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Where each marked object starts and ends, with its marks and without, in time linear in the text."""
    ends = [(match.start() + 1, match.end()) for match in _END.finditer(text)]
    position = number = 0
    while begin := _BEGIN.search(text, position):
        while number < len(ends) and ends[number][0] <= begin.end():
            number += 1
        if number == len(ends):
            return
        close, position = ends[number]
        yield begin.start(), begin.end(), close, position


def _parse_call(text: str) -> ToolCall | None:
    """A call from its JSON text; None for text that is not one."""
    try:
        value = strict_json.read(text.encode())
    except BadData:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if not isinstance(value.get("name"), str) or not isinstance(arguments, dict):
        return None
    return ToolCall(f"call_{secrets.token_hex(12)}", value["name"], arguments)


class ToolCallFilter:
    """The text of a stream that may be sent now: what could become a call is held back until the end."""

    def __init__(self, *, calls: bool):
        self._calls, self._text, self._sent = calls, "", 0

    def add(self, text: str) -> str:
        """What may be sent after this text has come."""
        self._text += text
        if not self._calls:
            return text
        end = self._text.find(OPEN)
        if end < 0:
            end = len(self._text)
            for size in range(min(len(OPEN) - 1, end), 0, -1):
                if self._text.endswith(OPEN[:size]):
                    end -= size
                    break
        visible = self._text[self._sent : max(end, self._sent)]
        self._sent += len(visible)
        return visible

    def rest(self) -> tuple[str, list[ToolCall]]:
        """(text that is still to be sent, the calls), at the end of the answer."""
        return split_calls(self._text[self._sent :]) if self._calls else ("", [])
