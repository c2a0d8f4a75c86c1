"""What a usual client waits while slow ones hold on to both servers: half heads, bodies of a byte a second,
readers that never read.

    python benchmarks/slow_clients.py --model smollm2

Slow clients that are turned away come back at once, so the load stays. All come from this machine, whose
addresses have no limit of their own: what is measured is the common limit and the times. ``--before`` serves
the hub by uvicorn without either, with the 1,024 open files that systems give a process unless it asks for
more. Needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from processes import started

HALF_HEADS, SLOW_BODIES, DEAF_READERS = 1500, 200, 100
_LARGE_BYTES = 32 << 20
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Target:
    """A server under load.

    ``ask``: one usual request; ``body`` and ``read``: a path that takes a body, and a request for what is not
    read.
    """

    name: str
    address: str
    process: int
    ask: Callable[[httpx.Client], httpx.Response]
    body: str
    read: bytes


#: TCP's state of a connection that neither side has closed, as Linux numbers them.
_ESTABLISHED = 1


async def _hold(target: Target, first: bytes, drip_s: float) -> None:
    """Connect, send the beginning, then a byte every ``drip_s`` seconds or nothing, read nothing; again when
    the server closes."""
    loop, parts = asyncio.get_running_loop(), urlsplit(target.address)
    while True:
        with contextlib.suppress(OSError), socket.socket() as made:
            made.setblocking(False)
            await loop.sock_connect(made, (parts.hostname, parts.port))
            await loop.sock_sendall(made, first)
            while made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED:
                await asyncio.sleep(drip_s or 2.0)
                if drip_s:
                    await loop.sock_sendall(made, b"x")
        await asyncio.sleep(0.2)


async def _crowd(target: Target) -> None:
    host = urlsplit(target.address).netloc
    half = f"GET / HTTP/1.1\r\nHost: {host}\r\nX-Half: ".encode()
    body = (
        f"POST {target.body} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length:"
        " 100000\r\n\r\n".encode()
    )
    await asyncio.gather(
        *(_hold(target, half, 0.0) for _ in range(HALF_HEADS)),
        *(_hold(target, body, 1.0) for _ in range(SLOW_BODIES)),
        *(_hold(target, target.read, 0.0) for _ in range(DEAF_READERS)),
    )


def _attack(target: Target) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(_crowd(target))


def waits(target: Target, seconds: float) -> list[float]:
    """Seconds that each usual request took, on a connection of its own; those that failed took the longest
    there is."""
    taken: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            with httpx.Client(base_url=target.address, timeout=_PATIENCE_S) as client:
                target.ask(client).raise_for_status()
            taken.append(time.monotonic() - began)
        except httpx.HTTPError:
            taken.append(float("inf"))
        time.sleep(0.02)
    return taken


def told(name: str, taken: list[float]) -> str:
    """The waits in a line."""
    answered = sorted(one for one in taken if one != float("inf"))
    lost = len(taken) - len(answered)
    if not answered:
        return f"{name:24} none of {len(taken)} requests answered"
    half, most = answered[len(answered) // 2], answered[int(len(answered) * 0.95)]
    return (
        f"{name:24} median {half * 1e3:7.1f} ms   p95 {most * 1e3:7.1f} ms   longest"
        f" {answered[-1] * 1e3:7.1f} ms   {len(taken)} asked, {lost} lost"
    )


def measure(target: Target, seconds: float) -> None:
    """Print what a usual client waits without and with the crowd, and what the server holds."""
    process = psutil.Process(target.process)
    print(
        f"{target.name}: {HALF_HEADS} half heads, {SLOW_BODIES} bodies of a byte a second, {DEAF_READERS}"
        " readers that never read"
    )
    print(told("  quiet", waits(target, seconds / 3)), flush=True)
    before = process.memory_info().rss
    crowd = multiprocessing.get_context("spawn").Process(target=_attack, args=(_plain(target),), daemon=True)
    crowd.start()
    time.sleep(5)
    for part in range(3):
        print(told(f"  crowded, third {part + 1}", waits(target, seconds / 3)), end="   ")
        print(
            f"{process.num_fds()} files open, {(process.memory_info().rss - before) / 2**20:+.0f} MiB",
            flush=True,
        )
    crowd.terminate()
    crowd.join()


def _plain(target: Target) -> Target:
    """Without what another process does not need and cannot be given."""
    return Target(target.name, target.address, target.process, httpx.Client.get, target.body, target.read)  # type: ignore[arg-type]


def _before(home: str, listening: socket.socket) -> None:
    import logging
    import resource

    import uvicorn

    from freehold.models.store import Store
    from freehold.servers.hub.app import make_app

    logging.getLogger("asyncio").setLevel(
        logging.CRITICAL
    )  # it says of every connection that there are too many
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    uvicorn.Server(uvicorn.Config(make_app(Store(Path(home))), log_level="critical", access_log=False)).run(
        sockets=[listening]
    )


def _hub_target(address: str, process: int) -> Target:
    with httpx.Client(base_url=address, timeout=120) as client:
        client.post("/api/repos/create", json={"name": "ada/large"}).raise_for_status()
        text = "x" * _LARGE_BYTES
        lines = [
            {"key": "header", "value": {"summary": "large"}},
            {"key": "file", "value": {"path": "large.txt", "content": text, "encoding": "utf-8"}},
        ]
        client.post(
            "/api/models/ada/large/commit/main", content="\n".join(map(json.dumps, lines))
        ).raise_for_status()
    host = urlsplit(address).netloc
    read = f"GET /ada/large/resolve/main/large.txt HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    return Target(
        "hub", address, process, lambda client: client.get("/api/models"), "/api/repos/create", read
    )


def hub(seconds: float, *, before: bool) -> None:
    """Measure the hub, or what it was ``before``."""
    with tempfile.TemporaryDirectory() as folder:
        if before:
            with socket.create_server(("127.0.0.1", 0)) as listening:
                served = multiprocessing.get_context("fork").Process(
                    target=_before, args=(folder, listening), daemon=True
                )
                served.start()
                address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            while not _answers(address):
                time.sleep(0.1)
            measure(_hub_target(address, served.pid or 0), seconds)
            served.kill()
            served.join()
            return
        process, told_by = started(Path(folder), "hub", "serve")
        try:
            measure(_hub_target(told_by["address"], process.pid), seconds)
        finally:
            process.terminate()
            process.wait()


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/health").status_code == 200
    return False


def server(model: str, home: Path, seconds: float) -> None:
    """Measure the server of a stored model."""
    process, told_by = started(home, "serve", model)
    address = told_by["base_url"].removesuffix("/v1")
    body = json.dumps(
        {"model": model, "prompt": "The sea", "max_tokens": 32, "stream": True, "n": 8}
    ).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\nContent-Length:"
        f" {len(body)}\r\n\r\n".encode()
    )

    def ask(client: httpx.Client) -> httpx.Response:
        return client.get("/v1/models")

    try:
        measure(Target("server", address, process.pid, ask, "/v1/completions", head + body), seconds)
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2", help="stored model to serve")
    parser.add_argument(
        "--seconds", type=float, default=90.0, help="of measuring under the crowd, for each server"
    )
    parser.add_argument("--before", action="store_true", help="the hub without limits, by uvicorn alone")
    parser.add_argument("--only", choices=["hub", "server"], help="measure one of them")
    given = parser.parse_args()
    from freehold.core import settings

    if given.only != "server":
        hub(given.seconds, before=given.before)
    if given.only != "hub" and not given.before:
        server(given.model, settings.home(), given.seconds)


if __name__ == "__main__":
    main()
