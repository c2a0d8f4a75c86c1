"""A server's documents: cut, embedded in batches, stored for their key, searched and removed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from freehold.core.errors import BadData, NotFound
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_keys import ANYONE, Key
from freehold.servers.inference.documents.library import DocumentLibrary
from freehold.servers.inference.service import Client, RequestContext

T = TypeVar("T")
WIDTH = 16
KEY = Key("reception", (), 0.0, 0.0, ANYONE.limits)


def vector(text: str) -> np.ndarray:
    """A vector that depends on the words of a text."""
    total = np.zeros(WIDTH, dtype=np.float32)
    for word in text.lower().split():
        seed = int.from_bytes(hashlib.sha256(word.strip(".").encode()).digest()[:4], "little")
        total += np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
    return total / max(float(np.linalg.norm(total)), 1e-9)


@dataclass
class Pool:
    """Models of which those whose names begin with ``vectors`` embed."""

    store: Any
    models: list[str]
    opened: list[str] = field(default_factory=list)

    def embeds(self, name: str) -> bool:
        return name.startswith("vectors")

    def model(self, name: str) -> Any:
        return SimpleNamespace(digest=hashlib.sha256(name.encode()).hexdigest())

    @contextlib.asynccontextmanager
    async def lease_embedder(self, name: str) -> AsyncIterator[Any]:
        self.opened.append(name)
        yield SimpleNamespace(width=WIDTH, count=lambda text: len(text.split()), context_length=64)


@dataclass
class Service:
    """What the library asks of the server's service; embedding takes no model here."""

    pool: Pool
    batches: list[Sequence[str]] = field(default_factory=list)

    @property
    def reading(self) -> Any:
        async def run(function: Callable[[], T], is_disconnected: object = None) -> T:
            return function()

        return SimpleNamespace(run=run)

    def permit(self, key: Key, model: str) -> None:
        if not key.may_use(model):
            raise ApiError(403, f"this key may not use {model}")

    async def vectors(self, context: RequestContext, texts: Sequence[str], *, truncate: bool = False) -> Any:
        self.batches.append(texts)
        return SimpleNamespace(vectors=np.stack([vector(text) for text in texts]))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(Pool(SimpleNamespace(folder=tmp_path), ["smollm2", "vectors-a", "vectors-b"]))


@pytest.fixture
def library(service: Service) -> DocumentLibrary:
    return DocumentLibrary(cast(Any, service))


def request(
    key: Key = KEY, model: str = "vectors-a", left: Callable[[], Awaitable[bool]] | None = None
) -> RequestContext:
    return RequestContext(Client(key, left), model)


async def search(library: DocumentLibrary, context: RequestContext, query: str, *among: str) -> list[str]:
    hits = await library.search(context, await library.embed_query(context, query), 2, among)
    return [hit.name for hit in hits]


def test_the_first_embedding_model_that_the_key_may_use_is_taken(library: DocumentLibrary) -> None:
    assert library.embedding_model(ANYONE) == "vectors-a"
    limited = Key("k", ("smollm2", "vectors-b"), 0.0, 0.0, ANYONE.limits)
    assert library.embedding_model(limited) == "vectors-b"
    assert library.embedding_model(ANYONE, "vectors-b") == "vectors-b"
    with pytest.raises(ApiError, match="may not use vectors-a"):
        library.embedding_model(limited, "vectors-a")


def test_without_an_embedding_model_the_way_to_one_is_said(library: DocumentLibrary) -> None:
    with pytest.raises(ApiError, match="freehold pull") as raised:
        library.embedding_model(Key("k", ("smollm2",), 0.0, 0.0, ANYONE.limits))
    assert (raised.value.status, raised.value.code) == (400, "no_embedding_model")


def test_a_document_is_added_found_listed_and_removed(library: DocumentLibrary) -> None:
    async def work() -> None:
        context = request()
        card = await library.add(context, "card.txt", b"The card is lost.")
        pin = await library.add(context, "pin.txt", b"The pin is wrong.")
        assert [document.name for document in await library.list(context)] == ["pin.txt", "card.txt"]
        assert (card.passages, card.bytes) == (1, 17)
        assert await search(library, context, "card lost") == ["card.txt", "pin.txt"]
        assert await search(library, context, "card lost", pin.id) == ["pin.txt"]
        await library.remove(context, card.id)
        assert await search(library, context, "card lost") == ["pin.txt"]
        with pytest.raises(NotFound):
            await library.remove(context, card.id)

    asyncio.run(work())


def test_no_other_key_sees_a_document(library: DocumentLibrary) -> None:
    async def work() -> None:
        await library.add(request(), "card.txt", b"The card is lost.")
        for key in (
            Key("other", (), 0.0, 0.0, ANYONE.limits),
            Key("reception", (), 1e12, 0.0, ANYONE.limits),
        ):
            assert await library.list(request(key)) == []
            assert await search(library, request(key), "card") == []

    asyncio.run(work())


def test_each_embedding_model_has_documents_of_its_own_and_is_opened_for_them_once(
    library: DocumentLibrary, service: Service, tmp_path: Path
) -> None:
    async def work() -> None:
        await library.add(request(), "a.txt", b"a")
        assert await library.list(request(model="vectors-b")) == []
        opened = len(service.pool.opened)
        await asyncio.gather(*(library.list(request()) for _ in range(5)))
        assert len(service.pool.opened) == opened

    asyncio.run(work())
    assert len(list((tmp_path / "documents").glob("*.db"))) == 2


def test_passages_are_embedded_in_batches_and_are_no_longer_than_the_model_takes(
    library: DocumentLibrary, service: Service
) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "word " * 90 for number in range(40))
    document = asyncio.run(library.add(request(), "long.txt", text.encode()))
    assert [len(batch) for batch in service.batches[:-1]] == [32] * (len(service.batches) - 1)
    assert sum(map(len, service.batches)) == document.passages > 40
    assert max(len(passage.split()) for batch in service.batches for passage in batch) <= 64


def test_nothing_is_stored_of_a_document_whose_sender_left(
    library: DocumentLibrary, service: Service
) -> None:
    async def gone() -> bool:
        return True

    async def work() -> None:
        with pytest.raises(ApiError, match="the client went away"):
            await library.add(request(left=gone), "long.txt", ("word " * 9000).encode())
        assert await library.list(request()) == []

    asyncio.run(work())
    assert len(service.batches) == 1  # no further batch was embedded


def test_a_file_that_cannot_be_read_adds_nothing(library: DocumentLibrary, service: Service) -> None:
    async def work() -> None:
        for data in (b"\xff\xfe\x00", b"  \n"):
            with pytest.raises(BadData):
                await library.add(request(), "a.txt", data)
        assert await library.list(request()) == []

    asyncio.run(work())
    assert service.batches == []
