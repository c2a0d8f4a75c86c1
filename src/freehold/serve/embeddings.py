"""Vectors of texts, as OpenAI's and Ollama's clients ask for them.

Source: both API references, as the client packages ``openai`` and ``ollama`` write and read them.
"""

from __future__ import annotations

import base64
import time
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.engines.embedding import Embedded
from freehold.serve.desk import Desk
from freehold.serve.refusals import Refusal

_FORBID = ConfigDict(extra="forbid")
#: Texts in one request.
MOST_TEXTS = 2048


class EmbeddingsRequest(BaseModel):
    """Texts that are to become vectors."""

    model_config = _FORBID
    model: str
    input: str | list[str] = Field(min_length=1)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


class OllamaRequest(BaseModel):
    """Texts that are to become vectors; long ones are cut unless ``truncate`` says no."""

    model_config = _FORBID
    model: str
    input: str | list[str]
    truncate: bool = True
    dimensions: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


class OllamaOldRequest(BaseModel):
    """One text, in the older form."""

    model_config = _FORBID
    model: str
    prompt: str
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None


def routes(desk: Desk) -> APIRouter:
    """The routes of both APIs."""
    router = APIRouter()

    @router.post("/v1/embeddings")
    async def embed(body: EmbeddingsRequest, request: Request) -> dict[str, Any]:
        texts = [body.input] if isinstance(body.input, str) else body.input
        if len(texts) > MOST_TEXTS or not all(texts):
            raise Refusal(400, f"input: give 1 to {MOST_TEXTS} texts, none of them empty")
        found = await desk.embed(request.state.key, body.model, texts, gone=request.is_disconnected)
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
        texts = [body.input] if isinstance(body.input, str) else body.input
        if len(texts) > MOST_TEXTS:
            raise Refusal(400, f"input: give up to {MOST_TEXTS} texts")
        began = time.perf_counter()
        desk.permit(request.state.key, body.model.removesuffix(":latest"))
        found = (
            await desk.embed(
                request.state.key,
                body.model.removesuffix(":latest"),
                texts,
                cut=body.truncate,
                gone=request.is_disconnected,
            )
            if texts
            else None
        )
        if found is not None:
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
        raise Refusal(
            400, f"dimensions: this model's vectors have {found.vectors.shape[1]} numbers and cannot be cut"
        )


def told_vector(vector: np.ndarray, form: str) -> list[float] | str:
    """A vector as JSON numbers, or its little-endian float32 bytes in base64."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if form == "base64" else vector.tolist()
