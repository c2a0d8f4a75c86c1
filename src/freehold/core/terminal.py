"""What a terminal is shown: text from elsewhere cannot move the cursor, rewrite lines, change colours or
reverse what is read.

Names, rows, answers, file names and errors that quote them all pass through the streams that :func:`guarded`
puts in place of standard output and standard error. What Freehold itself does with the cursor and colours
goes to :func:`raw`.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Generator, Iterable
from typing import IO, Any, cast

#: Control characters but for the tab and the end of a line, what reverses the direction of text, other ends
#: of lines, and halves of characters, which cannot be written at all.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_IN_A_LINE = re.compile("[\t\n]")


def shown(text: str) -> str:
    """The text with what a terminal would act on written as its code: ``\\x1b``."""
    return _UNSAFE.sub(_code, text.replace("\r\n", "\n"))


def line(text: str) -> str:
    """As :func:`shown`, on one line."""
    return _NOT_IN_A_LINE.sub(_code, shown(text))


def in_json(text: str) -> str:
    """JSON that says the same, with what a terminal would act on escaped."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _code(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode()


class Shown:
    """A text stream on which every text is written as :func:`shown` gives it. The rest is the stream's
    own.
    """

    def __init__(self, stream: IO[str]):
        self.raw = stream

    def write(self, text: str) -> int:
        """Write a text; its length."""
        self.raw.write(shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for each in lines:
            self.write(each)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw(stream: IO[str]) -> IO[str]:
    """The stream itself, for what Freehold does with the cursor and for answers that another program
    reads.
    """
    return stream.raw if isinstance(stream, Shown) else stream


@contextlib.contextmanager
def guarded() -> Generator[None]:
    """Within the block, standard output and standard error show text from elsewhere safely."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _guarded(stream: IO[str]) -> Any:
    if stream is None or isinstance(stream, Shown):  # it is None where it was closed when this process began
        return stream
    if isinstance(stream, io.TextIOWrapper):
        cast(io.TextIOWrapper, stream).reconfigure(errors="backslashreplace")
    return Shown(stream)
