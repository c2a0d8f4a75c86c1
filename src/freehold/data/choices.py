"""What an answer is chosen from: the choices of a row as texts, marked as the answers name them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from freehold.data.values import is_missing, parsed, text_of, unwrapped

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARKED = re.compile(r"\s*\(?[A-Za-z0-9][).:]")


def listed(cells: Sequence[Any]) -> list[tuple[str, str]]:
    """(mark, text) of each choice: of one cell that holds a list, or of several cells; "" for no mark."""
    value = parsed(cells[0]) if len(cells) == 1 else [cell for cell in cells if not is_missing(cell)]
    if isinstance(value, dict) and {"text", "label"} <= set(value):
        texts, marks = unwrapped(value["text"]), unwrapped(value["label"])
        return [(text_of(mark), text_of(text)) for mark, text in zip(marks, texts, strict=False)]
    if isinstance(value, dict):
        return [(str(mark), text_of(text)) for mark, text in value.items()]
    if not isinstance(value, list | tuple):
        return []
    return [_choice(item) for item in value]


def _choice(item: Any) -> tuple[str, str]:
    if isinstance(item, dict) and "text" in item:
        mark = item.get("label", item.get("id", item.get("key", "")))
        return "" if is_missing(mark) else text_of(mark), text_of(item["text"])
    return "", text_of(item)


def names_one(answer: Any, choices: Sequence[tuple[str, str]]) -> bool:
    """Whether an answer is the mark, the text, the letter or the number of one of the choices."""
    if is_missing(answer) or len(choices) < 2:
        return False
    text = text_of(answer).strip()
    if any(text.casefold() in (mark.casefold(), said.strip().casefold()) for mark, said in choices):
        return True
    if text.isdecimal():
        return int(text) <= len(choices)
    return len(text) == 1 and text.upper() in _LETTERS[: len(choices)]


def first_mark(answers: Sequence[Any]) -> str:
    """What the answers of all rows count the choices from: "A", "a", "0" or "1"; "" where they do not
    count."""
    texts = [text_of(answer).strip() for answer in answers if not is_missing(answer)]
    if texts and all(text.isdecimal() for text in texts):
        return "0" if "0" in texts else "1"
    if texts and all(len(text) == 1 and text.upper() in _LETTERS for text in texts):
        return "A" if any(text.isupper() for text in texts) else "a"
    return ""


def written(choices: Sequence[tuple[str, str]], first: str) -> str:
    """The choices, one a line, each after its mark."""
    lines: list[str] = []
    for number, (mark, text) in enumerate(choices):
        counted = mark
        if first and not mark:
            counted = chr(ord(first) + number) if first.isalpha() else str(number + int(first))
        if first and not mark and all(_MARKED.match(said) for _, said in choices):
            lines.append(text)
        else:
            lines.append(f"{counted}. {text}" if mark or first else f"- {text}")
    return "\n".join(lines)
