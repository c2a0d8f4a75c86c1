"""OpenAI chat completions over HTTP: enough for the official client, streaming included."""

from __future__ import annotations

import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from freehold import listening
from freehold.engines.interface import Request
from freehold.engines.llama import LlamaEngine
from freehold.engines.session import Session, open_session
from freehold.errors import DoesNotFit, FreeholdError, Unsupported
from freehold.hub.store import Store
from freehold.serve.runner import Piece, Runner


class ChatMessage(BaseModel):
    """One message; content parts other than text are refused."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]]

    def pair(self) -> tuple[str, str]:
        """(role, text). Raises Unsupported for parts that are no text."""
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return role, self.content
        if any(part.get("type") != "text" for part in self.content):
            raise Unsupported("this model reads text only", "send text parts")
        return role, "".join(str(part.get("text", "")) for part in self.content)


class ChatRequest(BaseModel):
    """The fields of a chat completion request that are honoured; others are refused by name, none is ignored silently."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: Literal[1] = 1
    user: str | None = None


def _error(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code}}, status_code=status)


def make_app(session: Session, *, key: str = "", loopback: bool = True) -> FastAPI:
    """The application for one open model."""
    assert isinstance(session.engine, LlamaEngine)
    runner = Runner(session.engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        runner.close()

    app = FastAPI(title="Freehold", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.middleware("http")
    async def guard(request: HttpRequest, call_next: Callable[[HttpRequest], Any]) -> Any:
        """Keys where there are any; on loopback a foreign Host header is a rebound name and is refused."""
        if loopback and (host := listening.foreign_host(request.headers.get("host", ""))):
            return _error(403, f"the Host header {host!r} is not this machine", "permission_error")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key and request.url.path != "/health" and not hmac.compare_digest(given.encode(), key.encode()):
            return _error(401, "the API key is missing or wrong", "authentication_error", "invalid_api_key")
        return await call_next(request)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: HttpRequest, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _error(400, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}")

    @app.exception_handler(FreeholdError)
    async def refused(_: HttpRequest, error: FreeholdError) -> JSONResponse:
        return _error(400, str(error), code="context_length_exceeded" if isinstance(error, DoesNotFit) else None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": session.model.name, "object": "model", "created": int(session.model.created), "owned_by": "freehold"}
        return {"object": "list", "data": [entry]}

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest) -> Any:
        if body.model != session.model.name:
            return _error(404, f"the model {body.model!r} is not served here; {session.model.name!r} is", code="model_not_found")
        request = _engine_request(session, body)
        if body.stream:
            usage = bool((body.stream_options or {}).get("include_usage"))
            return StreamingResponse(_events(runner, request, body.model, usage), media_type="text/event-stream")
        async for piece in runner.stream(request):
            if piece.error is not None:
                raise piece.error
            if piece.completion is not None:
                return _whole(piece, body.model)
        raise AssertionError

    return app


def _engine_request(session: Session, body: ChatRequest) -> Request:
    messages = tuple(message.pair() for message in body.messages)
    if session.system and messages[0][0] != "system":
        messages = (("system", session.system), *messages)
    tokens = session.prompting.prompt(messages)
    room = session.engine.context_length - len(tokens)
    wanted = body.max_completion_tokens or body.max_tokens or max(min(room, 1024), 1)
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Request(
        tuple(tokens), wanted, body.temperature, body.top_p, body.seed if body.seed is not None else time.time_ns() % 2**31,
        (*session.prompting.template.stops, *stops),
    )  # fmt: skip


def _usage(piece: Piece) -> dict[str, int]:
    assert piece.completion is not None
    prompt, answer = piece.completion.prompt_tokens, len(piece.completion.tokens)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _finish(piece: Piece) -> str:
    return "length" if piece.completion is not None and piece.completion.finish == "length" else "stop"


def _whole(piece: Piece, model: str) -> dict[str, Any]:
    assert piece.completion is not None
    choice = {"index": 0, "message": {"role": "assistant", "content": piece.completion.text}, "logprobs": None, "finish_reason": _finish(piece)}
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": int(time.time()), "model": model, "choices": [choice],
            "usage": _usage(piece)}  # fmt: skip


async def _events(runner: Runner, request: Request, model: str, usage: bool) -> AsyncIterator[str]:
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}

    def event(delta: dict[str, str], finish: str | None = None) -> str:
        return f"data: {json.dumps({**head, 'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n"

    yield event({"role": "assistant", "content": ""})
    async for piece in runner.stream(request):
        if piece.error is not None:
            yield f"data: {json.dumps({'error': {'message': str(piece.error), 'type': 'invalid_request_error'}})}\n\n"
            return
        if piece.text:
            yield event({"content": piece.text})
        if piece.completion is not None:
            yield event({}, _finish(piece))
            if usage:
                yield f"data: {json.dumps({**head, 'choices': [], 'usage': _usage(piece)})}\n\n"
    yield "data: [DONE]\n\n"


def serve(store: Store, name: str, *, host: str, port: int, key: str, parallel: int, context_length: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted. Raises NotFound, BadModel, DoesNotFit, Unsupported, Busy."""
    listener = listening.listen(host, port)
    model = store.find(name)
    if model.card.format != "gguf":
        raise Unsupported(f"{name} is {model.card.format}; the server runs GGUF models", "pull a GGUF of it")
    session = open_session(store, name, context_length=context_length, parallel=parallel)
    app = make_app(session, key=key, loopback=listening.is_loopback(host))
    ready(listening.address(host, listener))
    listening.run(app, listener)
