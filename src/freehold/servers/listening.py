"""What a server of ours listens on: the address, and whether that is this machine alone."""

from __future__ import annotations

import socket
from typing import Any

from freehold.core.errors import Busy
from freehold.servers.web.connections import Limits, Server

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    return host in _LOOPBACK


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises Busy."""
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise Busy(
            f"port {port} on {host} cannot be used ({error.strerror})", "choose another with --port"
        ) from error
    # connections inherit it; asyncio sets it only on sockets made with a protocol number, and without it
    # every answer waits 40 ms for an acknowledgement between its head and its body
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address(host: str, listener: socket.socket) -> str:
    """URL of a listening socket."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def run(app: Any, listener: socket.socket, limits: Limits, **options: Any) -> None:
    """Serve an ASGI application until interrupted. ``options``: of uvicorn's configuration."""
    Server(app, limits, **options).run(sockets=[listener])
