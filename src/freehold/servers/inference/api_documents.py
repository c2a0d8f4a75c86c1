"""Documents over HTTP: add, list and remove them, and search for the passages nearest to a question.

The chat page uses these: it puts the passages before the question and shows them under the answer. Any
client can do the same.
"""

from __future__ import annotations

import time
from typing import Literal, TypedDict

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.dependencies import Library, RequestClient, Service
from freehold.servers.inference.documents.store import Document, PassageHit
from freehold.servers.web.bodies import JsonRoute

router = APIRouter(prefix="/v1/documents", route_class=JsonRoute)


class SearchRequest(fields.Fields):
    """A question. ``documents``: ids of the documents to search; all of the key's if none are named."""

    query: fields.Query
    documents: fields.Names = Field(default_factory=list)
    limit: fields.Passages = 4
    model: fields.Name = ""


class DocumentEntry(TypedDict):
    """A document. ``created``: seconds since 1970; ``passages``: how many."""

    id: str
    object: Literal["document"]
    name: str
    bytes: int
    created: int
    passages: int


class DocumentList(TypedDict):
    """The key's documents, newest first."""

    object: Literal["list"]
    data: list[DocumentEntry]


class RemovedDocument(TypedDict):
    """A document that was removed."""

    id: str
    object: Literal["document"]
    deleted: bool


class PassageEntry(TypedDict):
    """A passage and where it is: lines of its page, or of the document where ``page`` is null."""

    document: str
    name: str
    page: int | None
    first_line: int
    last_line: int
    similarity: float
    text: str


class SearchResult(TypedDict):
    """The passages nearest to a question, nearest first. ``search_seconds``: without embedding the
    question.
    """

    object: Literal["list"]
    model: str
    search_seconds: float
    data: list[PassageEntry]


@router.post("", response_model=None)
async def add_document(
    request: Request,
    service: Service,
    client: RequestClient,
    library: Library,
    name: fields.Name,
    model: fields.Name = "",
) -> DocumentEntry:
    """Add a document, or replace the one of the same name."""
    name = name.replace("\\", "/").rpartition("/")[2].strip()[:200]
    if not name:
        raise ApiError(400, "name: it is empty")
    embedder, data = library.embedding_model(client.key, model), await request.body()
    async with service.admit(client, embedder) as context:
        return _document(await library.add(context, name, data))


@router.get("", response_model=None)
async def list_documents(
    service: Service, client: RequestClient, library: Library, model: fields.Name = ""
) -> DocumentList:
    """The key's documents."""
    async with service.admit(client, library.embedding_model(client.key, model)) as context:
        documents = await library.list(context)
    return {"object": "list", "data": [_document(document) for document in documents]}


@router.delete("/{number}", response_model=None)
async def remove_document(
    number: str, service: Service, client: RequestClient, library: Library, model: fields.Name = ""
) -> RemovedDocument:
    """Remove a document."""
    async with service.admit(client, library.embedding_model(client.key, model)) as context:
        await library.remove(context, number)
    return {"id": number, "object": "document", "deleted": True}


@router.post("/search", response_model=None)
async def search_documents(
    body: SearchRequest, service: Service, client: RequestClient, library: Library
) -> SearchResult:
    """The passages nearest to a question."""
    embedder = library.embedding_model(client.key, body.model)
    async with service.admit(client, embedder) as context:
        vector = await library.embed_query(context, body.query)
        began = time.perf_counter()
        hits = await library.search(context, vector, body.limit, body.documents)
        return {
            "object": "list",
            "model": embedder,
            "search_seconds": time.perf_counter() - began,
            "data": [_passage(hit) for hit in hits],
        }


def _document(document: Document) -> DocumentEntry:
    return {
        "id": document.id,
        "object": "document",
        "name": document.name,
        "bytes": document.bytes,
        "created": int(document.added),
        "passages": document.passages,
    }


def _passage(hit: PassageHit) -> PassageEntry:
    return {
        "document": hit.document,
        "name": hit.name,
        "page": hit.passage.page or None,
        "first_line": hit.passage.first,
        "last_line": hit.passage.last,
        "similarity": round(hit.similarity, 4),
        "text": hit.passage.text,
    }
