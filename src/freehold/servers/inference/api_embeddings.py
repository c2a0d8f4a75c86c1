"""Embeddings: vectors of texts, by OpenAI's and Ollama's APIs.

Source: both API references, as the client packages ``openai`` and ``ollama`` write and read them.
"""

from __future__ import annotations

import base64
import time
from typing import Annotated, Literal, TypedDict

import numpy as np
from fastapi import APIRouter

from freehold.inference.embeddings import Embedded
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_ollama import KeepAlive, model_name
from freehold.servers.inference.dependencies import RequestClient, Service
from freehold.servers.web.bodies import JsonRoute

#: Texts in one request.
MOST_TEXTS = 2048
router = APIRouter(route_class=JsonRoute)


class EmbeddingsRequest(fields.Fields):
    """Texts to embed."""

    model: fields.Name
    input: Annotated[list[str], fields.texts(MOST_TEXTS, empty=False)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: fields.Dimensions | None = None
    user: fields.Text | None = None


class OllamaEmbedRequest(fields.Fields):
    """Texts to embed; long ones are truncated unless ``truncate`` is false."""

    model: fields.Name
    input: Annotated[list[str], fields.texts(MOST_TEXTS, empty=True)]
    truncate: fields.Flag = True
    dimensions: fields.Dimensions | None = None
    options: fields.Object | None = None
    keep_alive: KeepAlive = None


class OllamaEmbeddingsRequest(fields.Fields):
    """One text to embed, in the older form."""

    model: fields.Name
    prompt: fields.Text
    options: fields.Object | None = None
    keep_alive: KeepAlive = None


class EmbeddingUsage(TypedDict):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class Embedding(TypedDict):
    """The vector of a text: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(TypedDict):
    """OpenAI's answer."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class OllamaEmbeddings(TypedDict):
    """Ollama's answer; durations are in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaEmbedding(TypedDict):
    """Ollama's answer in the older form."""

    embedding: list[float]


@router.post("/v1/embeddings", response_model=None)
async def create_embeddings(
    body: EmbeddingsRequest, service: Service, client: RequestClient
) -> EmbeddingList:
    """A vector for each text."""
    embedded = await service.embed(client, body.model, body.input)
    _check_width(embedded, body.dimensions)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": _encoded(vector, body.encoding_format)}
            for number, vector in enumerate(embedded.vectors)
        ],
        "model": body.model,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }


@router.post("/api/embed", response_model=None)
async def embed(body: OllamaEmbedRequest, service: Service, client: RequestClient) -> OllamaEmbeddings:
    """A vector for each text; none for an empty list."""
    name, began = model_name(body.model), time.perf_counter()
    service.permit(client.key, name)
    vectors, tokens = list[list[float]](), 0
    if body.input:
        embedded = await service.embed(client, name, body.input, truncate=body.truncate)
        _check_width(embedded, body.dimensions)
        vectors, tokens = embedded.vectors.tolist(), embedded.tokens
    return {
        "model": body.model,
        "embeddings": vectors,
        "total_duration": int((time.perf_counter() - began) * 1e9),
        "load_duration": 0,
        "prompt_eval_count": tokens,
    }


@router.post("/api/embeddings", response_model=None)
async def embed_one(
    body: OllamaEmbeddingsRequest, service: Service, client: RequestClient
) -> OllamaEmbedding:
    """The vector of one text."""
    embedded = await service.embed(client, model_name(body.model), [body.prompt], truncate=True)
    return {"embedding": embedded.vectors[0].tolist()}


def _check_width(embedded: Embedded, dimensions: int | None) -> None:
    """Raises ApiError where the request asks for other dimensions than the vectors have."""
    width = embedded.vectors.shape[1]
    if dimensions not in (None, width):
        raise ApiError(400, f"dimensions: this model's vectors have {width} numbers and cannot be cut")


def _encoded(vector: np.ndarray, encoding: str) -> list[float] | str:
    """A vector as JSON numbers, or its little-endian float32 bytes in base64."""
    return (
        base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector.tolist()
    )
