"""The server's state: /health for the service manager, /ready for a load balancer, /metrics for
Prometheus.
"""

from __future__ import annotations

import asyncio
from typing import TypedDict

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from freehold.servers.inference.dependencies import RequestClient, Service
from freehold.servers.inference.metrics import VisibleMetrics
from freehold.servers.inference.scheduler import Health

router = APIRouter()


class EngineState(TypedDict):
    """The state of the engines' thread. ``step_s``: age of the step in progress."""

    alive: bool
    step_s: float
    restarts: int
    faults: int


def _engine_state(health: Health) -> EngineState:
    return {
        "alive": health.alive,
        "step_s": round(health.step_s, 3),
        "restarts": health.restarts,
        "faults": health.faults,
    }


@router.get("/health")
async def health(service: Service) -> JSONResponse:
    """503 where only a restart of the process helps."""
    state = service.scheduler.health
    if state.stuck:
        return JSONResponse({"status": "stuck", "reason": state.reason}, 503)
    return JSONResponse({"status": "ok"})


@router.get("/ready")
async def ready(service: Service) -> JSONResponse:
    """503 while the server cannot answer."""
    state = service.scheduler.health
    engine = _engine_state(state)
    if service.draining:
        return JSONResponse({"status": "ending", "engine": engine}, 503)
    if state.reason:
        return JSONResponse({"status": "failing", "reason": state.reason, "engine": engine}, 503)
    # looking the meter up takes seconds the first time
    energy = await asyncio.to_thread(lambda: service.energy.method)
    return JSONResponse(
        {
            "status": "ok",
            "loaded": len(service.pool.loaded),
            "waiting": service.waiting,
            "energy": energy,
            "engine": engine,
        }
    )


@router.get("/metrics")
async def metrics(service: Service, client: RequestClient) -> Response:
    """The metrics of the models that the key may use."""
    visible = VisibleMetrics(service.metrics.registry, client.key)
    return Response(generate_latest(visible), media_type=CONTENT_TYPE_LATEST)
