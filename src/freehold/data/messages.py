"""Chat messages as people keep them become alternating turns of system, user and assistant, which every chat
template knows.

Formats: OpenAI fine-tuning rows (tool calls, content parts, developer, weight), ShareGPT (from and value),
TRL (role and content).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.data.table import Fields
from freehold.data.values import RowFault, is_missing, parsed, text_of, unwrapped, visible

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "customer": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
    "agent": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "tool": "result",
    "function": "result",
    "observation": "result",
    "ipython": "result",
    "tool_response": "result",
    "function_response": "result",
    "tool_result": "result",
}
#: What stands before a tool's result, which becomes a user message.
RESULT = "Function result: "
TOOLS_HEADING = (
    'You can call these functions. To call one, answer only with JSON: {"name": ..., "arguments": {...}}'
)
OPENING = "You opened the conversation with: "

#: Sentences on what was changed, by the key that counts the rows; ``{n}`` is their
#: number, and of ``[one|many]`` the form is taken that agrees with it.
NOTES = {
    "calls": (
        "{n} row[|s] [has|have] function calls: each call becomes JSON text (name and arguments) as the"
        " assistant's message."
    ),
    "results": (
        '{n} row[|s] [has|have] function results: each becomes a user message that begins with "Function'
        ' result:".'
    ),
    "tools": "{n} row[|s] [has|have] function definitions: they are put into the system message as JSON.",
    "trailing": (
        "{n} row[|s] continue[s|] after the assistant's last message: everything after that message is left"
        " out."
    ),
    "unweighted": (
        "{n} row[|s] end[s|] in an assistant message of weight 0: the last one with a weight is the answer,"
        " and everything after it is left out."
    ),
    "turns": (
        "{n} row[|s] [has|have] several assistant messages: the last one is the expected answer, the earlier"
        " ones are part of the prompt."
    ),
    "merged": (
        "{n} row[|s] [has|have] several messages in a row from the same role: they are joined, because chat"
        " templates need alternating roles."
    ),
    "systems": (
        "{n} row[|s] [has|have] a system message after the beginning: it is moved to the beginning, because"
        " chat templates need it there."
    ),
    "opening": (
        "{n} row[|s] begin[s|] with the assistant: that message is put into the system message, because in"
        " chat templates the user comes first."
    ),
    "names": "{n} row[|s] name[s|] the speaker of a message: the name is not used.",
}


@dataclass(frozen=True)
class Turn:
    """``role`` is system, user or assistant; ``learnt`` is False for an assistant message of weight 0."""

    role: str
    content: str
    learnt: bool = True


def turns_of(value: Any, column: str, tally: Counter[str]) -> list[Turn]:
    """The turns of a chat column; changes are counted in ``tally``, once for a row. Raises RowFault."""
    value = parsed(value)
    if isinstance(value, dict) and "messages" in value:
        value = value["messages"]
    if not isinstance(value, list | tuple) or not value:
        raise RowFault(column, "expects a list of messages")
    changes: Counter[str] = Counter()
    turns: list[Turn] = []
    for index, message in enumerate(_apart(value)):
        turn = _turn(message, f"{column}[{index}]", changes)
        if turn is not None:
            turns.append(turn)
    tally.update(dict.fromkeys(changes, 1))
    return turns


def _apart(value: Sequence[Any]) -> list[Any]:
    """Messages; an object with input and output is two of them."""
    messages: list[Any] = []
    for item in value:
        if isinstance(item, dict) and set(item) == {"input", "output"}:
            messages += [
                {"role": "user", "content": item["input"]},
                {"role": "assistant", "content": item["output"]},
            ]
        else:
            messages.append(item)
    return messages


def _turn(message: Any, where: str, changes: Counter[str]) -> Turn | None:
    """One message; None for a system message that says nothing."""
    if not isinstance(message, dict):
        raise RowFault(where, "is not an object with role and content")
    written = _first(message, "role", "from", "speaker")
    role = ROLES.get(str(written).strip().casefold())
    if role is None:
        known = "system, user, assistant, tool"
        raise RowFault(
            where,
            "has no role" if written is None else f"has the role {written!r}, which is not one of {known}",
        )
    if not is_missing(message.get("name")) and role in ("user", "assistant"):
        changes["names"] += 1
    if role == "call":
        changes["calls"] += 1
        return Turn("assistant", _call_text(_said(message, where)))
    if role == "result":
        changes["results"] += 1
        return Turn("user", RESULT + _said(message, where))
    if role == "assistant":
        return _assistant(message, where, changes)
    content = _said(message, where)
    if role == "system" and not visible(content):
        return None
    return Turn(role, _needed(content, where))


def _assistant(message: Fields, where: str, changes: Counter[str]) -> Turn:
    content = _said(message, where)
    calls = [call for call in parsed(message.get("tool_calls")) or [] if call] or [
        call
        for call in (parsed(message.get("function_call")),)
        if isinstance(call, dict) and call.get("name")
    ]
    if calls:
        changes["calls"] += 1
        called = _calls_text(calls, where)
        content = f"{content}\n{called}" if visible(content) else called
    elif not visible(content) and not is_missing(message.get("refusal")):
        content = text_of(message["refusal"], where)
    weight = message.get("weight")
    return Turn("assistant", _needed(content, where), is_missing(weight) or float(weight or 0) > 0)


def _first(message: Fields, *keys: str) -> Any:
    return next((message[key] for key in keys if not is_missing(message.get(key))), None)


def _needed(content: str, where: str) -> str:
    if not visible(content):
        raise RowFault(where, "the message is empty")
    return content


def _said(message: Fields, where: str) -> str:
    """The text of a message: a string, or the text parts of a list; "" where there is none."""
    value = unwrapped(
        next((message[key] for key in ("content", "value", "text") if message.get(key) is not None), "")
    )
    if isinstance(value, list | tuple):
        return "\n".join(_part(part, where) for part in value)
    if isinstance(value, float) and is_missing(value):
        return ""
    return text_of(value, where)


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    text = part.get("text", part.get("refusal")) if isinstance(part, dict) else None
    if isinstance(text, str) and kind in ("text", "input_text", "output_text", "refusal", None):
        return text
    seen = (
        "an image"
        if "image" in str(kind)
        else "sound"
        if "audio" in str(kind)
        else f"a part of type {kind!r}"
    )
    raise RowFault(where, f"contains {seen}, but only text can be read")


def _call_text(content: str) -> str:
    """A function call written as JSON, in our form; any other text as it is."""
    value = parsed(content)
    calls = value if isinstance(value, list) else [value]
    if all(isinstance(call, dict) and ("name" in call or "function" in call) for call in calls):
        return _calls_text(calls, "")
    return content


def _calls_text(calls: Sequence[Any], where: str) -> str:
    """One call as ``{"name": ..., "arguments": {...}}``, several as a list of these."""
    plain = [_call(call, where) for call in calls]
    return json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False)


def _call(call: Any, where: str) -> Fields:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or is_missing(function.get("name")):
        raise RowFault(where, "has a function call without a name")
    arguments = parsed(function.get("arguments", function.get("parameters")))
    return {"name": function["name"], "arguments": {} if is_missing(arguments) else arguments}


def tools_of(value: Any, column: str, tally: Counter[str]) -> list[Turn]:
    """Function definitions as a system turn; nothing where there are none."""
    value = parsed(value)
    if not value or is_missing(value):
        return []
    tally["tools"] += 1
    return [Turn("system", f"{TOOLS_HEADING}\n{text_of(value, column)}")]


def history_of(value: Any, column: str) -> list[Turn]:
    """Earlier turns: pairs of question and answer, or messages."""
    value = parsed(value)
    if is_missing(value) or (isinstance(value, list | tuple) and not value):
        return []
    if isinstance(value, list | tuple) and all(isinstance(item, dict) for item in value):
        return turns_of(value, column, Counter())
    turns: list[Turn] = []
    for pair in value if isinstance(value, list | tuple) else [value]:
        pair = unwrapped(pair)
        if not isinstance(pair, list | tuple) or len(pair) != 2 or any(map(is_missing, pair)):
            raise RowFault(column, "expects a list of pairs of question and answer")
        turns += [Turn("user", text_of(pair[0], column)), Turn("assistant", text_of(pair[1], column))]
    return turns


def answered(turns: Sequence[Turn], column: str, tally: Counter[str]) -> list[Turn]:
    """The turns up to the wanted answer, the last assistant message that has a weight. Raises RowFault where
    there is none.
    """
    spoken = [index for index, turn in enumerate(turns) if turn.role == "assistant"]
    if not spoken:
        raise RowFault(column, "has no message of the assistant, so there is no expected answer")
    learnt = [index for index in spoken if turns[index].learnt]
    if not learnt:
        raise RowFault(column, "all assistant messages have weight 0")
    if learnt[-1] < spoken[-1]:
        tally["unweighted"] += 1
    elif spoken[-1] < len(turns) - 1:
        tally["trailing"] += 1
    return list(turns[: learnt[-1] + 1])


def arranged(turns: Sequence[Turn], column: str, tally: Counter[str]) -> tuple[tuple[str, str], ...]:
    """(role, content) pairs: at most one system message, then user and assistant by turns. Raises RowFault
    where no user speaks.
    """
    system = [turn.content for turn in turns if turn.role == "system"]
    first_other = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    if any(turn.role == "system" for turn in turns[first_other:]):
        tally["systems"] += 1
    others = [turn for turn in turns if turn.role != "system"]
    if not any(turn.role == "user" for turn in others[:-1]):
        raise RowFault(column, "has no message of the user before the answer")
    opening: list[str] = []
    while others[0].role == "assistant":
        opening.append(OPENING + others.pop(0).content)
    tally["opening"] += bool(opening)
    joined = _joined(others)
    tally["merged"] += len(joined) < len(others)
    tally["turns"] += sum(role == "assistant" for role, _ in joined) > 1
    above = "\n\n".join([*system, *opening])
    return ((("system", above),) if above else ()) + tuple(joined)


def _joined(turns: Sequence[Turn]) -> list[tuple[str, str]]:
    joined: list[tuple[str, str]] = []
    for turn in turns:
        if joined and joined[-1][0] == turn.role:
            joined[-1] = (turn.role, f"{joined[-1][1]}\n\n{turn.content}")
        else:
            joined.append((turn.role, turn.content))
    return joined


def transcript(text: str) -> list[Turn]:
    """A dialogue in one text, each turn after ``Human:`` or ``Assistant:`` at the start of a line; nothing
    where it is none.
    """
    import re

    pieces = re.split(r"(?:\A|\n\n)\s*(Human|Assistant): ?", text)
    if len(pieces) < 3 or pieces[0].strip():
        return []
    names = {"Human": "user", "Assistant": "assistant"}
    return [Turn(names[name], said.strip()) for name, said in zip(pieces[1::2], pieces[2::2], strict=True)]
