"""Both servers over real sockets, each in a thread of this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from freehold.hub.users import Users
from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.servers import listening
from freehold.servers.hub.app import make_app as make_hub
from freehold.servers.inference.app import ServerOptions
from freehold.servers.inference.app import make_app as make_server
from freehold.servers.web.connections import Limits, Server
from freehold.servers.web.site import Site
from tests.hub.models import gguf


def hub(folder: Path, site: Site | None = None, *, closed: bool = False) -> tuple[FastAPI, str]:
    """A hub's application and an administrator's token; "" where it asks for none."""
    store = Store(folder / "hub")
    token = Users(store).create_token("ada", role="admin") if closed else ""
    return make_hub(store, loopback=not closed, site=site), token


def server(folder: Path, site: Site | None = None, *, key: str = "") -> FastAPI:
    """A server's application over a model of random weights."""
    store = Store(folder / "server")
    store.add("tiny", made_here({"tiny.gguf": gguf(folder / "tiny.gguf")}), {"source": "test"})
    settings = ServerOptions(loopback=not key, key=key, site=site or Site())
    return make_server(store, ["tiny"], [], settings)[0]


@contextlib.contextmanager
def running(app: Any, limits: Limits | None = None, host: str = "127.0.0.1", **options: Any) -> Iterator[str]:
    """The address of an application that is served until the block ends."""
    listener = listening.listen(host, 0)
    address = listening.address(host, listener)
    made = Server(app, limits, log_level="critical", timeout_graceful_shutdown=1, **options)
    thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not made.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield address
    finally:
        made.should_exit = True
        thread.join(20)
        listener.close()


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path) of every route, with something in place of each parameter."""
    filled: list[tuple[str, str]] = []
    for path, methods in app.openapi()["paths"].items():
        for name, value in {
            "plural": "models",
            "repo": "ada/first",
            "where": "ada/first",
            "kind": "branch",
        }.items():
            path = path.replace("{" + name + "}", value)
        while "{" in path:
            path = path[: path.index("{")] + "x" + path[path.index("}") + 1 :]
        filled += [(method.upper(), path) for method in methods]
    return filled
