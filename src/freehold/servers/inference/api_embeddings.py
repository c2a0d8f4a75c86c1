"""Vectors of texts, as OpenAI's and Ollama's clients ask for them.

Source: both API references, as the client packages ``openai`` and ``ollama`` write and read them.
"""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request

from freehold.inference.embeddings import Embedded
from freehold.servers.inference import fields
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_ollama import KeepAlive
from freehold.servers.inference.service import InferenceService
from freehold.servers.web.bodies import JsonRoute

#: Texts in one request.
MOST_TEXTS = 2048


class EmbeddingsRequest(fields.Fields):
    """Texts that are to become vectors."""

    model: fields.Name
    input: Annotated[list[str], fields.texts(MOST_TEXTS, empty=False)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: fields.Dimensions | None = None
    user: fields.Text | None = None


class OllamaRequest(fields.Fields):
    """Texts that are to become vectors; long ones are cut unless ``truncate`` says no."""

    model: fields.Name
    input: Annotated[list[str], fields.texts(MOST_TEXTS, empty=True)]
    truncate: fields.Flag = True
    dimensions: fields.Dimensions | None = None
    options: fields.Object | None = None
    keep_alive: KeepAlive = None


class OllamaOldRequest(fields.Fields):
    """One text, in the older form."""

    model: fields.Name
    prompt: fields.Text
    options: fields.Object | None = None
    keep_alive: KeepAlive = None


def routes(desk: InferenceService) -> APIRouter:
    """The routes of both APIs."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/v1/embeddings")
    async def embed(body: EmbeddingsRequest, request: Request) -> dict[str, Any]:
        found = await desk.embed(request.state.key, body.model, body.input, gone=request.is_disconnected)
        _whole(found, body.dimensions)
        rows = [
            {"object": "embedding", "index": number, "embedding": told_vector(vector, body.encoding_format)}
            for number, vector in enumerate(found.vectors)
        ]
        return {
            "object": "list",
            "data": rows,
            "model": body.model,
            "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
        }

    @router.post("/api/embed")
    async def embed_for_ollama(body: OllamaRequest, request: Request) -> dict[str, Any]:
        key, name = request.state.key, body.model.removesuffix(":latest")
        began, found = time.perf_counter(), None
        desk.permit(key, name)
        if body.input:
            found = await desk.embed(key, name, body.input, cut=body.truncate, gone=request.is_disconnected)
            _whole(found, body.dimensions)
        return {"model": body.model, "embeddings": found.vectors.tolist() if found else [], "total_duration": int((time.perf_counter() - began) * 1e9),
                "load_duration": 0, "prompt_eval_count": found.tokens if found else 0}  # fmt: skip

    @router.post("/api/embeddings")
    async def embed_one(body: OllamaOldRequest, request: Request) -> dict[str, Any]:
        name = body.model.removesuffix(":latest")
        found = await desk.embed(
            request.state.key, name, [body.prompt], cut=True, gone=request.is_disconnected
        )
        return {"embedding": found.vectors[0].tolist()}

    return router


def _whole(found: Embedded, dimensions: int | None) -> None:
    """Raises Refusal where other than the vectors' own width was asked for."""
    if dimensions not in (None, found.vectors.shape[1]):
        raise ApiError(
            400, f"dimensions: this model's vectors have {found.vectors.shape[1]} numbers and cannot be cut"
        )


def told_vector(vector: np.ndarray, form: str) -> list[float] | str:
    """A vector as JSON numbers, or its little-endian float32 bytes in base64."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if form == "base64" else vector.tolist()
