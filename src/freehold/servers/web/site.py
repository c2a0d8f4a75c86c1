"""By which names a server may be asked, and which pages of other sites may ask it through a browser.

A browser attaches what it remembers (a password, an open loopback port) to requests of any page. Two facts
that a page cannot forge say whose page it is: the name in ``Host``, and ``Origin`` with ``Sec-Fetch-Site``.
Programs send neither of the last two and are let through to the keys.

Source of the rule on origins: Filippo Valsorda's cross-origin protection in Go's net/http
(CrossOriginProtection).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from freehold.core.errors import UsageError

#: Names of this machine that no one else can register.
_LOCAL = frozenset({"localhost"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
#: Allows every name; for servers behind a proxy that checks names itself.
ANY_NAME = "*"


@dataclass(frozen=True)
class Request:
    """What a browser says of a request's source; "" for a header that is absent. ``mode`` and ``target``:
    ``Sec-Fetch-Mode`` and ``-Dest``."""

    method: str
    host: str | None
    origin: str = ""
    site: str = ""
    mode: str = ""
    target: str = ""

    @property
    def of_browser(self) -> bool:
        """Whether a browser sent it: programs say nothing of where a request comes from."""
        return bool(self.origin or self.site)


@dataclass(frozen=True)
class Site:
    """A server as browsers see it. ``names``: host names it answers to, beside all addresses and localhost;
    ``origins``: other sites whose pages may ask."""

    names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def refusal(self, request: Request) -> str:
        """Why a request must not come in, in a sentence; "" where it may."""
        if request.host is not None and not self.answers_to(request.host):
            return (
                f"the Host header {request.host[:200]!r} is not a name of this server; "
                "ask it by its address, or start it with --allow-host NAME"
            )
        if request.origin not in self.origins and self._is_foreign(request):
            return (
                f"a page of another site ({(request.origin or request.site)[:200]!r}) may not use this "
                "server; "
                "'freehold serve' allows sites with --cors, the hub allows none"
            )
        return ""

    def answers_to(self, host: str) -> bool:
        """Whether a Host header names this server. Addresses always do: a rebound page's host is a name."""
        name = _without_port(host.lower())
        if name in _LOCAL or name in self.names or ANY_NAME in self.names:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def _is_foreign(self, request: Request) -> bool:
        """Whether a page of another site sent the request, and it is more than following a link."""
        if request.site:
            followed = (request.mode, request.target) == (
                "navigate",
                "document",
            ) and request.method in _READING
            return request.site not in ("same-origin", "none") and not followed
        if not request.origin:
            return False
        parts = urlsplit(request.origin)
        return not parts.netloc or parts.netloc.lower() != (request.host or "").lower()


def site(host: str, names: Iterable[str] = (), origins: Iterable[str] = ()) -> Site:
    """A server that listens on ``host``: it answers to that, to this machine's names and to ``names``. Raises
    UsageError."""
    return Site(
        frozenset({host.lower(), *_machine_names(), *(_checked_name(name) for name in names)}),
        frozenset(_checked_origin(origin) for origin in origins),
    )


def _machine_names() -> set[str]:
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return {name, short, f"{short}.local"} if short else set()


def _checked_name(name: str) -> str:
    name = name.strip().lower().removesuffix(".")
    if name != ANY_NAME and not _NAME.fullmatch(name):
        raise UsageError(
            f"--allow-host {name!r} is not a host name",
            "write for example models.example.org, without http://",
        )
    return name


def _checked_origin(origin: str) -> str:
    origin = origin.strip().lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise UsageError(
            f"--cors {origin!r} is not the address of a site",
            "name each site, for example https://chat.example.org",
        )
    return origin


def _without_port(host: str) -> str:
    """``name:port`` and ``[address]:port`` without the port, and without the dot that ends a full name."""
    name = (
        host
        if host.endswith("]")
        else re.sub(r":\d*$", "", host)
        if host.count(":") == 1 or "]:" in host
        else host
    )
    return name.removesuffix(".")
