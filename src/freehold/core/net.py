"""What another hub may make this machine do while it is asked: answers have an end, and no redirect leads
nearer than the hub itself.

A hub on the internet that sends a client on to ``http://127.0.0.1`` or to the local network would have it
ask, from behind the firewall, what the hub cannot ask. What a name leads to is looked up before each request;
a name that is made to lead elsewhere between the look and the request is not noticed. Chunks (Xet) are
fetched by a library of its own and are not under these limits; what it writes is checked against the file's
digest.
"""

from __future__ import annotations

import contextlib
import contextvars
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub.utils import _http

from freehold.core.errors import DoesNotFit, PolicyDenied

log = logging.getLogger(__name__)
#: Bytes of an answer that describes something.
_MOST_JSON = 256 << 20
_most: contextvars.ContextVar[int | None] = contextvars.ContextVar("most", default=None)


@contextlib.contextmanager
def at_most(count: int) -> Iterator[None]:
    """Within the block an answer of more bytes raises DoesNotFit."""
    before = _most.set(count)
    try:
        yield
    finally:
        _most.reset(before)


def nearness(host: str) -> int:
    """How near an address is: 0 on the internet, or not known; 1 on a local network; 2 on this machine or its
    link.
    """
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return 0  # nothing can be asked there, or a proxy looks it up
    return max(map(_nearness, addresses), default=0)


def _nearness(text: str) -> int:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return 2
    return int(not address.is_global)


def client_of(endpoint: str) -> Callable[[], httpx2.Client]:
    """Makes the client of a hub, with the rules of this file."""
    nearest = nearness(urlsplit(endpoint).hostname or "")

    def ask(request: httpx2.Request) -> None:
        _http.hf_request_event_hook(request)
        log.debug("asking %s (%s)", request.url.host, request.method)
        if nearness(request.url.host) > nearest:
            raise PolicyDenied(
                f"{endpoint} leads to {request.url.host}, which is on a more private network than that hub",
                "if both are yours, use the hub's address on this network",
            )

    def answered(response: httpx2.Response) -> None:
        most = _most.get()
        if most is None and "json" in response.headers.get("content-type", ""):
            most = _MOST_JSON
        if most is not None:
            response.stream = _Limited(response.stream, most, str(response.url.host))

    def make_client() -> httpx2.Client:
        hooks: Any = {"request": [ask], "response": [answered]}
        return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None)

    return make_client


class _Limited(httpx2.SyncByteStream):
    """An answer's bytes, up to a number."""

    def __init__(self, stream: Any, most: int, host: str):
        self._stream, self._most, self._host = stream, most, host

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for block in self._stream:
            count += len(block)
            if count > self._most:
                raise DoesNotFit(
                    f"{self._host} sent more than the expected {self._most:,} bytes",
                    "tell the people who run that hub",
                )
            yield block

    def close(self) -> None:
        """See httpx's SyncByteStream."""
        self._stream.close()
