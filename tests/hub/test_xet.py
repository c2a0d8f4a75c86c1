import io
import random
import struct

import lz4.frame
import numpy as np
import pytest

from freehold.core.errors import BadData
from freehold.hub import xet


def packed(data: bytes, kind: int = 0) -> bytes:
    """A chunk as a client packs it."""
    body = data
    if kind == 2:
        body = b"".join(data[group::4] for group in range(4))
    if kind:
        body = lz4.frame.compress(body)
    return (
        struct.pack("<B3sB3s", 0, len(body).to_bytes(3, "little"), kind, len(data).to_bytes(3, "little"))
        + body
    )


CHUNKS = [np.random.default_rng(size).bytes(size) for size in (1, 10_001, 70_003, 4096)]
XORB = b"".join(packed(data, kind) for kind, data in zip((0, 1, 2, 1), CHUNKS, strict=True))


def shard(files: list[tuple[bytes, list[tuple[bytes, int, int, int]], bytes]]) -> bytes:
    """A shard of (file hash, terms, sha256)."""
    out = b"HFRepoMetaData".ljust(32, b"\0") + struct.pack("<QQ", 2, 0)
    for name, terms, sha256 in files:
        out += name + struct.pack("<IIQ", (1 << 31) | (1 << 30), len(terms), 0)
        for xorb, size, first, end in terms:
            out += xorb + struct.pack("<4I", 0, size, first, end)
        out += bytes(48) * len(terms) + sha256 + bytes(16)
    return out + b"\xff" * 32 + bytes(16)


def test_hashes_are_written_as_four_numbers() -> None:
    value = bytes(range(32))
    assert xet.text_of(value) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    assert xet.bytes_of(xet.text_of(value)) == value
    with pytest.raises(BadData, match="is not a Xet hash"):
        xet.bytes_of("z" * 64)


def test_chunks_of_every_packing_come_out() -> None:
    assert [data for _, _, data in xet.read_chunks(io.BytesIO(XORB))] == CHUNKS
    index = xet.index(io.BytesIO(XORB))
    assert xet.read_index(xet.write_index(index)) == index
    assert index[-1].end == len(XORB)


def test_a_footer_after_the_chunks_is_passed_over() -> None:
    assert len(xet.index(io.BytesIO(XORB + b"XETBLOB" + bytes(90)))) == 4


def test_a_tree_of_many_chunks_has_one_root_that_depends_on_each() -> None:
    leaves = [(xet.chunk_hash(bytes([number % 256, number // 256])), 2) for number in range(1000)]
    root = xet.tree_hash(leaves)
    assert root == xet.tree_hash(list(leaves))
    leaves[777] = (leaves[777][0], 3)
    assert xet.tree_hash(leaves) != root
    assert xet.file_hash([]) == bytes(32)


def test_a_shard_tells_its_files() -> None:
    name, xorb, digest = (bytes([number] * 32) for number in (1, 2, 3))
    (file,) = xet.read_shard(shard([(name, [(xorb, 99, 0, 3)], digest)]))
    assert (file.hash, file.sha256) == (xet.text_of(name), xet.text_of(digest))
    assert file.terms == (xet.Term(xet.text_of(xorb), 0, 3, 99),)


@pytest.mark.parametrize("whole", [XORB, shard([(bytes(32), [(bytes(32), 9, 0, 1)], bytes(32))])])
def test_broken_bytes_are_refused_and_nothing_else_happens(whole: bytes) -> None:
    chance = random.Random(0)
    refused = 0
    for _ in range(2000):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(min(len(broken), 200))] = chance.randrange(256)
        cut = bytes(broken[: chance.choice([len(broken), chance.randrange(len(broken))])])
        try:
            xet.index(io.BytesIO(cut)) if whole is XORB else xet.read_shard(cut)
        except BadData:
            refused += 1
    assert refused > 500


def test_a_chunk_that_unpacks_to_more_than_it_says_is_refused() -> None:
    bomb = lz4.frame.compress(bytes(50_000_000))
    assert len(bomb) < 1 << 24
    head = struct.pack("<B3sB3s", 0, len(bomb).to_bytes(3, "little"), 1, (1000).to_bytes(3, "little"))
    with pytest.raises(BadData, match="unpacks to 1001 bytes and its header says 1000"):
        xet.index(io.BytesIO(head + bomb))


def test_a_shard_for_clients_tells_no_hash_of_a_chunk_that_they_lack() -> None:
    from blake3 import blake3

    chunks = xet.index(io.BytesIO(XORB))
    name, key = xet.text_of(xet.tree_hash([(chunk.hash, chunk.size) for chunk in chunks])), bytes(range(32))
    told = xet.write_shard([(name, chunks), (name, chunks[:2])], key, 1000, 2000)
    assert xet.read_shard(told) == []  # it names no file
    assert not any(chunk.hash in told for chunk in chunks)
    footer = struct.unpack("<9Q32s2Q48s4Q", told[-200:])
    assert (footer[0], footer[9], footer[10], footer[11], footer[-1]) == (1, key, 1000, 2000, len(told) - 200)
    start, lookup, count = footer[2], footer[7], footer[8]
    assert count == 6
    rows = [struct.unpack_from("<QII", told, lookup + 16 * number) for number in range(count)]
    assert rows == sorted(rows)
    for (
        truncated,
        xorb,
        number,
    ) in rows:  # each leads to its entry, which a client that has the chunk recognises
        entry = told[start + 48 * (xorb + 1 + number) :][:48]
        assert struct.unpack_from("<Q", entry)[0] == truncated
        assert entry[:32] == blake3(chunks[number].hash, key=key).digest()
        assert struct.unpack_from("<2I", entry, 32) == (
            sum(chunk.size for chunk in chunks[:number]),
            chunks[number].size,
        )
    header = told[start : start + 48]
    assert header[:32] == xet.bytes_of(name)
    assert struct.unpack_from("<4I", header, 32) == (0, 4, sum(map(len, CHUNKS)), len(XORB))
