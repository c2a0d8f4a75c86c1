"""The chunk store, asked by people: what a token, a file's hash, a chunk or an address of a xorb opens, and
to whom."""

from __future__ import annotations

import os
import re
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from blake3 import blake3

from freehold.hub import repository_checks, xet
from freehold.hub.repositories import Repositories
from freehold.models import catalogue as tables
from freehold.models.store import Store
from tests.hub.people import ChunkStore, People, file_name, hub_with_people, lfs_line, packed, xorb_name

pytestmark = pytest.mark.usefixtures("each_database")


def chunks_of(seed: int) -> list[bytes]:
    return [np.random.default_rng((seed, number)).bytes(900 + number) for number in range(4)]


OPEN, PRIVATE, GATED, OLD = map(chunks_of, range(4))


@pytest.fixture
def people(tmp_path: Path) -> People:
    made = hub_with_people(tmp_path)
    for name, chunks in (("open", OPEN), ("private", PRIVATE), ("gated", GATED)):
        made.ada.create(f"ada/{name}", private=name == "private")
        made.ada.push_chunks(f"ada/{name}", "w.bin", chunks)
    made.ada.gate("ada/gated")
    made.bob.create("bob/own")
    return made


def read(store: ChunkStore, chunks: list[bytes], **more: str) -> bytes:
    """A file as a client reads it: the parts of xorbs that its reconstruction names."""
    told = store.get(f"/v1/reconstructions/{file_name(chunks)}", **more).json()
    data = b""
    for term in told["terms"]:
        (part,) = told["fetch_info"][term["hash"]]
        span = part["url_range"]
        got = store.client.get(part["url"], headers={"Range": f"bytes={span['start']}-{span['end']}"})
        assert got.status_code == 206
        data += got.content
    return data


def test_a_file_is_read_by_who_may_read_its_repository(people: People) -> None:
    for asker, repo, chunks in (
        (people.nobody, "ada/open", OPEN),
        (people.bob, "ada/open", OPEN),
        (people.ada, "ada/private", PRIVATE),
        (people.ada, "ada/gated", GATED),
    ):
        head = asker.client.head(f"/{repo}/resolve/main/w.bin", headers=asker.headers)
        assert head.headers["x-xet-hash"] == file_name(chunks)
        assert asker.chunk_store(repo).path in head.headers["link"]
        assert read(asker.chunk_store(repo), chunks) == b"".join(map(packed, chunks))
        assert read(asker.chunk_store(repo), chunks, Range="bytes=1000-1999") == b"".join(
            map(packed, chunks[1:3])
        )
    for asker, repo, status in (
        (people.bob, "ada/private", 404),
        (people.nobody, "ada/private", 404),
        (people.bob, "ada/gated", 403),
        (people.nobody, "ada/gated", 403),
    ):
        for right in ("read", "write"):
            said = asker.get(f"/api/models/{repo}/xet-{right}-token/main")
            assert said.status_code in (status, 401)
    assert people.bob.get("/api/models/ada/open/xet-read-token/never").status_code == 404
    assert people.bob.get("/api/models/ada/open/xet-write-token/None").status_code == 200  # for a request


@pytest.mark.parametrize("chunks", [PRIVATE, GATED], ids=["private", "gated"])
def test_a_token_puts_together_only_files_of_its_revision(people: People, chunks: list[bytes]) -> None:
    stores = [
        people.nobody.chunk_store("ada/open"),
        people.bob.chunk_store("bob/own"),
        people.bob.chunk_store("bob/own", "write"),
        people.ada.chunk_store("ada/open"),  # though she may read both: the token is for one
    ]
    for store in stores:
        foreign, never = store.reconstruction(chunks), store.reconstruction(chunks_of(99))
        assert foreign.status_code == never.status_code == 404
        assert foreign.text.replace(file_name(chunks)[:12], "") == never.text.replace(
            file_name(chunks_of(99))[:12], ""
        )


def test_a_token_is_for_one_commit(people: People) -> None:
    before = people.ada.chunk_store("ada/open")
    people.ada.push_chunks("ada/open", "later.bin", OLD)
    after = people.ada.chunk_store("ada/open")
    assert (before.reconstruction(OLD).status_code, after.reconstruction(OLD).status_code) == (404, 200)
    assert before.reconstruction(OPEN).status_code == 200


@pytest.mark.parametrize("loss", ["deleted", "revoked", "private", "gated"])
def test_tokens_and_addresses_end_with_the_right_they_were_given_for(people: People, loss: str) -> None:
    store = people.bob.chunk_store("ada/open")
    (part,) = store.reconstruction(OPEN).json()["fetch_info"][xorb_name(OPEN)]
    span = {"Range": f"bytes={part['url_range']['start']}-{part['url_range']['end']}"}
    assert store.client.get(part["url"], headers=span).status_code == 206
    if loss == "deleted":
        people.ada.delete("ada/open")
    elif loss == "revoked":
        for token in people.accounts.tokens():
            if token.user == "bob":
                people.accounts.revoke(token.digest)
    else:
        people.ada.set("ada/open", **({"private": True} if loss == "private" else {"gated": "manual"}))
    assert store.reconstruction(OPEN).status_code == 401
    assert store.client.get(part["url"], headers=span).status_code == 403


def test_a_token_cannot_be_made_into_another(people: People) -> None:
    mine, hers = people.bob.chunk_store("ada/open"), people.ada.chunk_store("ada/private")
    right, expires, who, repository, created, commit, signature = mine.headers["Authorization"].split(".")
    other = hers.headers["Authorization"].split(".")
    for forged in (
        (right.replace("read", "write"), expires, who, repository, created, commit, signature),
        (right, str(int(expires) + 1), who, repository, created, commit, signature),
        (right, expires, other[2], repository, created, commit, signature),
        (right, expires, who, other[3], other[4], other[5], signature),
        (right, expires, who, repository, created, other[5], signature),
        (right, expires, who, repository, created, commit, other[6]),
        (right, "9" * 30, who, repository, created, commit, signature),
        ("xorb", expires, who, repository, created, commit, signature),
        (right, expires, signature),
    ):
        store = ChunkStore(mine.client, mine.path, {"Authorization": ".".join(forged)})
        assert store.reconstruction(OPEN).status_code == 401
    elsewhere = ChunkStore(mine.client, hers.path, mine.headers)
    assert elsewhere.reconstruction(OPEN).status_code == 404
    assert int(expires) <= time.time() + 3600


def test_the_address_of_a_xorb_opens_the_bytes_it_was_given_for(people: People) -> None:
    both = [*OLD[:2], *chunks_of(7)]
    people.bob.create("bob/hidden", private=True)
    people.bob.push_chunks("bob/hidden", "both.bin", both)
    store = people.bob.chunk_store("bob/own", "write")
    assert store.put_file(OLD[:2], [(xorb_name(both), 0, 2)]).status_code == 200
    assert people.bob.commit("bob/own", lfs_line("first.bin", b"".join(OLD[:2]))).is_success
    told = people.nobody.chunk_store("bob/own").reconstruction(OLD[:2]).json()
    (part,) = told["fetch_info"][xorb_name(both)]
    end = part["url_range"]["end"]
    get = people.nobody.client.get
    allowed = get(part["url"], headers={"Range": f"bytes=0-{end}"})
    assert (allowed.status_code, allowed.content) == (206, b"".join(map(packed, OLD[:2])))
    assert get(part["url"], headers={"Range": "bytes=5-9"}).content == allowed.content[5:10]
    for more in (
        {},
        {"Range": f"bytes=0-{end + 1}"},
        {"Range": "bytes=-100"},
        {"Range": f"bytes={end + 1}-"},
        {"Range": "bytes=0-1,3-4"},
    ):
        assert get(part["url"], headers=more).status_code == 403
    for changed in (
        re.sub(r"last=\d+", f"last={end + 900}", part["url"]),
        part["url"].replace(xorb_name(both), xorb_name(PRIVATE)),
        re.sub(r"repository=\d+", "repository=2", part["url"]),
    ):
        assert get(changed, headers={"Range": "bytes=0-9"}).status_code == 403


@pytest.mark.parametrize("chunks", [PRIVATE, GATED], ids=["private", "gated"])
def test_who_knows_the_first_chunk_of_a_file_learns_nothing_of_the_rest(
    people: People, chunks: list[bytes]
) -> None:
    store = people.bob.chunk_store("bob/own", "write")
    foreign, never = store.alike(chunks[0]), store.alike(b"never seen")
    assert (foreign.status_code, never.status_code) == (404, 404)
    known = store.alike(OPEN[0])
    assert known.status_code == 200
    assert xet.bytes_of(xorb_name(OPEN)) in known.content
    assert people.ada.chunk_store("ada/open", "write").alike(chunks[0]).status_code == 200


def test_what_is_told_of_a_shared_xorb_is_only_what_the_asker_may_read(people: People) -> None:
    hidden, shown, rest = chunks_of(5)[:2], OLD[:2], chunks_of(7)
    both = [*hidden, *shown, *rest]
    people.ada.push_chunks("ada/private", "both.bin", both)
    store = people.ada.chunk_store("ada/open", "write")
    assert store.put_file(shown, [(xorb_name(both), 2, 4)]).status_code == 200
    assert people.ada.commit("ada/open", lfs_line("first.bin", b"".join(shown))).is_success
    told = people.bob.chunk_store("bob/own", "write").alike(shown[0]).content
    (start,) = struct.unpack_from("<Q", told, len(told) - 200 + 16)
    rows = [told[start + 48 * at :][:48] for at in range(1, 5)]
    assert [struct.unpack_from("<I", row, 36)[0] for row in rows] == [1, 1, *map(len, shown)]
    key = told[len(told) - 200 + 72 :][:32]
    hashes = [blake3(xet.chunk_hash(chunk), key=key).digest() for chunk in both]
    assert [one in told for one in hashes] == [False, False, True, True, False, False, False, False]


@pytest.mark.parametrize("chunks", [PRIVATE, GATED], ids=["private", "gated"])
def test_a_shard_may_not_use_chunks_of_what_its_sender_may_not_read(
    people: People, chunks: list[bytes]
) -> None:
    store = people.bob.chunk_store("bob/own", "write")

    def put(xorb: str) -> tuple[int, str]:
        said = store.put_file(chunks[:1], [(xorb, 0, 1)])
        return said.status_code, said.text.replace(xorb[:12], "")

    assert put(xorb_name(chunks)) == put(xorb_name(chunks_of(98)))
    assert put(xorb_name(chunks))[0] == 404
    assert people.bob.commit("bob/own", lfs_line("x.bin", chunks[0])).status_code == 400
    # nor may he say that he sent the xorb without sending it
    assert store.put_xorb(OLD, name=xorb_name(chunks)).status_code == 400
    assert put(xorb_name(chunks))[0] == 404


def test_whoever_has_the_bytes_can_upload_them_again(people: People) -> None:
    people.bob.push_chunks("bob/own", "mine.bin", PRIVATE)
    assert read(people.nobody.chunk_store("bob/own"), PRIVATE) == b"".join(map(packed, PRIVATE))
    xorbs = [path for path in (people.store.folder / "xorbs").rglob(xorb_name(PRIVATE)) if path.is_file()]
    assert len(xorbs) == 1
    assert people.bob.get("/bob/own/resolve/main/mine.bin").content == b"".join(PRIVATE)
    # as an LFS object too: it stays in chunks
    people.bob.create("bob/other")
    people.bob.push("bob/other", "w.bin", b"".join(GATED))
    assert people.bob.get("/bob/other/resolve/main/w.bin").content == b"".join(GATED)
    assert not [
        path for path in people.store.blobs.rglob("*") if path.is_file() and path.stat().st_size > 3000
    ]
    assert repository_checks.check(Repositories(people.store)) == []


def test_who_sends_bytes_is_not_told_that_others_sent_them_before(people: People) -> None:
    store = people.bob.chunk_store("bob/own", "write")
    for chunks in (PRIVATE, chunks_of(97)):
        terms = [(xorb_name(chunks), 0, 4)]
        told = [
            store.put_xorb(chunks).json(),
            store.put_xorb(chunks).json(),
            store.put_file(chunks, terms).json(),
            store.put_file(chunks, terms).json(),
        ]
        assert told == [{"was_inserted": True}, {"was_inserted": False}, {"result": 1}, {"result": 0}]


def test_a_shard_may_use_chunks_of_what_its_sender_may_read(people: People) -> None:
    store = people.bob.chunk_store("bob/own", "write")
    extra = chunks_of(11)
    assert store.put_xorb(extra).status_code == 200
    terms = [(xorb_name(OPEN), 0, 3), (xorb_name(extra), 0, 4)]
    assert store.put_file([*OPEN[:3], *extra], terms).status_code == 200
    assert people.bob.commit("bob/own", lfs_line("near.bin", b"".join([*OPEN[:3], *extra]))).is_success


def test_a_collection_spares_chunks_whose_shard_is_to_come(people: People) -> None:
    store = people.bob.chunk_store("bob/own", "write")
    assert store.put_xorb(OLD).status_code == 200
    old = time.time() - 9000
    for path in (people.store.folder / "xorbs").rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))
    repositories = Repositories(people.store)
    assert repositories.collect() == (0, 0)
    assert store.put_file(OLD, [(xorb_name(OLD), 0, 4)]).status_code == 200
    with people.store.engine.begin() as connection:
        connection.execute(tables.chunked.update().values(created=old))
    assert repositories.collect() == (0, 0)  # its commit is to come
    assert people.bob.commit("bob/own", lfs_line("late.bin", b"".join(OLD))).is_success
    assert repository_checks.check(repositories) == []
    people.bob.delete("bob/own")
    with people.store.engine.begin() as connection:
        connection.execute(tables.chunked.update().values(created=old))
    assert repositories.collect()[0] == 2  # the xorb and its index


def test_a_catalogue_of_an_earlier_version_keeps_its_savings(people: People) -> None:
    chunk = xet.text_of(xet.chunk_hash(OPEN[0]))
    with people.store.engine.begin() as connection:
        row = connection.execute(
            sa.select(tables.marks.c.sha256).where(tables.marks.c.chunk == chunk)
        ).scalar()
        for table in (tables.marks, tables.packs, tables.uploads):
            table.drop(connection)
        connection.execute(sa.text("CREATE TABLE landmarks (chunk VARCHAR PRIMARY KEY, sha256 VARCHAR)"))
        connection.execute(
            sa.text("INSERT INTO landmarks VALUES (:chunk, :sha256)"), {"chunk": chunk, "sha256": row}
        )
    Store(people.store.folder)
    store = people.bob.chunk_store("bob/own", "write")
    assert store.alike(OPEN[0]).status_code == 200
    assert store.put_file(OPEN[:2], [(xorb_name(OPEN), 0, 2)]).status_code == 200
