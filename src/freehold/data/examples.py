"""Rows of JSONL, CSV and Parquet become examples; every row that cannot is reported, all at once.

An example is a list of chat messages whose last one is the wanted answer, plus an id.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freehold.durable import digest_of
from freehold.errors import BadData, NotFound, UsageError

ROLES = ("system", "user", "assistant")
LABEL_INSTRUCTION = "Classify the text. Answer with the label only."

#: Column names by what they hold, likeliest first.
_GUESSES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "chat"),
    "prompt": ("prompt", "question", "instruction", "input", "query", "user"),
    "completion": ("completion", "response", "output", "answer", "chosen", "assistant", "target"),
    "text": ("text", "sentence", "message", "utterance", "content", "document"),
    "label": ("label", "category", "intent", "class", "topic"),
    "code": ("canonical_solution", "solution"),
}
#: The columns each shape of row needs, in the order they are tried.
SHAPES = (("messages",), ("prompt", "code"), ("prompt", "completion"), ("text", "label"))
_MOST_FAULTS_SHOWN = 20


@dataclass(frozen=True)
class Example:
    """``messages``: (role, content) pairs, the last from the assistant; ``reference``: other fields metrics need."""

    id: str
    messages: tuple[tuple[str, str], ...]
    reference: dict[str, str] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """The wanted answer."""
        return self.messages[-1][1]

    @property
    def prompt(self) -> tuple[tuple[str, str], ...]:
        """The messages before the answer."""
        return self.messages[:-1]

    @property
    def question(self) -> str:
        """The last user message: what near-duplicates are sought in."""
        return next((content for role, content in reversed(self.prompt) if role == "user"), "")

    @property
    def digest(self) -> str:
        """sha256 of what is asked and answered, whatever the id."""
        return digest_of([list(message) for message in self.messages])


@dataclass(frozen=True)
class Mapping:
    """Which column plays which part, and whether that was guessed or given."""

    columns: dict[str, str]
    guessed: bool

    def __str__(self) -> str:
        pairs = ", ".join(f"{part}={column}" for part, column in self.columns.items())
        return f"{pairs} ({'guessed; override with --columns' if self.guessed else 'given'})"


@dataclass(frozen=True)
class Dataset:
    """The examples of one file."""

    path: Path
    mapping: Mapping
    examples: tuple[Example, ...]


def parse_columns(text: str) -> dict[str, str]:
    """``text=body,label=team`` -> parts and columns. Raises UsageError."""
    columns: dict[str, str] = {}
    for pair in text.split(","):
        part, equals, column = (piece.strip() for piece in pair.partition("="))
        if not equals or part not in (*_GUESSES, "id") or not column:
            raise UsageError(f"--columns does not understand {pair!r}", f"write PART=COLUMN with PART one of {', '.join((*_GUESSES, 'id'))}")
        columns[part] = column
    return columns


def read_examples(path: Path, columns: dict[str, str] | None = None) -> Dataset:
    """Read a .jsonl, .csv, .tsv or .parquet file. Raises NotFound, and BadData holding every fault with file, line and field."""
    if not path.is_file():
        raise NotFound(f"there is no data file {path}", "check the path")
    faults: list[str] = []
    rows = list(read_rows(path, faults))
    if not rows and not faults:
        raise BadData(f"{path} holds no rows", "give a file with one JSON object per line")
    keys = list(dict.fromkeys(key for _, row in rows[:100] for key in row))
    mapping = _mapping(path, keys, columns) if rows else Mapping({}, True)
    examples: list[Example] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        example = _example(path, line, row, mapping, faults)
        if example is None:
            continue
        if example.id in seen:
            faults.append(f"{path.name}:{line}: field 'id': {example.id!r} already stands on line {seen[example.id]}")
        seen[example.id] = line
        examples.append(example)
    if faults:
        shown = faults[:_MOST_FAULTS_SHOWN]
        more = f"\n  ... and {len(faults) - len(shown)} more" if len(faults) > len(shown) else ""
        raise BadData(f"{len(faults)} faults in {path}:\n  " + "\n  ".join(shown) + more, "mend or remove these rows; nothing was read", faults)
    return Dataset(path, mapping, tuple(examples))


def read_rows(path: Path, faults: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, fields) of each row of a .jsonl, .csv, .tsv or .parquet file; a sentence in ``faults`` for each that is none. Raises BadData."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            yield from enumerate(pq.read_table(path).to_pylist(), 1)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadData(f"{path} is no readable Parquet file ({str(error).splitlines()[0]})", "write it again") from error
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BadData(f"{path.name}:{line}: byte {error.start} is not UTF-8", "save the file as UTF-8") from error
    if kind in (".csv", ".tsv"):
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if kind == ".tsv" else ",")
        for row in reader:
            if None in row or None in row.values():
                faults.append(f"{path.name}:{reader.line_num}: has {'more' if None in row else 'fewer'} fields than the header")
            else:
                yield reader.line_num, row
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            faults.append(f"{path.name}:{number}: is no JSON ({error})")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            faults.append(f"{path.name}:{number}: is a JSON {type(row).__name__}, not an object")


def _mapping(path: Path, keys: list[str], given: dict[str, str] | None) -> Mapping:
    if given:
        missing = [column for column in given.values() if column not in keys]
        if missing:
            close = difflib.get_close_matches(missing[0], keys, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise BadData(f"{path.name} has no column {missing[0]!r}; it has {', '.join(keys)}{hint}", "correct --columns")
    by_lower = {key.lower(): key for key in keys}
    guess = {part: next((by_lower[n] for n in names if n in by_lower), None) for part, names in _GUESSES.items()}
    found = {part: column for part, column in guess.items() if column} | (given or {})
    for shape in SHAPES:
        if given and not set(given) - {"id"} <= set(shape):
            continue
        if all(part in found for part in shape) and len({found[part] for part in shape}) == len(shape):
            return Mapping({part: found[part] for part in shape} | ({"id": given["id"]} if given and "id" in given else {}), not given)
    example = f"--columns prompt={keys[0]},completion={keys[-1]}" if len(keys) > 1 else "add a column for the answers"
    raise BadData(
        f"{path.name} has the columns {', '.join(keys)}, and none of the known shapes (messages | prompt, completion | text, label) is among them",
        f"say which is which, for example: {example}",
    )


def _example(path: Path, line: int, row: dict[str, Any], mapping: Mapping, faults: list[str]) -> Example | None:
    columns = mapping.columns
    before = len(faults)

    def text(part: str) -> str:
        value = row.get(columns[part])
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, dict | list):
            value = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, str) or not value.strip():
            what = "is missing" if value is None else "is empty" if isinstance(value, str) else f"is a {type(value).__name__}, not text"
            faults.append(f"{path.name}:{line}: field {columns[part]!r} {what}")
            return ""
        return value

    if "messages" in columns:
        messages = _messages(path, line, columns["messages"], row.get(columns["messages"]), faults)
    elif "text" in columns:
        messages = (("system", LABEL_INSTRUCTION), ("user", text("text")), ("assistant", text("label").strip()))
    elif "code" in columns:
        messages = (("user", text("prompt")), ("assistant", text("prompt") + text("code")))
    else:
        messages = (("user", text("prompt")), ("assistant", text("completion")))
    if len(faults) > before:
        return None
    reference = {key: str(row[key]) for key in ("label", "answer", "test", "entry_point", "rejected") if isinstance(row.get(key), str | int | float)}
    if "label" in columns:
        reference["label"] = messages[-1][1]
    if "code" in columns:
        reference["prompt"] = messages[0][1]
    given_id = row.get(columns.get("id", "id"), row.get("task_id"))
    return Example(str(given_id) if given_id is not None else f"{path.stem}-{line}", messages, reference)


def _messages(path: Path, line: int, column: str, value: Any, faults: list[str]) -> tuple[tuple[str, str], ...]:
    """A chat column: role and content, or from and value as ShareGPT has it."""
    where = f"{path.name}:{line}: field {column!r}"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or len(value) < 2:
        faults.append(f"{where} needs a list of at least two messages")
        return ()
    names = {"human": "user", "gpt": "assistant", "model": "assistant"}
    messages: list[tuple[str, str]] = []
    for index, message in enumerate(value):
        role = message.get("role", message.get("from")) if isinstance(message, dict) else None
        content = message.get("content", message.get("value")) if isinstance(message, dict) else None
        role = names.get(str(role), role)
        if role not in ROLES:
            faults.append(f"{where}[{index}].role is {role!r}, not one of {', '.join(ROLES)}")
        elif not isinstance(content, str) or not content.strip():
            faults.append(f"{where}[{index}].content {'is empty' if isinstance(content, str) else 'is missing or no text'}")
        else:
            messages.append((str(role), content))
    if len(messages) == len(value) and messages[-1][0] != "assistant":
        faults.append(f"{where}: the last message is from {messages[-1][0]!r}; it must be the assistant's wanted answer")
    return tuple(messages)
