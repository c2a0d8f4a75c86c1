"""Several replicas of the server behind one address, on one machine or many, by Ray Serve.

Each replica is the whole server of :mod:`freehold.servers.inference.app` with models of its own in memory; Ray hands requests to the less busy ones.
What replicas share is the store: keys and usage are in its catalogue, which for several machines must be PostgreSQL (``FREEHOLD_DATABASE``), and
the blobs in a folder that all of them see. What they do not share: limits, which each counts by itself, prefixes in memory, and metrics.

Source: Ray Serve's ``ingress`` with a builder, which is called in each replica. Ray is kept from reporting its use.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from freehold.core.errors import MissingPart
from freehold.models.store import Store
from freehold.servers import listening
from freehold.servers.inference.app import ServerOptions, make_app, permit
from freehold.trust.gate import Say, quiet

NAME = "freehold"


def builder(home: Path, names: list[str], adapters: list[str], settings: ServerOptions) -> Callable[[], Any]:
    """What each replica calls to have its application. Only plain values go along."""

    def build() -> Any:
        os.environ["FREEHOLD_HOME"] = str(home)
        return make_app(Store(home), names, adapters, settings)[0]

    return build


def run(store: Store, names: list[str], adapters: list[str], settings: ServerOptions, *, replicas: int, cores: int, host: str, port: int,
        ready: Callable[[str], None], ended: threading.Event, override: str = "", say: Say = quiet) -> None:  # fmt: skip
    """Serve until ``ended``, with ``cores`` for each replica; on the cluster that ``RAY_ADDRESS`` names, or on one of this machine's own.

    ``override``: the reason for going against the policy. Raises MissingPart, NotFound, Unsupported, PolicyDenied.
    """
    permit(store, names, adapters, host, settings.key, override, say)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray import serve  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPart(
            "replicas need Ray, which is not installed",
            "pip install 'freehold[ray]', or leave out --replicas",
        ) from error
    settings = replace(settings, terms=replace(settings.terms, threads=cores))
    if not port:
        with listening.listen(host, 0) as free:
            port = int(free.getsockname()[1])
    elsewhere = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = (
        {}
        if elsewhere
        else {
            "num_cpus": max(replicas * cores, 1),
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    )
    ray.init(address=elsewhere or "local", log_to_driver=False, configure_logging=False, **own)
    try:
        serve.start(http_options={"host": host, "port": port})
        made = serve.deployment(serve.ingress(builder(store.folder, names, adapters, settings))())  # type: ignore[arg-type]
        options = made.options(  # as many as wait at the server itself, and it says no to more
            name=NAME, num_replicas=replicas, ray_actor_options={"num_cpus": cores}, max_ongoing_requests=settings.most_waiting + 256,
            graceful_shutdown_timeout_s=35.0,
        )  # fmt: skip
        serve.run(options.bind(), name=NAME, route_prefix="/")
        ready(f"http://{host}:{port}")
        ended.wait()
    finally:
        serve.shutdown()
        ray.shutdown()
