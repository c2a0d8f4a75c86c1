"""Several replicas of the server behind one address, on one machine or many, by Ray Serve.

Each replica is the whole server of ``app.py`` with its own models in memory; Ray sends requests to the
less busy ones. Replicas share the store: keys and usage are in its catalogue, which for several machines
must be PostgreSQL (``FREEHOLD_DATABASE``), and the blobs in a folder that all machines see. They do not
share limits, cached prompts and metrics.

Source: Ray Serve's ``ingress`` with a builder, which is called in each replica. Ray's usage reports are
turned off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from freehold.core.errors import MissingPart
from freehold.models.store import Store
from freehold.servers import listening
from freehold.servers.inference import access
from freehold.servers.inference.app import make_app
from freehold.servers.inference.options import ServerOptions
from freehold.trust.gate import Say, quiet

NAME = "freehold"


@dataclass(frozen=True)
class Cluster:
    """How many replicas there are, and where they listen."""

    replicas: int
    #: processor cores of each replica
    cores: int
    host: str
    #: 0: any free port
    port: int


def builder(
    home: Path, names: list[str], adapters: list[str], options: ServerOptions
) -> Callable[[], FastAPI]:
    """The function that each replica calls to make its application. Only plain values are sent to it."""

    def build() -> FastAPI:
        os.environ["FREEHOLD_HOME"] = str(home)
        return make_app(Store(home), names, adapters, options)[0]

    return build


def run(
    store: Store,
    names: list[str],
    adapters: list[str],
    options: ServerOptions,
    cluster: Cluster,
    *,
    ready: Callable[[str], None],
    ended: threading.Event,
    override: str = "",
    say: Say = quiet,
) -> None:
    """Serve until ``ended`` is set, on the cluster of ``RAY_ADDRESS`` or on one that is started on this
    machine.

    ``override``: the reason for going against the policy. Raises MissingPart, NotFound, Unsupported,
    UsageError, PolicyDenied.
    """
    access.permit(store, [*names, *adapters], cluster.host, options.key, override, say)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray import serve  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPart(
            "--replicas needs Ray, which is not installed",
            "pip install 'freehold[ray]', or leave out --replicas",
        ) from error
    options = replace(options, engine=replace(options.engine, threads=cluster.cores))
    host, port = cluster.host, cluster.port or _free_port(cluster.host)
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {
        "num_cpus": max(cluster.replicas * cluster.cores, 1),
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    ray.init(
        address=address or "local",
        log_to_driver=False,
        configure_logging=False,
        **({} if address else local),
    )
    try:
        serve.start(http_options={"host": host, "port": port})
        build = builder(store.folder, names, adapters, options)
        application = serve.ingress(build)()  # type: ignore[arg-type]
        deployment = serve.deployment(application).options(  # type: ignore[attr-defined]  # it wraps the class
            name=NAME,
            num_replicas=cluster.replicas,
            ray_actor_options={"num_cpus": cluster.cores},
            # more than wait at the server itself, which answers 429 to further ones
            max_ongoing_requests=options.queue_length + 256,
            graceful_shutdown_timeout_s=35.0,
        )
        serve.run(deployment.bind(), name=NAME, route_prefix="/")
        ready(f"http://{host}:{port}")
        ended.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


def _free_port(host: str) -> int:
    with listening.listen(host, 0) as listener:
        return int(listener.getsockname()[1])
