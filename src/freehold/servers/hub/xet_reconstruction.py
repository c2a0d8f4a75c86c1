"""How a file, or a part of it, is put together from chunks of xorbs: the answer of the Xet protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from freehold.hub.blob_store import BlobStore, Content


class Span(BaseModel):
    """Chunks of a xorb (``end`` exclusive) or bytes of an address (``end`` inclusive)."""

    start: int
    end: int


class Term(BaseModel):
    """Chunks that come next in the file; ``unpacked_length``: their bytes there."""

    hash: str
    unpacked_length: int
    range: Span


class Fetch(BaseModel):
    """Where chunks of a xorb can be read."""

    range: Span
    url: str
    url_range: Span


class Reconstruction(BaseModel):
    """``offset_into_first_range``: bytes of the first chunk that come before the part."""

    offset_into_first_range: int
    terms: list[Term]
    fetch_info: dict[str, list[Fetch]]


@dataclass(frozen=True)
class ChunkRange:
    """Chunks ``first`` to ``end`` (exclusive) of a xorb, which have ``size`` bytes in the file."""

    xorb: str
    first: int
    end: int
    size: int


#: The address of bytes of a xorb: (xorb, first byte, last byte).
AddressOf = Callable[[str, int, int], str]


def reconstruction(
    blobs: BlobStore, blob: Content, start: int, end: int, address_of: AddressOf
) -> Reconstruction:
    """What holds bytes ``start`` to ``end`` (exclusive) of a file, and where it can be read."""
    ranges, skipped = _chunk_ranges(blobs, blob, start, end)
    terms = [
        Term(hash=part.xorb, unpacked_length=part.size, range=Span(start=part.first, end=part.end))
        for part in ranges
    ]
    by_xorb: dict[str, list[tuple[int, int]]] = {}
    for part in ranges:
        by_xorb.setdefault(part.xorb, []).append((part.first, part.end))
    fetch_info = {xorb: _fetches(blobs, xorb, spans, address_of) for xorb, spans in by_xorb.items()}
    return Reconstruction(offset_into_first_range=skipped, terms=terms, fetch_info=fetch_info)


def _chunk_ranges(blobs: BlobStore, blob: Content, start: int, end: int) -> tuple[list[ChunkRange], int]:
    """The chunks that hold the part, in order, and the bytes of the first that come before it."""
    ranges: list[ChunkRange] = []
    position, skipped = 0, -1
    for term in blob.terms:
        if position + term.size <= start or position >= end:
            position += term.size
            continue
        first, last, size = term.first, term.first, 0
        for number, chunk in enumerate(blobs.chunks(term.xorb)[term.first : term.end], term.first):
            if position + chunk.size <= start:
                first = number + 1
            elif position < end:
                skipped = start - position if skipped < 0 else skipped
                last, size = number + 1, size + chunk.size
            position += chunk.size
        ranges.append(ChunkRange(term.xorb, first, last, size))
    return ranges, max(skipped, 0)


def _fetches(
    blobs: BlobStore, xorb: str, spans: Iterable[tuple[int, int]], address_of: AddressOf
) -> list[Fetch]:
    chunks = blobs.chunks(xorb)
    fetches: list[Fetch] = []
    for first, end in merge_ranges(spans):
        first_byte, last_byte = chunks[first].offset, chunks[end - 1].end - 1
        fetches.append(
            Fetch(
                range=Span(start=first, end=end),
                url=address_of(xorb, first_byte, last_byte),
                url_range=Span(start=first_byte, end=last_byte),
            )
        )
    return fetches


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without overlaps: clients fail on bytes that an answer names twice."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((first, end))
    return merged
