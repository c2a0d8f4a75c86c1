"""Options of every command with a server: the host names it answers to, and its limits on connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from freehold.servers.web.connections import Limits
    from freehold.servers.web.site import Site

AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        help="Another host name of this server, for example that of a proxy; may be repeated. IP addresses "
        "and this machine's own names always work."
    ),
]
Connections = Annotated[
    int,
    typer.Option(help="Maximum number of connections; 0: as many as the system allows, up to 4,096.", min=0),
]
ConnectionsEach = Annotated[
    int,
    typer.Option(help="Maximum number of connections from one address; this machine has no limit.", min=1),
]


def site(host: str, allow_host: Iterable[str], cors: Iterable[str] = ()) -> Site:
    """The server as browsers see it. Raises UsageError."""
    from freehold.servers.web import site

    return site.site(host, allow_host, cors)


def limits(connections: int, connections_each: int) -> Limits:
    """The limits on connections."""
    from freehold.servers.web.connections import Limits

    return Limits(most=connections, most_each=connections_each)
