"""One row becomes chat messages and what metrics need besides, by the shape of the rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.data import messages as chats
from freehold.data.choices import listed, written
from freehold.data.columns import Mapping
from freehold.data.messages import Turn, answered, arranged, history_of, tools_of, transcript, turns_of
from freehold.data.names import SUBJECT, SUMMARY, plain, rank
from freehold.data.profile import is_messages
from freehold.data.table import Row
from freehold.data.values import MISSING_TEXT, RowFault, is_missing, parsed, text_of, unwrapped

LABEL_INSTRUCTION = "Classify the text. Answer with the label only."
LABELS_INSTRUCTION = (
    "Label the text. Answer with all labels that apply, in alphabetical order, separated by commas."
)
LABELS_AS_JSON = "Label the text. Answer with a JSON list of all labels that apply, in alphabetical order."
NO_ANSWER = "no answer"
_GOOD = frozenset({"true", "accept", "1", "1.0", "yes", "good", "desirable", "chosen", "accepted", "up"})
_BAD = frozenset(
    {"false", "reject", "ignore", "ignored", "0", "0.0", "-1", "no", "bad", "undesirable", "rejected", "down"}
)

#: Sentences on what was changed or left out, by the key that counts the rows.
NOTES = {
    **chats.NOTES,
    "bad": (
        "{n} row[|s] [is|are] marked as [a bad answer|bad answers] and left out: only good answers are used."
    ),
    "weightless": "{n} row[|s] of weight 0 [is|are] left out.",
    "first": "{n} row[|s] list[s|] several answers: the first one is the expected answer.",
    "unanswerable": (
        f'{{n}} row[|s] [has|have] an empty list of answers: the expected answer is "{NO_ANSWER}".'
    ),
    "unlabelled": (
        '{n} row[|s] [has|have] an empty list of labels: [it is|they are] read as the label "none".'
    ),
    "control": "In {n} row[|s] control characters are removed from the text.",
    "subjectless": "In {n} row[|s] some of the text columns are empty; the others are used.",
}


@dataclass(frozen=True)
class Reading:
    """Decisions that need all rows of all splits.

    ``separator``: "" for one label a row, "list" for lists, else what stands between labels.
    ``first_choice``: what the answers call the first of the choices, "" where they repeat its text.
    """

    missing: frozenset[str] = frozenset()
    separator: str = ""
    labels_as_json: bool = False
    first_choice: str = ""


@dataclass(frozen=True)
class Shaped:
    """A row as messages, the last one the wanted answer, and the fields that metrics need."""

    messages: tuple[tuple[str, str], ...]
    reference: dict[str, str]


@dataclass(frozen=True)
class Cells:
    """The cells of a row by the part they play."""

    row: Row
    mapping: Mapping
    reading: Reading
    tally: Counter[str]

    def has(self, part: str) -> bool:
        """Whether a column plays this part."""
        return part in self.mapping.parts

    def column(self, part: str) -> str:
        """The (first) column of a part, as faults name it."""
        return self.mapping.parts[part][0]

    def value(self, part: str) -> Any:
        """The cell of a part; None where no column plays it."""
        return unwrapped(self.row.fields.get(self.column(part))) if self.has(part) else None

    def optional(self, part: str) -> str:
        """The text of a part, "" where it is missing. Several columns are joined."""
        columns = self.mapping.parts.get(part, ())
        cells = [(column, unwrapped(self.row.fields.get(column))) for column in columns]
        present = [
            (column, _written(value, column))
            for column, value in cells
            if not is_missing(value, MISSING_TEXT)
        ]
        if len(columns) > 1:
            self.tally["subjectless"] += 0 < len(present) < len(columns)
            return joined(present, columns)
        return present[0][1] if present else ""

    def needed(self, part: str) -> str:
        """The text of a part. Raises RowFault where it is missing."""
        text = self.optional(part)
        if not text:
            raise RowFault(self.column(part), absent(self.value(part)))
        return text


def absent(value: Any) -> str:
    """What is wrong with a value that is missing."""
    if value is None:
        return "no value"
    if isinstance(value, str) and value.strip():
        return f"{value.strip()!r} is read as a missing value"
    return "empty value" if isinstance(value, str) else "is not a number and is read as a missing value"


def _written(value: Any, column: str) -> str:
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return "\n\n".join(value)
    return text_of(value, column)


def joined(present: Sequence[tuple[str, str]], columns: Sequence[str]) -> str:
    """Several columns as one text: each after its name, but for the last one where the first is a subject or
    title.
    """
    bare = columns[-1] if rank(columns[0], SUBJECT) or rank(columns[0], SUMMARY, whole=True) else None
    return "\n\n".join(
        text if column == bare else f"{column[:1].upper()}{column[1:]}: {text}" for column, text in present
    )


def shaped(cells: Cells) -> Shaped | None:
    """A row in messages; None for a row that is no example (a bad answer, weight 0), which is counted. Raises
    RowFault.
    """
    weight = cells.value("weight")
    if not is_missing(weight) and text_of(weight).strip() in ("0", "0.0"):
        cells.tally["weightless"] += 1
        return None
    forms = {"messages": _chat, "preference": _preference, "code": _code, "text": _labelled}
    if cells.has("good") and not _is_good(cells):
        cells.tally["bad"] += 1
        return None
    return forms.get(cells.mapping.shape, _answered)(cells)


def _above(cells: Cells, instruction: str = "") -> list[Turn]:
    """What stands before the prompt: system message, tools, history."""
    system = cells.optional("system") or instruction
    turns = [Turn("system", system)] if system else []
    if cells.has("tools"):
        turns += tools_of(cells.value("tools"), cells.column("tools"), cells.tally)
    return turns + (
        history_of(cells.value("history"), cells.column("history")) if cells.has("history") else []
    )


def _chat(cells: Cells) -> Shaped:
    column = cells.column("messages")
    value = parsed(cells.value("messages"))
    turns = answered(
        [*_above(cells), *_inner_tools(value, column, cells.tally), *turns_of(value, column, cells.tally)],
        column,
        cells.tally,
    )
    if turns[-1].content.strip() in MISSING_TEXT:
        raise RowFault(column, absent(turns[-1].content))
    reference = {"rejected": _rejected_text(cells)} if cells.has("rejected") else {}
    return Shaped(arranged(turns, column, cells.tally), reference)


def _inner_tools(value: Any, column: str, tally: Counter[str]) -> list[Turn]:
    """Functions defined inside an object that holds the messages."""
    return tools_of(value.get("tools"), column, tally) if isinstance(value, dict) else []


def _prompt_turns(cells: Cells) -> tuple[list[Turn], str]:
    """(the turns of the prompt, its column). A prompt may be a list of messages."""
    part = next(part for part in ("prompt", "text", "instruction", "input", "context") if cells.has(part))
    column = cells.column(part)
    value = parsed(cells.value(part))
    if is_messages(value):
        return [*_inner_tools(value, column, cells.tally), *turns_of(value, column, cells.tally)], column
    pieces = [
        cells.optional(name)
        for name in ("context", "instruction", "prompt", "text", "input")
        if cells.has(name)
    ]
    main = [cells.optional(name) for name in ("instruction", "prompt", "text", "input") if cells.has(name)]
    if not any(main):
        raise RowFault(column, absent(cells.value(part)))
    if cells.has("choices"):
        pieces.append(_choices(cells))
    return [Turn("user", "\n\n".join(piece for piece in pieces if piece))], column


def _choices(cells: Cells) -> str:
    """What the answer is chosen from, one a line. Raises RowFault where there is nothing to choose."""
    columns = cells.mapping.parts["choices"]
    choices = listed([unwrapped(cells.row.fields.get(column)) for column in columns])
    if len(choices) < 2:
        raise RowFault(columns[0], "holds fewer than two choices")
    return written(choices, cells.reading.first_choice)


def _answered(cells: Cells) -> Shaped:
    """A prompt, maybe with context, system message and history, and its answer."""
    turns, column = _prompt_turns(cells)
    answer = _answer_turns(cells, "completion")
    reference = {"answer": cells.needed("answer")} if cells.has("answer") else {}
    return Shaped(arranged([*_above(cells), *turns, *answer], column, cells.tally), reference)


def _answer_turns(cells: Cells, part: str) -> list[Turn]:
    """The answer: a text, or messages of which the last assistant's is the wanted one."""
    column, value = cells.column(part), cells.value(part)
    chat = parsed(value)
    if isinstance(chat, dict) and is_messages([chat]):
        chat = [chat]
    if is_messages(chat):
        return answered(turns_of(chat, column, cells.tally), column, cells.tally)
    return [Turn("assistant", _answer_text(cells, column, value))]


def _answer_text(cells: Cells, column: str, value: Any) -> str:
    if plain(column) in ("answers", "answer"):
        value = _first_answer(parsed(value) if plain(column) == "answers" else value, column, cells.tally)
    if is_missing(value, cells.reading.missing):
        raise RowFault(column, absent(value))
    return text_of(value, column)


def _first_answer(value: Any, column: str, tally: Counter[str]) -> Any:
    """The first of several right answers, as question sets list them; any other value as it is."""
    texts = (
        unwrapped(value.get("text"))
        if isinstance(value, dict) and set(value) <= {"text", "answer_start", "answer_end"}
        else None
    )
    if texts is None and isinstance(value, list | tuple) and plain(column) == "answers":
        texts = value
    if isinstance(texts, str):
        return texts
    if texts is None or not all(isinstance(text, str) for text in texts):
        return value
    if not texts:
        tally["unanswerable"] += 1
        return NO_ANSWER
    tally["first"] += len(set(texts)) > 1
    return texts[0]


def _labelled(cells: Cells) -> Shaped:
    """A text and its label, or its labels."""
    instruction = cells.optional("instruction") if cells.has("text") else ""
    part = "labels" if cells.has("labels") else "label"
    several = bool(cells.reading.separator)
    default = (
        (LABELS_AS_JSON if cells.reading.labels_as_json else LABELS_INSTRUCTION)
        if several
        else LABEL_INSTRUCTION
    )
    turns = _above(cells, instruction or default)
    texts = [cells.optional(name) for name in ("context", "text", "prompt", "input") if cells.has(name)]
    if not cells.has("text"):
        texts.insert(0, cells.optional("instruction"))
    main = next(name for name in ("text", "prompt", "input", "instruction") if cells.has(name))
    user = "\n\n".join(piece for piece in texts if piece)
    if not user or not (cells.optional(main) or main == "instruction"):
        raise RowFault(cells.column(main), absent(cells.value(main)))
    if several:
        labels = _labels_of(cells, part)
        answer, reference = (
            labels_text(labels, cells.reading.labels_as_json),
            {"labels": json.dumps(labels, ensure_ascii=False)},
        )
    else:
        value = cells.value(part)
        if is_missing(value, cells.reading.missing):
            raise RowFault(cells.column(part), absent(value))
        answer = text_of(value, cells.column(part))
        reference = {"label": answer}
    return Shaped(
        arranged([*turns, Turn("user", user), Turn("assistant", answer)], cells.column(main), cells.tally),
        reference,
    )


def _labels_of(cells: Cells, part: str) -> list[str]:
    """The labels of a row, each once, sorted. Raises RowFault."""
    column, value = cells.column(part), cells.value(part)
    pieces = split_labels(value, cells.reading.separator)
    if pieces is None or is_missing(value, cells.reading.missing):
        raise RowFault(column, absent(value))
    if not pieces:
        cells.tally["unlabelled"] += 1
        return ["none"]
    if any(is_missing(piece, cells.reading.missing) for piece in pieces):
        raise RowFault(column, "one of the labels is empty")
    return sorted({text_of(piece, column) for piece in pieces})


def split_labels(value: Any, separator: str) -> list[Any] | None:
    """The labels in a cell; None where it is missing."""
    listed = parsed(value)
    if isinstance(listed, list | tuple):
        return [unwrapped(item) for item in listed]
    if is_missing(value):
        return None
    if separator == "list":
        return [value]
    return [piece.strip() for piece in text_of(value).split(separator) if piece.strip()]


def labels_text(labels: Sequence[str], as_json: bool) -> str:
    """Several labels as the wanted answer."""
    return json.dumps(list(labels), ensure_ascii=False) if as_json else ", ".join(labels)


def _code(cells: Cells) -> Shaped:
    """A function begun, the rest of it, and its tests."""
    prompt, code = cells.needed("prompt"), cells.needed("code")
    reference = {"prompt": prompt} | {
        part: cells.needed(part) for part in ("test", "entry_point") if cells.has(part)
    }
    return Shaped(
        (
            *((turn.role, turn.content) for turn in _above(cells)),
            ("user", prompt),
            ("assistant", prompt + code),
        ),
        reference,
    )


def _is_good(cells: Cells) -> bool:
    value = cells.value("good")
    words = {word: True for word in _GOOD} | {word: False for word in _BAD}
    good = None if is_missing(value) else words.get(text_of(value).strip().casefold())
    if good is None:
        raise RowFault(
            cells.column("good"),
            absent(value) if is_missing(value) else f"{value!r} is neither true nor false",
        )
    return good


# -- two answers ----------------------------------------------------------------------------------


def _preference(cells: Cells) -> Shaped:
    """A better and a worse answer to the same prompt, as texts or as messages; the prompt may be what both
    begin with.
    """
    part = "completion" if cells.has("completion") else "label"
    column = cells.column(part) if cells.has(part) else cells.column("messages")
    better = (
        _conversation(cells, part)
        if cells.has(part)
        else turns_of(cells.value("messages"), column, cells.tally)
    )
    worse = _conversation(cells, "rejected")
    named = [name for name in ("prompt", "text", "instruction", "input") if cells.has(name)]
    prompt = _shared(better, worse)
    if len(better) == 1 or not any(turn.role == "user" for turn in prompt):
        if not named:
            raise RowFault(
                column, "there is no prompt, and the two conversations do not begin with the same messages"
            )
        prompt = _prompt_turns(cells)[0]
    better, worse = (
        answered(better, column, cells.tally),
        answered(worse, cells.column("rejected"), Counter()),
    )
    if better[-1].content.strip() == worse[-1].content.strip():
        raise RowFault(cells.column("rejected"), "the better and the worse answer are the same")
    turns = [*_above(cells), *prompt, better[-1]]
    return Shaped(arranged(turns, column, cells.tally), {"rejected": worse[-1].content})


def _conversation(cells: Cells, part: str) -> list[Turn]:
    """An answer of a pair, as turns."""
    value = cells.value(part)
    if isinstance(value, str):
        turns = transcript(value)
        if turns:
            return turns
    return _answer_turns(cells, part)


def _shared(better: Sequence[Turn], worse: Sequence[Turn]) -> list[Turn]:
    """What both conversations begin with, up to the last answers."""
    shared: list[Turn] = []
    for turn, other in zip(better[:-1], worse[:-1], strict=False):
        if (turn.role, turn.content) != (other.role, other.content):
            break
        shared.append(turn)
    return shared


def _rejected_text(cells: Cells) -> str:
    return _answer_turns(cells, "rejected")[-1].content
