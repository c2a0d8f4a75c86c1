"""How long a connection may do nothing, and how many there may be: what keeps slow clients from holding up
the others.

Uvicorn waits for ever for a request's head, for its body and for a client to read its answer. Here one look a
second finds connections that have done nothing for too long and ends them. Connections are counted where they
are accepted, before any handshake; when there are too many, one that waits for nothing of ours (no complete
head yet, or idle after an answer) makes room, and only where there is none the new one is turned away.

Sources: uvicorn's h11_impl.py and server.py; the times are those of nginx (client_header_timeout,
client_body_timeout, send_timeout, each 60 s, the head's shortened as Apache's mod_reqtimeout has it).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Connections where neither the operator nor the system sets fewer.
_MOST = 4096
#: File descriptors kept free for files, the database and connections that were ended but are not yet closed.
_KEPT_FREE = 512
#: Connections accepted between two other pieces of work: few against the limits, so that a head that has come
#: is read before its connection could have to make room.
_AT_ONCE = 64
#: Connections the system keeps waiting for that.
_BACKLOG = 2048
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"
)
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True)
class Limits:
    """``most``: connections in all, 0 for what the system allows, up to 4,096; ``most_each``: of one address
    (of IPv6 a /64), but for this machine's own, where proxies ask for others. ``head_s``: seconds for a
    request's head, TLS included; ``stalled_s``: seconds in which a body brings less than ``least_bytes``, or
    an answer is not read at all; ``idle_s``: seconds between two requests."""

    most: int = 0
    most_each: int = 256
    head_s: float = 20.0
    stalled_s: float = 60.0
    least_bytes: int = 4096
    idle_s: float = 15.0


class Peer(socket.socket):
    """An accepted connection. ``since``: when it began to wait for its client; ``busy``: a request's head is
    complete and its answer is not."""

    crowd: Crowd
    group: str
    since: float = 0.0
    busy: bool = False
    known: bool = False
    shown: bool = False

    def close(self) -> None:
        """Close, and count no longer."""
        number = self.fileno()
        super().close()
        self.crowd.closed(self, number)


class _Group:
    """Connections that share a limit; those that wait for their clients in the order in which they may make
    room."""

    def __init__(self, most: int):
        self.most = most
        self.members = set[Peer]()
        self.strangers: dict[Peer, None] = {}
        self.idle: dict[Peer, None] = {}

    def waits(self, peer: Peer) -> None:
        (self.idle if peer.known else self.strangers)[peer] = None

    def works(self, peer: Peer) -> None:
        self.idle.pop(peer, None)
        self.strangers.pop(peer, None)

    def first(self) -> Peer | None:
        """Who makes room: who has never asked anything, the longest first, then who has been answered."""
        return next(iter(self.strangers), None) or next(iter(self.idle), None)


class Crowd:
    """Everyone who is connected to a server."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self._all = _Group(min(limits.most or _MOST, max(_open_files() - _KEPT_FREE, 32)))
        self._groups: dict[str, _Group] = {}
        self._by_number: dict[int, Peer] = {}

    def __len__(self) -> int:
        return len(self._all.members)

    @property
    def most(self) -> int:
        """Connections in all."""
        return self._all.most

    def peer(self, number: int) -> Peer:
        """The connection of a file descriptor."""
        return self._by_number[number]

    def enter(self, peer: Peer) -> bool:
        """Count a connection in, at another's cost where there are too many; False where it cannot stay."""
        groups = self._of(peer)
        for group in groups:
            if len(group.members) >= group.most:
                first = group.first()
                if first is None:
                    return False
                self.drop(first)
        # the drop may have taken the last of the peer's own group away
        for group in self._of(peer):
            group.members.add(peer)
        self._by_number[peer.fileno()] = peer
        self.waits(peer)
        return True

    def waits(self, peer: Peer) -> None:
        """The connection waits for its client."""
        peer.busy, peer.since = False, time.monotonic()
        for group in self._of(peer):
            group.works(peer)
            group.waits(peer)

    def works(self, peer: Peer) -> None:
        """The connection has a request under way."""
        peer.busy = peer.known = True
        for group in self._of(peer):
            group.works(peer)

    def drop(self, peer: Peer) -> None:
        """End a connection from here: whoever reads from it sees its end."""
        self._leave(peer)
        with contextlib.suppress(OSError):  # its client was faster
            peer.shutdown(socket.SHUT_RDWR)

    def closed(self, peer: Peer, number: int) -> None:
        """Forget a connection."""
        if self._by_number.get(number) is peer:
            del self._by_number[number]
        self._leave(peer)

    def look(self, now: float) -> None:
        """End connections whose TLS handshake takes too long; of the others :class:`Connection` knows
        more."""
        late = [
            peer for peer in self._all.strangers if not peer.shown and now - peer.since > self.limits.head_s
        ]
        for peer in late:
            self.drop(peer)

    def _of(self, peer: Peer) -> list[_Group]:
        if not peer.group:
            return [self._all]
        return [self._groups.setdefault(peer.group, _Group(self.limits.most_each)), self._all]

    def _leave(self, peer: Peer) -> None:
        for group in self._of(peer):
            group.members.discard(peer)
            group.works(peer)
        if peer.group and not self._groups[peer.group].members:
            del self._groups[peer.group]


def _open_files() -> int:
    """How many files and connections this process may have open, after raising that as far as the system lets
    it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST + _KEPT_FREE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = _MOST + _KEPT_FREE if hard == resource.RLIM_INFINITY else min(hard, _MOST + _KEPT_FREE)
    if soft != resource.RLIM_INFINITY and soft < wished:
        with contextlib.suppress(ValueError, OSError):  # then it stays as it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST + _KEPT_FREE if soft == resource.RLIM_INFINITY else soft


class Listener(socket.socket):
    """A listening socket that takes in no more connections than a crowd may have."""

    crowd: Crowd

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection that may stay. Raises BlockingIOError where none waits."""
        while True:
            connection, address = super().accept()
            peer = Peer(self.family, self.type, self.proto, fileno=connection.detach())
            peer.crowd, peer.group = self.crowd, _group(str(address[0]))
            if self.crowd.enter(peer):
                return peer, address
            with contextlib.suppress(OSError):
                peer.send(_TOO_MANY)
            peer.close()


def _group(address: str) -> str:
    """Whose limit an address counts to; "" for this machine, which has none of its own."""
    host = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    if host.is_loopback:
        return ""
    prefix = 64 if host.version == 6 else 32
    return str(ipaddress.ip_network(f"{host}/{prefix}", strict=False))


class Connection(H11Protocol):
    """Uvicorn's connection, which also knows since when nothing has come or gone."""

    def __init__(self, crowd: Crowd, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.crowd = crowd
        #: when the head under way began; None while there is none
        self.head_since: float | None = None
        #: since when nothing has moved that should, what came since then, and what was not sent at the last
        #: look
        self.still_since, self.came, self.unsent = 0.0, 0, 0
        self.closing_since: float | None = None
        #: whether what was written before has gone since the last look
        self.drained = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.peer = self.crowd.peer(transport.get_extra_info("socket").fileno())
        self.peer.shown, self.head_since = True, self.peer.since

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.came += len(data)
        if not self.peer.busy and self.head_since is None and self.conn.their_state is h11.IDLE:
            self.head_since = time.monotonic()
        super().data_received(data)

    def handle_events(self) -> None:
        """As uvicorn's, which may have made a request of what came."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            self.crowd.works(self.peer)
            self.head_since, self.still_since, self.came, self.unsent = None, time.monotonic(), 0, 0

    def on_response_complete(self) -> None:
        """As uvicorn's; what follows the answer is another request."""
        self.crowd.waits(self.peer)
        super().on_response_complete()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.drained = True
        super().resume_writing()

    def look(self, now: float) -> None:
        """End this connection if its client does nothing."""
        if self.transport.is_closing():  # what is left to send, or TLS's last word, has its time too
            self.closing_since = self.closing_since or now
            if now - self.closing_since > self.crowd.limits.stalled_s:
                self.transport.abort()
            return
        if self.head_since is None and self._is_idle_without_end():
            self.head_since = now
        if self.head_since is not None:
            if now - self.head_since > self.crowd.limits.head_s:
                self._end(b"" if self.conn.trailing_data == (b"", False) else _TOO_SLOW)
            return
        unsent = self.transport.get_write_buffer_size()
        if self._has_moved(unsent):
            self.still_since, self.came = now, 0
        elif now - self.still_since > self.crowd.limits.stalled_s:
            self._end(b"" if self.cycle.response_started else _TOO_SLOW)
        self.unsent, self.drained = unsent, False

    def _is_idle_without_end(self) -> bool:
        """Whether no timer of uvicorn's ends the wait for a request: after a body that was not read to its
        end."""
        return (
            not self.peer.busy and self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        )

    def _has_moved(self, unsent: int) -> bool:
        """Whether the client has done its part since :attr:`still_since`."""
        if unsent and self.flow.write_paused:
            return self.drained or not self.unsent or unsent < self.unsent
        awaited = self.conn.their_state is h11.SEND_BODY and not self.conn.they_are_waiting_for_100_continue
        return not awaited or self.flow.read_paused or self.came >= self.crowd.limits.least_bytes

    def _end(self, last: bytes) -> None:
        """Close, with a last word where nothing was said yet; at once where nobody reads."""
        if last:
            self.transport.write(last)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


class Server(uvicorn.Server):
    """Uvicorn's server with limits on connections; on asyncio's own loop, since others do not ask the socket
    to accept."""

    def __init__(self, app: Any, limits: Limits | None = None, **options: Any):
        limits = limits or Limits()
        self.crowd = Crowd(limits)
        kind: Any = functools.partial(Connection, self.crowd)
        options = {
            "log_level": "warning",
            "access_log": False,
            "use_colors": False,
            "backlog": min(_AT_ONCE, self.crowd.most // 8),
        } | options
        keep_alive_s = max(1, int(limits.idle_s))
        super().__init__(
            uvicorn.Config(
                app, http=kind, ws="none", loop="asyncio", timeout_keep_alive=keep_alive_s, **options
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with the connections of the sockets counted."""
        listeners = list[socket.socket]()
        for plain in sockets or []:
            listener = Listener(plain.family, plain.type, plain.proto, fileno=os.dup(plain.fileno()))
            listener.crowd = self.crowd
            listeners.append(listener)
        await super().startup(sockets=listeners)
        for listener in listeners:
            listener.listen(_BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Uvicorn's tick, ten times a second; once a second all connections are looked at."""
        if counter % 10 == 0:
            now = time.monotonic()
            self.crowd.look(now)
            for connection in list(self.server_state.connections):
                connection.look(now)  # type: ignore[union-attr]
        return await super().on_tick(counter)
