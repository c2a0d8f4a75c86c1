"""Rows in JSON: an object a line, an array, objects one after another, columns, or one list of rows inside an
object.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from freehold.core.errors import BadData
from freehold.core.wording import counted
from freehold.data.draft import DEEPEST, Draft, depth, quoted, unusable
from freehold.data.table import Fields

_LINE_END = re.compile("\r\n|\n|\r")
_SPACE = re.compile(r"[ \t\r\n]*")
#: Only these escapes can bring a character in that UTF-8 could not have held.
_RISKY = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
#: Parts of a whole object that hold the rows of a split.
SPLIT_KEYS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_REPAIR = "Fix the file, or write it again with one JSON object per line"


class _Decoder:
    """A JSON decoder that remembers what was odd in the value it read last."""

    def __init__(self) -> None:
        self.repeated = ""
        self.constants = 0
        self.json = json.JSONDecoder(object_pairs_hook=self._fields, parse_constant=self._constant)

    def _fields(self, pairs: list[tuple[str, Any]]) -> Fields:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.repeated = next(key for key, count in counts.items() if count > 1)
        return fields

    def _constant(self, _literal: str) -> None:
        self.constants += 1


class _Rows:
    """Takes decoded values in as rows, or as faults, and tells at the end what was odd."""

    def __init__(self, name: str) -> None:
        self.draft = Draft(name)
        self.decoder = _Decoder()
        self._repeats: list[str] = []
        self._missing: list[str] = []
        self._bare = 0

    def add(self, place: str, value: Any, source: str) -> None:
        """``source`` is the text that ``value`` was read from, or any text that says as much about it."""
        draft = self.draft
        if self.decoder.repeated:
            self._repeats.append(f'{place}, "{self.decoder.repeated}"')
        if self.decoder.constants:
            self._missing.append(place)
        self.decoder.repeated, self.decoder.constants = "", 0
        if isinstance(value, list) and _is_conversation(value):
            value = {"messages": value}
            self._bare += 1
        if not isinstance(value, dict):
            draft.fault(place, f"is {kind_of(value)}, not an object with named fields")
        elif not value:
            draft.fault(place, "is an object without fields")
        elif source.count("[") + source.count("{") > DEEPEST and depth(value) > DEEPEST:
            draft.fault(place, f"lists and objects are nested more than {DEEPEST} levels deep")
        elif _RISKY.search(source) and (reason := unusable(value)):
            draft.fault(place, reason)
        else:
            draft.add(place, value)

    def finish(self) -> Draft:
        """The draft, with the notes."""
        notes = self.draft.notes
        if self._repeats:
            notes.append(
                f"In {counted(len(self._repeats), 'row')} a key appears twice (first in {self._repeats[0]}); "
                "the last value is used."
            )
        if self._missing:
            notes.append(
                f"{counted(len(self._missing), 'row contains', 'rows contain')} NaN or Infinity, which JSON "
                f"does not allow (first in {self._missing[0]}); they are read as missing."
            )
        if self._bare:
            notes.append(
                f"{counted(self._bare, 'row is a list', 'rows are lists')} of messages; "
                'the column for them is called "messages".'
            )
        return self.draft


def _is_conversation(value: list[Any]) -> bool:
    """Whether a list is the messages of one conversation."""
    return bool(value) and all(
        isinstance(each, dict) and ({"role", "content"} <= each.keys() or {"from", "value"} <= each.keys())
        for each in value
    )


def kind_of(value: Any) -> str:
    """What a JSON value is, for a sentence."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        int: "a number",
        float: "a number",
    }
    return names[type(value)]


def looks_like_json(text: str) -> bool:
    """Whether a text begins as a JSON object or array and its first line or first value can be read."""
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return False
    return _first_line_is_a_value(text) or _whole_value(_Decoder(), text) is not None


def read_json(name: str, text: str) -> dict[str, Draft]:
    """Rows by split ("train" where none are named). Raises BadData where the whole cannot be read."""
    start = text.lstrip()[:1]
    lines = [line for _, line in _lines(text, most=2)]
    if start == "[" and not (len(lines) > 1 and _first_line_is_a_value(text)):
        return {"train": _read_array(name, text)}
    if start == "{" and (len(lines) == 1 or not _first_line_is_a_value(text)):
        return _read_objects(name, text)
    return {"train": _read_lines(name, text)}


def _first_line_is_a_value(text: str) -> bool:
    line = next((line for _, line in _lines(text, most=1)), "")
    return _decoded(_Decoder(), line.rstrip().removesuffix(","))[1] == ""


def _lines(text: str, most: int = 0) -> Iterator[tuple[int, str]]:
    """(line number, line) of lines that are not empty. JSON texts hold no bare line ends, so these always end
    a line.
    """
    start, number, count = 0, 1, 0
    for end in _LINE_END.finditer(text):
        if text[start : end.start()].strip():
            yield number, text[start : end.start()]
            count += 1
            if count == most:
                return
        start, number = end.end(), number + 1
    if text[start:].strip():
        yield number, text[start:]


def _decoded(decoder: _Decoder, text: str) -> tuple[Any, str]:
    """(value, "") or (None, what is wrong)."""
    try:
        return decoder.json.decode(text), ""
    except RecursionError:
        return None, "lists and objects are nested too deeply"
    except ValueError as error:
        return None, _wrong(error)


def _wrong(error: ValueError) -> str:
    """What is wrong, in a phrase."""
    if isinstance(error, json.JSONDecodeError):
        if "double quotes" in error.msg:
            return "is not valid JSON (names and texts need double quotes, as json.dumps writes them)"
        return f"is not valid JSON ({error.msg[:1].lower()}{error.msg[1:]} at character {error.colno})"
    return "has a number with too many digits" if "digits" in str(error) else f"is not valid JSON ({error})"


def _read_lines(name: str, text: str) -> Draft:
    """An object a line."""
    rows = _Rows(name)
    decoder = rows.decoder
    commas = 0
    rows.draft.bound.check_rows(text.count("\n"), 1)
    for number, line in _lines(text):
        value, wrong = _decoded(decoder, line)
        if wrong and line.rstrip().endswith("},"):
            value, wrong = _decoded(decoder, line.rstrip()[:-1])
            commas += not wrong
        if wrong:
            rows.draft.fault(f"{name}, line {number}", wrong)
        else:
            rows.add(f"{name}, line {number}", value, line)
    if commas:
        rows.draft.notes.append(f"{counted(commas, 'line ends', 'lines end')} in a comma, which is ignored.")
    draft = rows.finish()
    _check_named(name, draft)
    return draft


def _check_named(name: str, draft: Draft) -> None:
    """Raises BadData where no row at all is an object: then the form is wrong, not the rows."""
    reasons = [fault.reason for fault in draft.faults]
    if reasons and not draft.rows and all("not an object with" in reason for reason in reasons):
        kind = reasons[0].removeprefix("is ").partition(",")[0]
        raise BadData(
            f"{name}: each row is {kind}, so its fields have no names",
            'Write each row as an object, for example {"text": ..., "label": ...}',
        )


def _read_array(name: str, text: str) -> Draft:
    """An array of objects, read one by one so that a fault can be placed."""
    rows = _Rows(name)
    at = _SPACE.match(text, text.index("[") + 1).end()  # type: ignore[union-attr]
    number = 0
    while text[at : at + 1] != "]":
        number += 1
        value, end = _value_at(rows.decoder, name, text, at, f"row {number}")
        rows.add(f"{name}, row {number}", value, text[at:end])
        at = _SPACE.match(text, end).end()  # type: ignore[union-attr]
        if text[at : at + 1] == ",":
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
        elif text[at : at + 1] != "]":
            raise _broken(name, text, at, "a comma or the end of the list is missing", f"row {number}")
    if text[at + 1 :].strip():
        raise _broken(name, text, at + 1, "there is more text after the end of the list", f"row {number}")
    draft = rows.finish()
    _check_named(name, draft)
    return draft


def _value_at(decoder: _Decoder, name: str, text: str, at: int, row: str) -> tuple[Any, int]:
    """(value, where it ends). Raises BadData."""
    try:
        return decoder.json.raw_decode(text, at)
    except RecursionError:
        raise BadData(f"{name}, {row}: lists and objects are nested too deeply", _REPAIR) from None
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise _broken(name, text, error.pos, "the file ends in the middle of a value", row) from None
        raise _broken(name, text, error.pos, error.msg[:1].lower() + error.msg[1:], row) from None
    except ValueError as error:
        raise BadData(f"{name}, {row}: {_wrong(error)}", _REPAIR) from None


def _broken(name: str, text: str, at: int, reason: str, row: str) -> BadData:
    line = len(_LINE_END.findall(text[:at])) + 1
    return BadData(f"{name}, line {line} ({row}): not valid JSON, {reason}", _REPAIR)


def _whole_value(decoder: _Decoder, text: str) -> tuple[Any, int] | None:
    start = _SPACE.match(text).end()  # type: ignore[union-attr]
    try:
        return decoder.json.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def _read_objects(name: str, text: str) -> dict[str, Draft]:
    """One object, or objects one after another over several lines; lines where the first value cannot be read
    as either.
    """
    rows = _Rows(name)
    first = _whole_value(rows.decoder, text)
    if first is None:
        if any(_decoded(_Decoder(), line)[1] == "" for _, line in _lines(text, most=20)):
            return {"train": _read_lines(name, text)}
        _value_at(rows.decoder, name, text, _SPACE.match(text).end(), "row 1")  # type: ignore[union-attr]
    assert first is not None
    value, end = first
    if not text[end:].strip():
        whole = _read_whole(name, value, rows.decoder)
        if whole is None and len(list(_lines(text, most=2))) == 1:
            return {"train": _read_lines(name, text)}
        if whole is not None:
            return whole
    at, number = _SPACE.match(text).end(), 0  # type: ignore[union-attr]
    while at < len(text):
        number += 1
        value, end = _value_at(rows.decoder, name, text, at, f"row {number}")
        rows.add(f"{name}, row {number}", value, text[at:end])
        at = re.compile(r"[\s,]*").match(text, end).end()  # type: ignore[union-attr]
    return {"train": rows.finish()}


def _read_whole(name: str, value: Any, decoder: _Decoder) -> dict[str, Draft] | None:
    """The rows that a file of one object holds; None where the object is a row itself."""
    while (
        len(value) == 1
        and isinstance(inner := next(iter(value.values())), dict)
        and any(map(_is_rows, inner.values()))
    ):
        value = inner
    lists = {key: inner for key, inner in value.items() if _is_rows(inner)}
    if "rows" in lists and all(isinstance(each.get("row"), dict) for each in lists["rows"]):
        lists = {"rows": [each["row"] for each in lists["rows"]]}
    if lists and all(key.lower() in SPLIT_KEYS for key in lists):
        return {
            SPLIT_KEYS[key.lower()]: _listed(f"{name}, {key}", inner, decoder) for key, inner in lists.items()
        }
    if len(lists) > 1:
        raise BadData(
            f"{name} is one JSON object with {len(lists)} lists of rows: {quoted(lists)}",
            "Keep only one list of rows in a file",
        )
    if lists:
        ((key, inner),) = lists.items()
        others = [other for other in value if other != key]
        rows = (
            inner,
            f'The rows are the list "{key}" of one JSON object.'
            + (f" Not read: {quoted(others)}." if others else ""),
        )
    else:
        rows = _columns_as_rows(value)
    if rows is None:
        return None
    draft = _listed(name, rows[0], decoder)
    draft.notes.append(rows[1])
    return {"train": draft}


def _is_rows(value: Any) -> bool:
    """A list of objects that are rows, and not the messages of one conversation."""
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return False
    return not _is_conversation(value)


def _listed(name: str, values: list[Any], decoder: _Decoder) -> Draft:
    """Rows of a list inside an object that ``decoder`` read."""
    rows = _Rows(name)
    for number, value in enumerate(values, 1):
        rows.add(f"{name}, row {number}", value, json.dumps(value))
    draft = rows.finish()
    if decoder.repeated:
        draft.notes.append(
            f'The key "{decoder.repeated}" appears twice in an object; the last value is used.'
        )
    if decoder.constants:
        draft.notes.append(
            "The file contains NaN or Infinity, which JSON does not allow; they are read as missing."
        )
    return draft


def _columns_as_rows(value: Fields) -> tuple[list[Fields], str] | None:
    """(rows, a sentence) of an object that holds columns: lists of one length, or values by row number as
    pandas writes them.
    """
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list) and data:
        if all(isinstance(row, list) and len(row) == len(columns) for row in data):
            named = [dict(zip(map(str, columns), row, strict=True)) for row in data]
            return named, 'The rows are in "data", their names in "columns".'
        return None
    inner = list(value.values())
    if (
        len(inner) > 1
        and all(isinstance(each, list) for each in inner)
        and len({len(each) for each in inner}) == 1
    ):
        cells = zip(*inner, strict=True)
        return [dict(zip(value, row, strict=True)) for row in cells], "The file is one object of columns."
    if len(inner) > 1 and all(isinstance(each, dict) and each for each in inner):
        keys = set(map(frozenset, inner))
        if len(keys) == 1 and all(key.isdigit() for key in inner[0]):
            numbers = list(inner[0])
            return [
                {name: column[n] for name, column in value.items()} for n in numbers
            ], "The file is one object of columns."
        if set.intersection(*map(set, inner)):
            return inner, "The file is one JSON object whose values are the rows; its keys are not used."
    return None
