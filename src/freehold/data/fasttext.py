"""Rows as fastText keeps them: a line holds its labels, each after ``__label__``, and a text."""

from __future__ import annotations

import re

from freehold.data.draft import Draft

_MARK = "__label__"
_LINE = re.compile(rf"\s*((?:{_MARK}\S+[\s,]+)+)(.*)", re.S)
_LOOKED_AT, _NEARLY = 300, 0.9


def looks_like_fasttext(text: str) -> bool:
    """Whether nearly all of the first lines begin with a label in the form of fastText."""
    lines = [line for line in text[: 1 << 20].splitlines() if line.strip()][:_LOOKED_AT]
    marked = sum(line.lstrip().startswith(_MARK) for line in lines)
    return bool(lines) and marked >= _NEARLY * len(lines)


def read_fasttext(name: str, text: str) -> Draft:
    """Rows with the columns text and label, or labels where a line has several; lines without are faults."""
    draft = Draft(name, columns=["text", "label"])
    draft.notes.append(f'The lines are in the form of fastText: words after "{_MARK}" are the labels.')
    read: list[tuple[int, list[str], str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match:
            labels = [word.strip(",").removeprefix(_MARK) for word in match[1].split() if word.strip(",")]
            read.append((number, labels, match[2].strip()))
        elif line.strip():
            draft.fault(f"{name}, line {number}", f"has no text after a label that begins with {_MARK}")
    several = any(len(labels) > 1 for _, labels, _ in read)
    if several:
        draft.columns = ["text", "labels"]
    for number, labels, said in read:
        answer = {"labels": labels} if several else {"label": labels[0]}
        draft.add(f"{name}, line {number}", {"text": said, **answer})
    return draft
