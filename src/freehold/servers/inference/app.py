"""The server: every API over one desk, behind the gate (whose page asks) and a door that checks key and size."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from freehold.core.errors import FreeholdError, UsageError
from freehold.costs.energy import Counter
from freehold.costs.usage import UsageLog
from freehold.models.store import Store
from freehold.servers import listening
from freehold.servers.inference import (
    api_anthropic,
    api_documents,
    api_embeddings,
    api_ollama,
    api_openai,
    api_responses,
    fields,
    pages,
)
from freehold.servers.inference.api_errors import ApiError, of_fault, response
from freehold.servers.inference.api_keys import ANYONE, Key, Keys
from freehold.servers.inference.model_pool import EngineOptions, ModelPool
from freehold.servers.inference.prompt_log import PromptLog
from freehold.servers.inference.scheduler import Scheduler
from freehold.servers.inference.service import Figures, InferenceService
from freehold.servers.inference.traces import Traces, parent
from freehold.servers.listening import is_loopback
from freehold.servers.web import bodies
from freehold.servers.web.connections import Limits, Server
from freehold.servers.web.gate import Gate
from freehold.servers.web.site import Site
from freehold.trust.gate import Say, permit_models, quiet

Scope = MutableMapping[str, Any]
#: Paths that need no key.
_OPEN = ("/health", "/ready", *pages.PATHS)


@dataclass(frozen=True)
class ServerOptions:
    """How a server behaves. ``key``: one that is good beside those in the store; ``most_waiting``: requests that may wait before others get
    429; ``deadline_s``: the longest answer, 0 for no limit; ``site``: its names, and the sites whose pages may ask, with CORS; ``limits``: of
    connections; ``traces``: the address of an OpenTelemetry collector; ``log_folder``: where prompts and answers are written, for ``log_days`` days each, if anywhere."""

    loopback: bool = True
    key: str = ""
    most_waiting: int = 64
    deadline_s: float = 600.0
    most_body_bytes: int = 10 << 20
    site: Site = field(default_factory=Site)
    limits: Limits = field(default_factory=Limits)
    traces: str = ""
    log_folder: Path | None = None
    log_days: int = 0
    terms: EngineOptions = field(default_factory=EngineOptions)


class AuthMiddleware:
    """Refuses what must not come in before it is read: a missing key, a body that is too large."""

    def __init__(
        self,
        app: Callable[[Scope, Any, Any], Awaitable[None]],
        desk: InferenceService,
        keys: Keys,
        settings: ServerOptions,
    ):
        self.app, self.desk, self.keys, self.settings = app, desk, keys, settings

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            request = Request(scope)
            scope.setdefault("state", {})["key"] = await self._enter(request)
            parent.set(request.headers.get("traceparent", ""))
        except ApiError as refusal:
            await response(scope["path"], refusal)(scope, receive, send)
            return
        await self.app(scope, bodies.limited(receive, self.settings.most_body_bytes), send)

    async def _enter(self, request: Request) -> Key:
        settings = self.settings
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > settings.most_body_bytes:
            raise ApiError(413, f"the body has more than {settings.most_body_bytes >> 20} MiB")
        if request.scope["path"] in _OPEN or request.method == "OPTIONS":
            return ANYONE
        given = request.headers.get("authorization", "").removeprefix(
            "Bearer "
        ).strip() or request.headers.get("x-api-key", "")
        if settings.key and secrets_equal(given, settings.key):
            return ANYONE
        found = await asyncio.to_thread(self.keys.find, given) if given else None
        if found is not None:
            return found
        if settings.loopback and not settings.key and not await asyncio.to_thread(self.keys.any):
            return ANYONE
        raise ApiError(401, "the API key is missing or wrong", "invalid_api_key")


def secrets_equal(first: str, second: str) -> bool:
    """Compare in a time that tells nothing of where they differ."""
    import hmac

    return hmac.compare_digest(first.encode("utf-8", "replace"), second.encode("utf-8", "replace"))


def _not_from_here(scope: Scope, reason: str) -> JSONResponse:
    return response(scope["path"], ApiError(403, reason))


def make_app(
    store: Store, names: list[str], adapters: list[str], settings: ServerOptions
) -> tuple[FastAPI, InferenceService]:
    """The application, and its desk. Raises NotFound, Unsupported."""
    runner = Scheduler()
    counter = Counter()
    pool = ModelPool(store, names, adapters, runner, settings.terms, counter)
    keys = Keys(store)
    traces = Traces(settings.traces)
    desk = InferenceService(pool, runner, UsageLog(store), counter, most_waiting=settings.most_waiting, deadline_s=settings.deadline_s, traces=traces,
                log=PromptLog(settings.log_folder, settings.log_days))  # fmt: skip

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        keeping = [asyncio.create_task(desk.keep_accounts()), asyncio.create_task(desk.log.keep())]
        yield
        await asyncio.to_thread(runner.close)  # what it ends is still accounted for
        for one in keeping:
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await one
        await asyncio.to_thread(desk.close)
        await asyncio.to_thread(traces.close)

    app = FastAPI(title="Freehold", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(AuthMiddleware, desk=desk, keys=keys, settings=settings)
    if settings.site.origins:
        from fastapi.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(settings.site.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
        )
    # the outermost: nothing is read or answered before it
    app.add_middleware(Gate, site=settings.site, refused=_not_from_here)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return response(request.scope["path"], ApiError(400, fields.sentence(error.errors())))

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> JSONResponse:
        return response(request.scope["path"], error)

    @app.exception_handler(FreeholdError)
    async def failed(request: Request, error: FreeholdError) -> JSONResponse:
        return response(request.scope["path"], of_fault(error))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        told = {404: "there is nothing at this address", 405: "this address takes another method"}.get(
            error.status_code
        ) or str(error.detail)
        return response(request.scope["path"], ApiError(error.status_code, told))

    @app.get("/health")
    async def health() -> JSONResponse:
        state = runner.health
        if state.stuck:  # nothing but an end of the process helps
            return JSONResponse({"status": "stuck", "reason": state.reason}, 503)
        return JSONResponse({"status": "ok"})

    @app.get("/ready")
    async def ready() -> JSONResponse:
        state = runner.health
        engine = {
            "alive": state.alive,
            "step_s": round(state.step_s, 3),
            "restarts": state.restarts,
            "faults": state.faults,
        }
        if desk.draining:
            return JSONResponse({"status": "ending", "engine": engine}, 503)
        if state.reason:
            return JSONResponse({"status": "failing", "reason": state.reason, "engine": engine}, 503)
        energy = await asyncio.to_thread(lambda: counter.method)  # the first answer takes seconds to look up
        told = {
            "status": "ok",
            "loaded": len(pool.loaded),
            "waiting": desk.waiting,
            "energy": energy,
            "engine": engine,
        }
        return JSONResponse(told)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        figures = Figures(desk.metrics.registry, request.state.key)
        return Response(generate_latest(figures), media_type=CONTENT_TYPE_LATEST)

    app.include_router(pages.routes())
    app.include_router(api_openai.routes(desk))
    app.include_router(api_responses.routes(desk))
    app.include_router(api_embeddings.routes(desk))
    app.include_router(api_documents.routes(desk))
    app.include_router(api_anthropic.routes(desk))
    app.include_router(api_ollama.routes(desk))
    return app, desk


def permit(
    store: Store,
    names: Sequence[str],
    adapters: Sequence[str],
    host: str,
    key: str,
    override: str = "",
    say: Say = quiet,
) -> None:
    """Raises UsageError where others would be let in without a key, PolicyDenied where the policy says no, NotFound."""
    check_key(store, host, key)
    permit_models(store, "serve", [store.find(name) for name in [*names, *adapters]], override, say)


def check_key(store: Store, host: str, key: str) -> None:
    """Raises UsageError where a server would listen for other machines and there is no key."""
    if not is_loopback(host) and not key and not Keys(store).any():
        raise UsageError(
            f"listening on {host} lets other machines in, and there is no key",
            "create one: freehold key create NAME; or listen on 127.0.0.1",
        )


def serve(store: Store, names: list[str], adapters: list[str], settings: ServerOptions, *, host: str, port: int, ready: Callable[[str], None],
          drain_s: float = 30.0, certificate: Path | None = None, private_key: Path | None = None,
          override: str = "", say: Say = quiet) -> None:  # fmt: skip
    """Serve until interrupted; then nothing more is taken in, and what is under way ends. Raises NotFound, BadModel, DoesNotFit,
    Unsupported, Busy, and PolicyDenied where the policy says no. ``override``: the reason for going against it."""
    permit(store, names, adapters, host, settings.key, override, say)
    app, desk = make_app(store, names, adapters, settings)
    listener = listening.listen(host, port)
    address = listening.address(host, listener)
    server = Server(
        app,
        settings.limits,
        timeout_graceful_shutdown=int(drain_s) + 5,
        ssl_certfile=str(certificate) if certificate else None,
        ssl_keyfile=str(private_key) if certificate else None,
    )

    async def run() -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        await desk.pool.open(names[0])  # what is asked first is there from the start
        ready(address.replace("http:", "https:" if certificate else "http:", 1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, ending.set)
        waiter = asyncio.create_task(ending.wait())
        await asyncio.wait({waiter, serving}, return_when=asyncio.FIRST_COMPLETED)
        if ending.is_set():
            await desk.drain(drain_s)
        server.should_exit = True
        await serving

    asyncio.run(run())
