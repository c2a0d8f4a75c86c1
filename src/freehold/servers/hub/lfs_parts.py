"""The parts that large LFS objects are uploaded in: never more than an answer can list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import DoesNotFit

#: Uploads larger than this come in parts of at least this size, so that a broken one is not sent from the
#: start.
PART_BYTES = 64 << 20
#: Objects of one batch; clients send up to 256 at a time.
MOST_OBJECTS = 1000
#: Parts of one object, and of all objects in one answer.
MOST_PARTS, MOST_PARTS_IN_ALL = 1000, 10_000
_ROUNDED_TO = 1 << 20


@dataclass(frozen=True)
class Parts:
    """An object's parts, numbered from 1; all but the last have ``part_bytes``."""

    size_bytes: int
    part_bytes: int

    @property
    def count(self) -> int:
        """How many there are."""
        return -(-self.size_bytes // self.part_bytes)

    def bytes_of(self, number: int) -> int:
        """The size of a part."""
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)


def parts_of(size_bytes: int, large_objects: int = 1) -> Parts:
    """The parts of an object, of so many large ones in one answer."""
    most = max(1, min(MOST_PARTS, MOST_PARTS_IN_ALL // max(1, large_objects)))
    least = -(-size_bytes // most)
    rounded = -(-least // _ROUNDED_TO) * _ROUNDED_TO if least > PART_BYTES else PART_BYTES
    return Parts(size_bytes, rounded)


def why_not(folder: Path, size_bytes: int) -> str:
    """Why an object of this size cannot come in through ``folder``; "" where it can."""
    try:
        atomic_files.need_disk(folder, size_bytes, "the upload")
    except DoesNotFit as error:
        return str(error)
    return ""
