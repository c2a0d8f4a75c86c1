"""What an OpenAI-compatible server accepts in a request, learned from its errors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from freehold.data.examples import Example
from freehold.data.templates import Messages
from freehold.evaluation.measurement import Ask

#: Servers refuse longer lists in a schema (OpenAI's limit of enumerated values).
MOST_IN_SCHEMA = 1000
#: The JSON of a request to ``/chat/completions``.
RequestBody = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """How a request is written for one server."""

    #: the field for the longest answer
    limit_name: str = "max_tokens"
    #: whether the server accepts a temperature of 0
    temperature: bool = True
    #: whether it accepts a JSON schema
    schema: bool = True
    #: whether it accepts a system message
    system: bool = True
    #: the longest answer that it allows, 0 where that is unknown
    most_tokens: int = 0

    def learn(self, refusal: str) -> Dialect | None:
        """The dialect after a refusal (the text of a 400 answer); None where it is about something else."""
        text = refusal.lower()
        if "max_completion_tokens" in text and self.limit_name == "max_tokens" and not _too_many(text):
            return replace(self, limit_name="max_completion_tokens")
        if self.limit_name in text or "max_new_tokens" in text:
            return self._limited(text)
        if "temperature" in text and self.temperature:
            return replace(self, temperature=False)
        if self.schema and re.search(
            r"response_format|json_schema|json schema|structured output|\bschema\b", text
        ):
            return replace(self, schema=False)
        if self.system and re.search(
            r"system['\"]? (role|message|prompt)|role['\": ]+system|developer instruction", text
        ):
            return replace(self, system=False)
        return None

    def _limited(self, text: str) -> Dialect | None:
        """With the limit that a refusal names, or with the field's other name."""
        numbers = [int(number) for number in re.findall(r"\d+", text.replace(",", ""))]
        if _too_many(text) and numbers:
            most = min((number for number in numbers if number > 15), default=0)
            smaller = most and (not self.most_tokens or most < self.most_tokens)
            return replace(self, most_tokens=most) if smaller else None
        if self.limit_name == "max_completion_tokens":
            return None
        return replace(self, limit_name="max_completion_tokens")


def _too_many(text: str) -> bool:
    """Whether a refusal says that a number is too large."""
    return bool(
        re.search(
            r"too (large|high|long|many)|at most|less than|maximum (value|of|allowed)|exceed|supports", text
        )
    )


def binds(dialect: Dialect, ask: Ask) -> bool:
    """Whether answers are bound to the labels by a JSON schema."""
    return dialect.schema and 0 < len(ask.labels) <= MOST_IN_SCHEMA


def body(
    model: str, dialect: Dialect, ask: Ask, example: Example, limit: int, unknown: str = ""
) -> RequestBody:
    """The request for a row. ``limit``: the longest answer in tokens; ``unknown``: the label for no label."""
    bound = binds(dialect, ask)
    messages = _messages(dialect, ask, example, _instruction(ask.labels, unknown, bound), bound)
    value: RequestBody = {
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in messages],
        dialect.limit_name: min(limit, dialect.most_tokens) if dialect.most_tokens else limit,
    }
    if dialect.temperature:
        value["temperature"] = 0
    if bound:
        value["response_format"] = {"type": "json_schema", "json_schema": _schema(ask.labels)}
    return value


def decisive(value: RequestBody) -> RequestBody:
    """The request without the token limit, which matters only to answers that were cut."""
    return {key: part for key, part in value.items() if key not in ("max_tokens", "max_completion_tokens")}


def _instruction(labels: Sequence[str], unknown: str, bound: bool) -> str:
    """What tells the model which labels it may answer with; "" where answers are free."""
    if not labels:
        return ""
    listed = "\n".join(f"- {label}" for label in labels)
    how = 'Answer with a JSON object {"label": ...} that holds exactly' if bound else "Answer with exactly"
    last = "" if bound else " and nothing else"
    other = f"\nAnswer {unknown} where none of the others is right." if unknown else ""
    return f"{how} one of these labels{last}, as it is written here:\n{listed}{other}"


def _messages(dialect: Dialect, ask: Ask, example: Example, instruction: str, bound: bool) -> Messages:
    """The row's messages with the worked examples, and the instruction in the system message."""
    messages = ask.messages(example)
    system = "\n\n".join(
        part for part in (*(text for role, text in messages if role == "system"), instruction) if part
    )
    rest = [
        (role, _as_json(text) if bound and role == "assistant" else text)
        for role, text in messages
        if role != "system"
    ]
    if not system:
        return tuple(rest)
    if dialect.system:
        return (("system", system), *rest)
    first = next(number for number, (role, _) in enumerate(rest) if role == "user")
    rest[first] = ("user", f"{system}\n\n{rest[first][1]}")
    return tuple(rest)


def _as_json(label: str) -> str:
    return json.dumps({"label": label.strip()}, ensure_ascii=False)


def _schema(labels: Sequence[str]) -> RequestBody:
    label = {"type": "string", "enum": list(labels)}
    form = {
        "type": "object",
        "properties": {"label": label},
        "required": ["label"],
        "additionalProperties": False,
    }
    return {"name": "label", "strict": True, "schema": form}
