"""A chat template tried on ordinary conversations before its model is let in, in a process with limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from freehold.core.errors import Unsupported
from freehold.data import rendering

_ASK = {"role": "user", "content": "How long is leave, in days?"}
_SAID = {"role": "assistant", "content": "Thirty days a year."}
_MORE = {"role": "user", "content": "And for part time? \N{GRINNING FACE}\n\n1. mornings\n2. evenings"}
_SYSTEM = {"role": "system", "content": "Answer in one sentence."}
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Finds a rule.",
        "parameters": {"type": "object", "properties": {"about": {"type": "string"}}, "required": ["about"]},
    },
}
_CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "call00001",
            "type": "function",
            "function": {"name": "look_up", "arguments": {"about": "leave"}},
        }
    ],
}
_RESULT = {"role": "tool", "content": "30", "tool_call_id": "call00001", "name": "look_up"}
#: A plain question first: a template that refuses that one answers nobody.
CONVERSATIONS: tuple[Mapping[str, object], ...] = (
    {"messages": [_ASK], "add_generation_prompt": True},
    {"messages": [_ASK, _SAID], "add_generation_prompt": False},
    {"messages": [_SYSTEM, _ASK, _SAID, _MORE], "add_generation_prompt": True},
    {"messages": [_ASK, _SAID] * 20 + [_MORE], "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": "word " * 2000}], "add_generation_prompt": True},
    {"messages": [_ASK], "tools": [_TOOL], "add_generation_prompt": True},
    {"messages": [_ASK, _CALL, _RESULT], "tools": [_TOOL], "add_generation_prompt": True},
)


@dataclass(frozen=True)
class Tried:
    """``exceeded``: what the template did beyond the limits; ``refused``: why it takes no plain question.
    Both are the end of a sentence, and empty for an ordinary template.
    """

    exceeded: str = ""
    refused: str = ""


def try_out(source: str) -> Tried:
    """What a chat template does with ordinary conversations."""
    refused = ""
    for number, conversation in enumerate(CONVERSATIONS):
        try:
            rendering.rendered(source, {"bos_token": "<s>", "eos_token": "</s>", **conversation})
        except rendering.Stopped as error:
            return Tried(exceeded=error.reason)
        except Unsupported as error:
            if number == 0:
                refused = error.message
    return Tried(refused=refused)
