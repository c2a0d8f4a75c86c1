"""How a stored model is asked, as it was measured: a file beside its weights.

The form holds the closed set of labels or the JSON schema that binds the answer, the system message, the
worked examples, the choice of template and the longest answer. It comes from strangers with what is pulled,
so all of it is checked when it is read: sizes, types and names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from freehold.core import strict_json
from freehold.core.errors import BadModel
from freehold.core.json_types import JsonObject
from freehold.core.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.models.store import Model, Store

#: The file's name beside the weights.
FILE = "answer_form.json"
VERSION = 1
#: Bounds of what is read. The trial writes far less: worked examples of about a thousand tokens, and a task's
#: labels.
MOST_BYTES, MOST_LABELS, MOST_LABEL, MOST_MESSAGES, MOST_TOKENS = 4 << 20, 20_000, 2_000, 512, 131_072
#: Nesting of a schema that is read; deeper ones stop the readers of JSON.
MOST_DEPTH = 64
GREEDY = "greedy"
_FIELDS = {
    "form_version",
    "labels",
    "schema",
    "system",
    "shots",
    "plain",
    "conversations",
    "max_tokens",
    "sampling",
}
_AGAIN = "fetch the model again, or remove this file to use the model without an answer form"

#: (role, text) pairs.
Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AnswerForm:
    """How rows were asked when the model was measured. Drawing is greedy.

    ``labels``: the closed set that answers are bound to; none where they are free.
    ``schema``: the JSON schema that answers are bound to, as JSON text; '' for none.
    ``system``: the system message that all rows share; '' for none.
    ``shots``: worked examples, each the messages of a question and its answer, without system messages.
    ``plain``: the plain template stands in place of the model's own.
    ``conversations``: a row's question may be a whole conversation, so that earlier turns belong to it.
    ``max_tokens``: the longest free answer; 0 where none was set.
    """

    labels: tuple[str, ...] = ()
    schema: str = ""
    system: str = ""
    shots: tuple[Messages, ...] = ()
    plain: bool = False
    conversations: bool = False
    max_tokens: int = 0

    @property
    def binds(self) -> bool:
        """Whether answers are bound to labels or a schema."""
        return bool(self.labels or self.schema)

    @property
    def shown(self) -> Messages:
        """The messages of all worked examples, in order."""
        return tuple(message for shot in self.shots for message in shot)

    def asks(self, roles: Sequence[str]) -> bool:
        """Whether messages of these roles are a question as the task's rows are, and not a conversation of
        another kind.
        """
        turns = [role for role in roles if role != "system"]
        return turns[-1:] == ["user"] and (self.conversations or set(turns) == {"user"})

    def messages(self, question: Messages) -> Messages:
        """What the model reads: system message, worked examples, question. A system message of the question's
        own goes first.
        """
        system = question[:1] if question and question[0][0] == "system" else ()
        opening = (("system", self.system),) if self.system and not system else system
        return (*opening, *self.shown, *question[len(system) :])

    def as_dict(self) -> JsonObject:
        """JSON form, with its version."""
        return {
            "form_version": VERSION,
            "labels": list(self.labels),
            "schema": json.loads(self.schema) if self.schema else None,
            "system": self.system,
            "shots": [[{"role": role, "content": text} for role, text in shot] for shot in self.shots],
            "plain": self.plain,
            "conversations": self.conversations,
            "max_tokens": self.max_tokens,
            "sampling": GREEDY,
        }

    def as_text(self) -> str:
        """The file's text: the same form gives the same bytes."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=1) + "\n"

    def summary(self) -> JsonObject:
        """What is told of it to clients and people: sizes, not contents."""
        return {
            "labels": len(self.labels),
            "schema": bool(self.schema),
            "system": bool(self.system),
            "worked_examples": len(self.shots),
            "template": "plain" if self.plain else "own",
            "max_tokens": self.max_tokens,
            "sampling": GREEDY,
        }

    def sentence(self) -> str:
        """The same in words, e.g. ``77 labels, 6 worked examples, greedy``."""
        parts = [
            f"{len(self.labels):,} labels" if self.labels else "",
            "a JSON schema" if self.schema else "",
            "a system message" if self.system else "",
            counted(len(self.shots), "worked example") if self.shots else "",
            "the plain template" if self.plain else "",
            f"at most {self.max_tokens:,} tokens" if self.max_tokens and not self.labels else "",
            GREEDY,
        ]
        return ", ".join(part for part in parts if part)


def parse(data: bytes, where: str = FILE) -> AnswerForm:
    """The form that a file holds. Raises BadModel for anything that the trial would not have written."""
    if len(data) > MOST_BYTES:
        _refuse(where, f"it has {len(data):,} bytes, and at most {MOST_BYTES:,} are read")
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a character cannot be written
    except (ValueError, RecursionError) as error:
        _refuse(where, f"it is not valid JSON in UTF-8 ({str(error)[:100] or type(error).__name__})")
    if not isinstance(value, dict):
        _refuse(where, "it is not a JSON object")
    version = value.get("form_version")
    if isinstance(version, bool) or version != VERSION:
        raise BadModel(
            f"{where} has version {str(version)[:20]}; version {VERSION} is read",
            "update Freehold, or remove this file to use the model without an answer form",
        )
    if unknown := sorted(set(value) - _FIELDS):
        _refuse(where, f"the field {unknown[0][:40]!r} is not known")
    if value.get("sampling", GREEDY) != GREEDY:
        _refuse(where, f"sampling must be {GREEDY!r}")
    labels, schema = _labels(value, where), _schema(value, where)
    if labels and schema:
        _refuse(where, "it has both labels and a schema, and only one of them can limit an answer")
    return AnswerForm(
        labels,
        schema,
        _text(value.get("system", ""), "system", where),
        _shots(value, where),
        _flag(value, "plain", where),
        _flag(value, "conversations", where),
        _most(value, where),
    )


def read(path: Path) -> AnswerForm:
    """The form in a file. Raises BadModel."""
    if path.stat().st_size > MOST_BYTES:  # before it is in memory
        _refuse(FILE, f"it has {path.stat().st_size:,} bytes, and at most {MOST_BYTES:,} are read")
    return parse(path.read_bytes())


def check(files: Mapping[str, Path]) -> None:
    """Raises BadModel for a model whose form is not one."""
    if FILE in files:
        read(files[FILE])


def of_model(store: Store, model: Model) -> AnswerForm | None:
    """How a stored model is asked; None where nothing is said. Raises BadModel.

    A model that was tuned before forms were stored has only the system message that its training rows share.
    """
    if FILE in model.manifest:
        return read(store.file(model, FILE))
    if "task.json" not in model.manifest:
        return None
    rows = json.loads(store.file(model, "task.json").read_text())["train"]
    first = {row["messages"][0][1] if row["messages"][0][0] == "system" else "" for row in rows}
    shared = first.pop() if len(first) == 1 else ""
    return AnswerForm(system=shared) if shared else None


def _refuse(where: str, reason: str) -> NoReturn:
    raise BadModel(f"{where} is not an answer form: {reason}", _AGAIN)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _text(value: Any, field: str, where: str, *, most: int = MOST_BYTES) -> str:
    if not isinstance(value, str):
        _refuse(where, f"{field} must be text")
    if len(value) > most:
        _refuse(where, f"{field} has {len(value):,} characters, and at most {most:,} are read")
    if "\0" in value:
        _refuse(where, f"{field} has a null character")
    return value


def _flag(value: JsonObject, field: str, where: str) -> bool:
    if not isinstance(flag := value.get(field, False), bool):
        _refuse(where, f"{field} must be true or false")
    return flag


def _most(value: JsonObject, where: str) -> int:
    most = value.get("max_tokens", 0)
    if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST_TOKENS:
        _refuse(where, f"max_tokens must be a whole number from 0 to {MOST_TOKENS:,}")
    return most


def _labels(value: JsonObject, where: str) -> tuple[str, ...]:
    listed = value.get("labels", [])
    if not isinstance(listed, list) or len(listed) > MOST_LABELS:
        _refuse(where, f"labels must be a list of at most {MOST_LABELS:,}")
    labels = tuple(_text(label, "a label", where, most=MOST_LABEL) for label in listed)
    if any(not label.strip() for label in labels):
        _refuse(where, "a label is empty")
    if len(set(labels)) < len(labels):
        _refuse(where, "a label appears twice")
    return labels


def _schema(value: JsonObject, where: str) -> str:
    schema = value.get("schema")
    if schema is None:
        return ""
    if not isinstance(schema, dict) or not schema:
        _refuse(where, "schema must be a JSON schema, or null")
    if strict_json.depth(schema, MOST_DEPTH) > MOST_DEPTH:
        _refuse(where, f"schema is nested deeper than {MOST_DEPTH}")
    return json.dumps(schema, ensure_ascii=False)


def _shots(value: JsonObject, where: str) -> tuple[Messages, ...]:
    listed = value.get("shots", [])
    if not isinstance(listed, list) or not all(isinstance(shot, list) for shot in listed):
        _refuse(where, "shots must be a list of lists of messages")
    if sum(map(len, listed)) > MOST_MESSAGES:
        _refuse(where, f"shots have more than {MOST_MESSAGES} messages")
    return tuple(_shot(shot, where) for shot in listed)


def _shot(turns: list[Any], where: str) -> Messages:
    """A worked example: questions and answers by turns."""
    messages = tuple(
        (str(entry["role"]), _text(entry["content"], "a message", where))
        for entry in turns
        if isinstance(entry, dict) and set(entry) == {"role", "content"}
    )
    roles = [role for role, _ in messages]
    if len(messages) != len(turns) or roles[-1:] != ["assistant"] or set(roles) != {"user", "assistant"}:
        _refuse(where, "a worked example must be messages of user and assistant that end with an answer")
    return messages
