"""A document's bytes become passages: pieces of its text short enough to be embedded, each with where it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from freehold.core import limited_process
from freehold.core.errors import BadData, Unsupported

#: Characters of a passage: paragraphs are put together up to here.
LENGTH = 900
#: What is read as text by its name's end; PDF is read as well.
TEXT_ENDS = (
    ".txt",
    ".md",
    ".markdown",
    ".rst",
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".log",
    ".yaml",
    ".yml",
    ".tex",
    ".srt",
)
#: Characters of text in one document, at most.
MOST_CHARACTERS = 20_000_000
#: Seconds of processor time for reading a PDF; two more for each 100 KB of it.
PDF_S = 10.0
#: Characters of a line that are looked at together.
_LONGEST_LINE = 20_000


@dataclass(frozen=True)
class Passage:
    """Text of a document. ``page``: its page from 1, 0 where there are none; ``first`` and ``last``: lines of that page or document, from 1."""

    text: str
    page: int
    first: int
    last: int


def read(name: str, data: bytes) -> list[Passage]:
    """The passages of a document, by its name's end. Raises Unsupported for a kind that is not read, BadData for one that cannot be."""
    if name.lower().endswith(".pdf"):
        pages = _pdf(name, data)
    elif name.lower().endswith(TEXT_ENDS):
        try:
            pages = [(0, data.decode("utf-8-sig"))]
        except UnicodeDecodeError as error:
            raise BadData(
                f"{name} is not UTF-8 text: its byte {error.start} fits none", "save it as UTF-8"
            ) from error
    else:
        raise Unsupported(
            f"{name} is of a kind that is not read here", f"give PDF or text: {', '.join(TEXT_ENDS)}"
        )
    if sum(len(text) for _, text in pages) > MOST_CHARACTERS:
        raise BadData(f"{name} holds more than {MOST_CHARACTERS:,} characters", "split it")
    found = [passage for page, text in pages for passage in _pieces(page, text)]
    if not found:
        raise BadData(
            f"{name} holds no text",
            "a scanned PDF needs text recognition first"
            if name.lower().endswith(".pdf")
            else "give one with text",
        )
    return found


def _pdf(name: str, data: bytes) -> list[tuple[int, str]]:
    """(number, text) of each page, read in a process with limits. Raises BadData, Unsupported."""
    seconds = min(PDF_S + 2 * len(data) / 100_000, 120)
    bounds = limited_process.Bounds(
        cpu_s=seconds, wall_s=4 * seconds, memory_bytes=1 << 30, output_bytes=100 << 20
    )
    try:
        pages = json.loads(
            limited_process.run("freehold.servers.inference.documents.pdf:pages", data, bounds)
        )
    except limited_process.Exceeded as error:
        raise BadData(
            f"{name} cannot be read as PDF: it {error.reason}",
            "open and save it again in a PDF program, split it, or save it as text",
        ) from error
    except (BadData, Unsupported) as error:
        raise type(error)(f"{name} {error.message}", error.remedy) from error
    return list(enumerate(pages, start=1))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of each line, an empty one at the end; a very long one in several parts of the same number."""
    number = 0
    for number, line in enumerate(text.splitlines(), start=1):
        for start in range(0, max(len(line), 1), _LONGEST_LINE):
            yield number, line[start : start + _LONGEST_LINE]
    yield number + 1, ""


def _pieces(page: int, text: str) -> Iterator[Passage]:
    """Paragraphs put together up to :data:`LENGTH`."""
    lines: list[str] = []
    first = size = 0

    def piece() -> Passage:
        while not lines[-1].strip():
            lines.pop()
        return Passage("\n".join(lines).strip(), page, first, first + len(lines) - 1)

    for number, line in _lines(text):
        # a piece ends between paragraphs if it can, and else between lines
        if lines and (size + len(line) > LENGTH or (not line.strip() and size > LENGTH // 2)):
            yield piece()
            lines, size = [], 0
        if line.strip() or lines:
            if not lines:
                first = number
            lines.append(line)
            size += len(line) + 1
    if lines:
        yield piece()


def fitted(passages: list[Passage], count: Callable[[str], int], most: int) -> Iterator[Passage]:
    """The passages, those of more than ``most`` tokens halved between sentences or words until they fit."""
    for passage in passages:
        if count(passage.text) <= most or len(passage.text) < 2:
            yield passage
            continue
        middle = len(passage.text) // 2
        ends = [found.end() for found in re.finditer(r"[.!?]\s+", passage.text)] or [
            found.end() for found in re.finditer(r"\s+", passage.text)
        ]
        at = min(
            [end for end in ends if 0 < end < len(passage.text)] or [middle],
            key=lambda end: abs(end - middle),
        )
        before = passage.text[:at]
        turn = min(passage.first + before.count("\n"), passage.last)
        parts = [
            replace(passage, text=before.strip(), last=turn),
            replace(passage, text=passage.text[at:].strip(), first=turn),
        ]
        yield from fitted([part for part in parts if part.text], count, most)
