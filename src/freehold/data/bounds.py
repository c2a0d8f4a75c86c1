"""How much a file may hold: rows lie in memory several times as large as they are written."""

from __future__ import annotations

from freehold import machine
from freehold.errors import DoesNotFit

#: Bytes of memory that a byte of text takes at most while it is read, as rows and as examples.
TIMES_IN_MEMORY = 12
#: Bytes of memory that a value takes beside its text.
BYTES_PER_VALUE = 64


class Bound:
    """Counts what was read of one file against the memory that is free when reading starts."""

    def __init__(self, name: str, free_bytes: int | None = None) -> None:
        self.name = name
        self.free_bytes = machine.look().free_memory_bytes if free_bytes is None else free_bytes
        self.most = max(self.free_bytes // TIMES_IN_MEMORY, 1 << 20)
        self.read = 0

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
        self.check(self.read, least=True)


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
