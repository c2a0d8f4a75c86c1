"""A document's bytes become passages: parts of its text short enough to be embedded, each with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from freehold.core import limited_process
from freehold.core.errors import BadData, Unsupported

#: Characters of a passage; paragraphs are joined up to this length.
LENGTH = 900
#: Ends of the names of files that are read as text. PDF is read too.
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
#: Longer lines are split.
_LONGEST_LINE = 20_000


@dataclass(frozen=True)
class Passage:
    """A part of a document's text."""

    text: str
    #: its page, from 1; 0 where the document has no pages
    page: int
    #: its first and last line in that page or document, from 1
    first: int
    last: int


def read(name: str, data: bytes) -> list[Passage]:
    """The passages of a document; the end of its name says its format.

    Raises Unsupported for a format that is not read, BadData for a file that cannot be read.
    """
    is_pdf = name.lower().endswith(".pdf")
    pages = _pdf(name, data) if is_pdf else _text(name, data)
    if sum(len(text) for _, text in pages) > MOST_CHARACTERS:
        raise BadData(f"{name} has more than {MOST_CHARACTERS:,} characters", "split it")
    passages = [passage for page, text in pages for passage in _split(page, text)]
    if not passages:
        remedy = "a scanned PDF needs text recognition first" if is_pdf else "choose a file with text"
        raise BadData(f"{name} has no text", remedy)
    return passages


def _text(name: str, data: bytes) -> list[tuple[int, str]]:
    """The text of a file without pages. Raises BadData, Unsupported."""
    if not name.lower().endswith(TEXT_ENDS):
        formats = ", ".join(TEXT_ENDS)
        raise Unsupported(f"{name} has a format that is not read here", f"use PDF or text: {formats}")
    try:
        return [(0, data.decode("utf-8-sig"))]
    except UnicodeDecodeError as error:
        raise BadData(f"{name}, byte {error.start}: not UTF-8", "save the file as UTF-8") from error


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
    """(number, line) of each line, an empty one at the end; a very long one in several parts of the same
    number.
    """
    number = 0
    for number, line in enumerate(text.splitlines(), start=1):
        for start in range(0, max(len(line), 1), _LONGEST_LINE):
            yield number, line[start : start + _LONGEST_LINE]
    yield number + 1, ""


def _split(page: int, text: str) -> Iterator[Passage]:
    """Paragraphs joined up to :data:`LENGTH`."""
    lines: list[str] = []
    first = size = 0

    def passage() -> Passage:
        while not lines[-1].strip():
            lines.pop()
        return Passage("\n".join(lines).strip(), page, first, first + len(lines) - 1)

    for number, line in _lines(text):
        # a passage ends between paragraphs if possible, and else between lines
        if lines and (size + len(line) > LENGTH or (not line.strip() and size > LENGTH // 2)):
            yield passage()
            lines, size = [], 0
        if line.strip() or lines:
            if not lines:
                first = number
            lines.append(line)
            size += len(line) + 1
    if lines:
        yield passage()


def fitted(passages: list[Passage], count: Callable[[str], int], most: int) -> Iterator[Passage]:
    """The passages; those of more than ``most`` tokens are halved between sentences or words until they
    fit.
    """
    for passage in passages:
        if count(passage.text) <= most or len(passage.text) < 2:
            yield passage
        else:
            yield from fitted(_halves(passage), count, most)


def _halves(passage: Passage) -> list[Passage]:
    """A passage in two parts, split near its middle; a part without text is left out."""
    at = _split_point(passage.text)
    before = passage.text[:at]
    line = min(passage.first + before.count("\n"), passage.last)
    halves = (
        replace(passage, text=before.strip(), last=line),
        replace(passage, text=passage.text[at:].strip(), first=line),
    )
    return [half for half in halves if half.text]


def _split_point(text: str) -> int:
    """The end of the sentence, or else of the word, that is nearest to the middle."""
    middle = len(text) // 2
    ends = [match.end() for match in re.finditer(r"[.!?]\s+", text)]
    ends = ends or [match.end() for match in re.finditer(r"\s+", text)]
    inside = [end for end in ends if 0 < end < len(text)]
    return min(inside or [middle], key=lambda end: abs(end - middle))
