"""The Xet formats: chunk hashes, xorbs (packed chunks) and shards (which chunks make which file).

Source: the Xet protocol specification, version 1 (huggingface.co/docs/xet: hashing, xorb, shard, api,
deduplication). Only what a server needs is here: check and index a xorb, read an uploaded shard, write one
that tells what is here, unpack chunks.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from freehold.core.errors import BadData

#: A xorb's serialized size may not exceed this.
MOST_XORB_BYTES = 64 << 20
#: The specification's limit for one chunk, unpacked.
MOST_CHUNK_BYTES = 128 << 10
_DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_CHUNK_HEADER = struct.Struct("<B3sB3s")
_ENTRY = 48
_TAG = b"HFRepoMetaData"
_VERIFIED, _EXTENDED = 1 << 31, 1 << 30
_END = b"\xff" * 32
#: A chunk is a landmark if its hash divides by this, or if it is the first of its file.
_LANDMARKS = 1024
_MAGIC = bytes([85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169])
_FOOTER = struct.Struct("<9Q32s2Q48s4Q")


class Readable(Protocol):
    """What chunks are read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


@dataclass(frozen=True)
class Chunk:
    """A packed chunk in a xorb: where it starts, its packed and unpacked bytes, its hash."""

    offset: int
    packed: int
    size: int
    hash: bytes

    @property
    def end(self) -> int:
        """First byte after it, header included at its start."""
        return self.offset + 8 + self.packed


@dataclass(frozen=True)
class Term:
    """Chunks ``first`` to ``end`` (exclusive) of a xorb, ``size`` bytes unpacked."""

    xorb: str
    first: int
    end: int
    size: int


@dataclass(frozen=True)
class ShardFile:
    """A file of a shard: its Xet hash, its terms, and its sha256 where the shard tells it."""

    hash: str
    terms: tuple[Term, ...]
    sha256: str


def text_of(value: bytes) -> str:
    """A hash as the API writes it: four little-endian 64-bit numbers in hexadecimal."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", value))


def bytes_of(text: str) -> bytes:
    """Inverse of :func:`text_of`. Raises BadData."""
    try:
        if len(text) != 64:
            raise ValueError
        return struct.pack("<4Q", *(int(text[at : at + 16], 16) for at in range(0, 64, 16)))
    except ValueError:
        raise BadData(f"{text[:80]!r} is not a Xet hash", "send 64 hexadecimal digits") from None


def chunk_hash(data: bytes) -> bytes:
    """Hash of a chunk's unpacked bytes."""
    from blake3 import blake3

    return blake3(data, key=_DATA_KEY).digest()


def tree_hash(chunks: Sequence[tuple[bytes, int]]) -> bytes:
    """Root of the hash tree over (chunk hash, bytes). A node ends after 2 to 8 children, where a hash is
    divisible by 4.
    """
    from blake3 import blake3

    if not chunks:
        return bytes(32)
    level = list(chunks)
    while len(level) > 1:
        above: list[tuple[bytes, int]] = []
        at = 0
        while at < len(level):
            end = at + _children(level, at)
            part = level[at:end]
            lines = "".join(f"{text_of(value)} : {size}\n" for value, size in part)
            above.append((blake3(lines.encode(), key=_NODE_KEY).digest(), sum(size for _, size in part)))
            at = end
        level = above
    return level[0][0]


def _children(level: list[tuple[bytes, int]], at: int) -> int:
    left = len(level) - at
    if left <= 2:
        return left
    most = min(9, left)
    for index in range(2, most):
        if struct.unpack_from("<Q", level[at + index][0], 24)[0] % 4 == 0:
            return index + 1
    return most


def file_hash(chunks: Sequence[tuple[bytes, int]]) -> bytes:
    """Xet hash of a whole file from its (chunk hash, bytes)."""
    from blake3 import blake3

    return blake3(tree_hash(chunks), key=bytes(32)).digest() if chunks else bytes(32)


def unpack(kind: int, data: bytes, size: int) -> bytes:
    """A chunk's bytes. Raises BadData."""
    import lz4.frame

    if kind == 0:
        unpacked = data
    elif kind in (1, 2):
        try:
            unpacked = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
        except RuntimeError:
            raise BadData("a chunk of the xorb cannot be unpacked", "send it again") from None
        if kind == 2:
            unpacked = _ungrouped(unpacked)
    else:
        raise BadData(
            f"a chunk of the xorb uses the compression {kind}; 0 to 2 are known",
            "use a client of protocol version 1",
        )
    if len(unpacked) != size:
        raise BadData(
            f"a chunk of the xorb unpacks to {len(unpacked)} bytes and its header says {size}",
            "send it again",
        )
    return unpacked


def _ungrouped(data: bytes) -> bytes:
    """Undo the grouping of every fourth byte."""
    out = bytearray(len(data))
    at = 0
    for group in range(4):
        count = (len(data) - group + 3) // 4
        out[group::4] = data[at : at + count]
        at += count
    return bytes(out)


def read_chunks(file: Readable) -> Iterator[tuple[int, int, bytes]]:
    """(offset, packed bytes, unpacked data) of every chunk of serialized chunks; a footer after them is
    passed over. Raises BadData.

    One chunk is in memory at a time.
    """
    at = 0
    while header := file.read(8):
        if header.startswith(b"XETBLOB"):
            return
        if len(header) < 8:
            raise BadData(f"the xorb ends within a chunk header at byte {at}", "send it again")
        version, packed, kind, size = _CHUNK_HEADER.unpack(header)
        length, unpacked = int.from_bytes(packed, "little"), int.from_bytes(size, "little")
        data = file.read(length) if version == 0 and unpacked <= MOST_CHUNK_BYTES else b""
        if version != 0 or unpacked > MOST_CHUNK_BYTES or len(data) != length:
            raise BadData(f"the chunk header at byte {at} of the xorb is not valid", "send it again")
        yield at, length, unpack(kind, data, unpacked)
        at += 8 + length


def index(file: IO[bytes]) -> list[Chunk]:
    """Every chunk of a xorb, each unpacked and hashed. Raises BadData."""
    chunks = [
        Chunk(at, packed, len(content), chunk_hash(content)) for at, packed, content in read_chunks(file)
    ]
    if not chunks:
        raise BadData("the xorb has no chunks", "send one with chunks")
    return chunks


def index_of(file: IO[bytes], name: str) -> list[Chunk]:
    """As :func:`index`, of the xorb of this name. Raises BadData where its chunks do not hash to it."""
    name_bytes, chunks = bytes_of(name), index(file)
    if tree_hash([(chunk.hash, chunk.size) for chunk in chunks]) != name_bytes:
        raise BadData(f"the chunks of xorb {name[:12]} do not hash to its name", "send it again")
    return chunks


_ROW = struct.Struct("<32sQII")


def write_index(chunks: Sequence[Chunk]) -> bytes:
    """Our own file beside a xorb: one row for each chunk."""
    return b"".join(_ROW.pack(chunk.hash, chunk.offset, chunk.packed, chunk.size) for chunk in chunks)


def read_index(data: bytes) -> list[Chunk]:
    """Inverse of :func:`write_index`."""
    return [Chunk(offset, packed, size, value) for value, offset, packed, size in _ROW.iter_unpack(data)]


def read_shard(data: bytes) -> list[ShardFile]:
    """Files of an uploaded shard. Raises BadData."""
    if len(data) < 48 or data[: len(_TAG)] != _TAG:
        raise BadData("this is not a shard", "send one of format version 2")
    version = struct.unpack_from("<Q", data, 32)[0]
    if version != 2:
        raise BadData(f"shards of version {version} are not known", "send one of format version 2")
    at, files = 48, list[ShardFile]()

    def entry() -> bytes:
        nonlocal at
        if at + _ENTRY > len(data):
            raise BadData("the shard ends too early", "send it again")
        at += _ENTRY
        return data[at - _ENTRY : at]

    while (head := entry())[:32] != _END:
        flags, count = struct.unpack_from("<II", head, 32)
        terms: list[Term] = []
        for _ in range(count):
            row = entry()
            _, size, first, end = struct.unpack_from("<4I", row, 32)
            terms.append(Term(text_of(row[:32]), first, end, size))
        if flags & _VERIFIED:
            for _ in range(count):
                entry()
        # the sha256 is written as the other hashes are: its hexadecimal form in four numbers
        sha256 = text_of(entry()[:32]) if flags & _EXTENDED else ""
        files.append(ShardFile(text_of(head[:32]), tuple(terms), sha256))
    return files


def is_landmark(value: bytes) -> bool:
    """Whether clients ask for a chunk of this hash wherever it stands in a file."""
    return struct.unpack_from("<Q", value, 24)[0] % _LANDMARKS == 0


def write_shard(
    xorbs: Sequence[tuple[str, Sequence[Chunk | None]]], key: bytes, now: int, expires: int
) -> bytes:
    """A shard that names the chunks of xorbs (name, chunks), for a client to find its own among. ``now``,
    ``expires``: seconds since 1970.

    Chunk hashes are hashed once more with ``key`` (32 bytes, told in the shard), so that only who has a chunk
    can recognise it. None stands for a chunk that the client may not know of: random bytes are in its place.
    """
    from blake3 import blake3

    out = bytearray(_TAG + b"\0" + _MAGIC + struct.pack("<QQ", 2, _FOOTER.size))
    out += _END + bytes(16)
    start, chunk_count = len(out), 0
    names: list[tuple[int, int]] = []
    hashes: list[tuple[int, int, int]] = []
    for name, chunks in xorbs:
        name_bytes, at = bytes_of(name), 0
        plain, stored = _sizes(chunks)
        out += name_bytes + struct.pack("<4I", 0, len(chunks), plain, stored)
        for number, chunk in enumerate(chunks):
            value = blake3(chunk.hash, key=key).digest() if chunk else secrets.token_bytes(32)
            size = chunk.size if chunk else 1
            out += value + struct.pack("<4I", at, size, 0, 0)
            if chunk:
                hashes.append((struct.unpack_from("<Q", value)[0], chunk_count, number))
            at += size
        names.append((struct.unpack_from("<Q", name_bytes)[0], chunk_count))
        chunk_count += 1 + len(chunks)
    out += _END + bytes(16)
    files = len(out)
    for row in sorted(names):
        out += struct.pack("<QI", *row)
    chunks_at = len(out)
    for row in sorted(hashes):
        out += struct.pack("<QII", *row)
    plain, stored = (sum(sizes) for sizes in zip(*(_sizes(chunks) for _, chunks in xorbs), strict=True))
    out += _FOOTER.pack(
        1,
        48,
        start,
        files,
        0,
        files,
        len(names),
        chunks_at,
        len(hashes),
        key,
        now,
        expires,
        bytes(48),
        stored,
        plain,
        stored,
        len(out),
    )
    return bytes(out)


def _sizes(chunks: Sequence[Chunk | None]) -> tuple[int, int]:
    """(bytes unpacked, bytes packed with their headers) of the chunks that are told; one byte for each
    other."""
    return (
        sum(chunk.size if chunk else 1 for chunk in chunks),
        sum(chunk.packed + 8 if chunk else 1 for chunk in chunks),
    )
