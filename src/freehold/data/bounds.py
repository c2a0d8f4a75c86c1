"""How much a file may hold: rows lie in memory several times as large as they are written.

The rule: what is read of a file, with what each row and value costs beside its text, may be a twelfth of the
memory that is free to this process when reading starts. Readers count it while they read, and one step of
decoding may not ask for more than that either, so that what expands is stopped before it has expanded.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TypeVar

from freehold.core import limited_process, machine
from freehold.core.errors import DoesNotFit

#: Bytes of memory that a byte of text takes at most while it is read, as rows and as examples.
TIMES_IN_MEMORY = 12
#: Bytes of memory that a value takes beside its text.
BYTES_PER_VALUE = 64
#: Bytes of text that take as much memory as a row, and as a value of one, beside their text.
_TEXT_PER_ROW, _TEXT_PER_VALUE, _TEXT_PER_LINE = 32, 8, 5
#: Address space that a step may take beside its data: stacks of threads, what allocators set aside.
_BESIDE_BYTES = 256 << 20
_LOCK = threading.RLock()
T = TypeVar("T")


class Bound:
    """Counts what was read of one file against the memory that is free when reading starts."""

    def __init__(self, name: str, free_bytes: int | None = None, read: int = 0) -> None:
        self.name = name
        self.free_bytes = free_to_this_process() if free_bytes is None else free_bytes
        self.most = max(self.free_bytes // TIMES_IN_MEMORY, 1 << 20)
        self.read = read

    def check(self, size: int, least: bool = False) -> None:
        """Raises DoesNotFit where ``size`` bytes of contents are more than memory takes; ``least``: it is at
        least so much.
        """
        if size > self.most:
            raise DoesNotFit(
                f"{self.name} contains {'more than ' if least else ''}{_size(size)} of data; with "
                f"{_size(self.free_bytes)} of free memory, at most {_size(self.most)} can be read",
                "Pass a part of it, or use a machine with more memory",
            )

    def more(self, size: int) -> None:
        """Count ``size`` further bytes. Raises DoesNotFit."""
        self.read += size
        if self.read > self.most:
            self.check(self.read, least=True)

    def row(self, values: int) -> None:
        """Count what a row of so many values takes beside its text. Raises DoesNotFit."""
        self.more(_TEXT_PER_ROW + values * _TEXT_PER_VALUE)

    def check_rows(self, rows: int, values: int) -> None:
        """Raises DoesNotFit where so many further rows of so many values each are more than memory takes."""
        self.check(self.read + rows * (_TEXT_PER_ROW + values * _TEXT_PER_VALUE), least=True)

    def lines(self, count: int) -> None:
        """Count what so many lines take beside their text. Raises DoesNotFit."""
        self.more(count * _TEXT_PER_LINE)

    @contextlib.contextmanager
    def step(self, mapped_bytes: int = 0) -> Iterator[None]:
        """One step of decoding, which may take as much memory as may be read, beside a mapped file.

        Raises DoesNotFit where it asks for more, before it has it (on Linux, by the limit of address space).
        """
        try:
            with _address_space(self.most + mapped_bytes + _BESIDE_BYTES):
                yield
        except MemoryError:
            raise DoesNotFit(
                f"{self.name} expands to more than {_size(self.most)} at once; with "
                f"{_size(self.free_bytes)} of free memory, at most {_size(self.most)} can be read",
                "Pass a part of it, write it with fewer rows in a group, or use a machine with more memory",
            ) from None

    def each(self, parts: Iterator[T]) -> Iterator[T]:
        """The parts, each made within a step: a few bytes may stand for gigabytes. Raises DoesNotFit."""
        while True:
            with self.step():
                part = next(parts, None)
            if part is None:
                return
            yield part


@contextlib.contextmanager
def within_memory(name: str) -> Iterator[None]:
    """Reading as a whole: it may not take more than the memory that is free. Raises DoesNotFit."""
    try:
        yield
    except MemoryError:
        free = _size(free_to_this_process())
        raise DoesNotFit(
            f"{name} does not fit into memory while it is read ({free} are free now)",
            "Pass a part of it, or use a machine with more memory",
        ) from None


def free_to_this_process() -> int:
    """Bytes that the machine has free, or fewer where the address space of this process is limited."""
    free = machine.look().free_memory_bytes
    if sys.platform == "linux":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(limit - limited_process.address_space_bytes(), 0))
    return free


@contextlib.contextmanager
def _address_space(more_bytes: int) -> Iterator[None]:
    """This process may not map more than ``more_bytes`` further bytes. Allocations beyond fail."""
    if sys.platform != "linux":
        yield
        return
    import resource

    with _LOCK:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = limited_process.address_space_bytes() + more_bytes
        if soft == resource.RLIM_INFINITY or limit < soft:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
