"""What route handlers get from FastAPI: the service, the client that asks, the documents."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from freehold.servers.inference.documents.library import DocumentLibrary
from freehold.servers.inference.service import Client, InferenceService


async def _service(request: Request) -> InferenceService:
    return request.app.state.service


async def _client(request: Request) -> Client:
    return Client(request.state.key, request.is_disconnected)


async def _library(request: Request) -> DocumentLibrary:
    return request.app.state.library


#: The application's inference service.
Service = Annotated[InferenceService, Depends(_service)]
#: Who asks: the key that the auth middleware accepted, and whether the client is still connected.
RequestClient = Annotated[Client, Depends(_client)]
#: The documents of all keys.
Library = Annotated[DocumentLibrary, Depends(_library)]
