"""The application: every API over one inference service, behind the gate (for browsers) and the auth
middleware.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from freehold.core.errors import FreeholdError
from freehold.costs.energy import Counter
from freehold.costs.usage import UsageLog
from freehold.models.store import Store
from freehold.servers import listening
from freehold.servers.inference import (
    access,
    api_anthropic,
    api_documents,
    api_embeddings,
    api_health,
    api_ollama,
    api_openai,
    api_responses,
    fields,
    pages,
)
from freehold.servers.inference.api_errors import ApiError, api_error_of, error_response
from freehold.servers.inference.api_keys import Keys
from freehold.servers.inference.auth_middleware import AuthMiddleware
from freehold.servers.inference.documents.library import DocumentLibrary
from freehold.servers.inference.model_pool import ModelPool
from freehold.servers.inference.options import ServerOptions
from freehold.servers.inference.prompt_log import PromptLog
from freehold.servers.inference.scheduler import Scheduler
from freehold.servers.inference.service import InferenceService
from freehold.servers.inference.traces import Traces
from freehold.servers.web.connections import Server
from freehold.servers.web.gate import Gate
from freehold.trust.gate import Say, quiet

_PARTS = (
    pages,
    api_health,
    api_openai,
    api_responses,
    api_embeddings,
    api_documents,
    api_anthropic,
    api_ollama,
)
#: Seconds that requests in progress have to finish when the server is shut down.
DRAIN_S = 30


def make_app(
    store: Store, names: list[str], adapters: list[str], options: ServerOptions
) -> tuple[FastAPI, InferenceService]:
    """The application and its service. Raises NotFound, Unsupported."""
    service = _make_service(store, names, adapters, options)
    app = FastAPI(title="Freehold", docs_url=None, redoc_url=None, lifespan=_lifespan(service))
    app.state.service, app.state.library = service, DocumentLibrary(service)
    app.add_middleware(AuthMiddleware, keys=Keys(store), options=options)
    if options.site.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(options.site.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
        )
    # the outermost: nothing is read or answered before it
    app.add_middleware(Gate, site=options.site, refused=_denied_by_gate)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(FreeholdError, _freehold_error)
    app.add_exception_handler(HTTPException, _http_error)
    for part in _PARTS:
        app.include_router(part.router)
    return app, service


def _make_service(
    store: Store, names: list[str], adapters: list[str], options: ServerOptions
) -> InferenceService:
    scheduler, energy = Scheduler(), Counter()
    return InferenceService(
        ModelPool(store, names, adapters, scheduler, options.engine, energy),
        scheduler,
        UsageLog(store),
        energy,
        queue_length=options.queue_length,
        deadline_s=options.deadline_s,
        traces=Traces(options.traces),
        prompt_log=PromptLog(options.log_folder, options.log_days),
    )


def _lifespan(service: InferenceService) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Writes usage and deletes old prompts while the application runs, and closes the service after it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(service.usage_writer.run()),
            asyncio.create_task(service.prompt_log.run()),
        ]
        yield
        await asyncio.to_thread(service.scheduler.close)  # the answers that this ends are still accounted for
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(service.close)
        await asyncio.to_thread(service.traces.close)

    return lifespan


# -- errors in the form of the API that was called ---------------------------------------------------


def _denied_by_gate(scope: Scope, reason: str) -> JSONResponse:
    return error_response(scope["path"], ApiError(403, reason))


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(request.scope["path"], ApiError(400, fields.error_sentence(error.errors())))


async def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error_response(request.scope["path"], error)


async def _freehold_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FreeholdError)
    return error_response(request.scope["path"], api_error_of(error))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    known = {404: "there is nothing at this address", 405: "this address does not accept this method"}
    message = known.get(error.status_code) or str(error.detail)
    return error_response(request.scope["path"], ApiError(error.status_code, message))


# -- the server process --------------------------------------------------------------------------------


def serve(
    store: Store,
    names: list[str],
    adapters: list[str],
    options: ServerOptions,
    *,
    host: str,
    port: int,
    ready: Callable[[str], None],
    tls: tuple[Path, Path] | None = None,
    override: str = "",
    say: Say = quiet,
) -> None:
    """Serve until interrupted; then accept no more requests, and wait up to :data:`DRAIN_S` for those in
    progress.

    ``tls``: files of the certificate and of its private key, for https. ``override``: the reason for going
    against the policy. Raises NotFound, BadModel, DoesNotFit, Unsupported, Busy, UsageError where others
    would be let in without a key, PolicyDenied.
    """
    access.permit(store, [*names, *adapters], host, options.key, override, say)
    app, service = make_app(store, names, adapters, options)
    listener = listening.listen(host, port)
    address = listening.address(host, listener)
    server = Server(
        app,
        options.limits,
        timeout_graceful_shutdown=DRAIN_S + 5,
        ssl_certfile=str(tls[0]) if tls else None,
        ssl_keyfile=str(tls[1]) if tls else None,
    )

    async def run() -> None:
        await service.pool.open(names[0])  # the model of the first request is there from the start
        ready(address.replace("http:", "https:" if tls else "http:", 1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if await _interrupted(serving):
            await service.drain(DRAIN_S)
        server.should_exit = True
        await serving

    asyncio.run(run())


async def _interrupted(serving: asyncio.Task[None]) -> bool:
    """Wait for SIGTERM or SIGINT (True), or for the server to end (False)."""
    interrupt = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":  # whose event loop hears no signals
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupt.set))
        else:
            loop.add_signal_handler(number, interrupt.set)
    waiter = asyncio.create_task(interrupt.wait())
    await asyncio.wait({waiter, serving}, return_when=asyncio.FIRST_COMPLETED)
    return interrupt.is_set()
