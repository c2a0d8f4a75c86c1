"""The process that holds the answer's code and calls it when the tests' process asks for it."""

from __future__ import annotations

import io
import os
import sys
import types

from .limits import limit_self, take_line
from .peer import Peer, described_error

#: Characters of printed text that are kept for the tests between two calls.
_MOST_PRINTED = 1 << 20


class _Printed(io.TextIOBase):
    """Standard output as a text that the tests may read; what is too long is left out."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def write(self, text: str) -> int:
        """Keep a text."""
        if self._length + len(text) <= _MOST_PRINTED:
            self._parts.append(text)
            self._length += len(text)
        return len(text)

    def taken(self) -> str:
        """What was printed since the last time."""
        text = "".join(self._parts)
        self._parts, self._length = [], 0
        return text


def main() -> None:
    """Load the answer that the first message holds, then do what is asked until the line ends."""
    limit_self()
    reads, writes = take_line()
    peer = Peer(os.fdopen(reads, "rb"), os.fdopen(writes, "wb"), lambda *_: True)
    printed = _Printed()
    sys.stdout = printed  # type: ignore[assignment]
    peer.printed = printed.taken
    body = str(peer.receive()["load"])
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    try:
        exec(compile(body, "answer.py", "exec"), module.__dict__)
    except BaseException as error:
        peer.send({"error": described_error(error)})
        return
    names = _names(module)
    peer.send({"module": peer.keep(module), "names": names, "exceptions": _exceptions(module, names)})
    while True:
        peer.answer(peer.receive())


def _names(module: types.ModuleType) -> list[str]:
    names = vars(module)
    return [str(name) for name in list(names)[:10_000] if isinstance(name, str)]


def _exceptions(module: types.ModuleType, names: list[str]) -> list[list[str]]:
    """Exception classes that the answer defines, each with the built-in classes that it comes from."""
    kinds = [vars(module)[name] for name in names]
    own = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    return [
        [kind.__name__, *(each.__name__ for each in kind.__mro__ if each.__module__ == "builtins")]
        for kind in own
        if kind.__module__ == "answer"
    ]
