"""A server in this process, over models of random weights that take no time: two that answer and one that
embeds.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.servers.inference.app import make_app
from freehold.servers.inference.options import PoolOptions, ServerOptions
from freehold.servers.inference.service import InferenceService
from tests import tiny
from tests.servers.web.serving import running

#: Names of the models: two answer, one embeds.
ANSWERING, EMBEDDING = ("alpha", "beta"), "vectors"


def stocked(folder: Path, template: str = tiny.TEMPLATE) -> Store:
    """A store with all models, those that answer with a ``template``."""
    store = Store(folder / "home")
    for seed, name in enumerate(ANSWERING):
        made = tiny.model("llama", folder / name, seed=seed)
        config = json.loads((made / "tokenizer_config.json").read_text())
        (made / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
        store.add(name, made_here(files(made)), {"source": "test"})
    store.add(EMBEDDING, made_here(files(tiny.embedder(folder / EMBEDDING))), {"source": "test"})
    return store


def files(folder: Path) -> dict[str, Path]:
    """A folder's files by their names in it."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


@dataclass
class Shop:
    """A server that runs."""

    address: str
    service: InferenceService
    app: FastAPI

    def post(self, path: str, body: Any, key: str = "", timeout: float = 60.0) -> httpx.Response:
        """A request with JSON."""
        return httpx.post(self.address + path, json=body, headers=bearer(key), timeout=timeout)

    def get(self, path: str, key: str = "") -> httpx.Response:
        """A request without a body."""
        return httpx.get(self.address + path, headers=bearer(key), timeout=60)


def bearer(key: str) -> dict[str, str]:
    """The headers that carry a key."""
    return {"Authorization": f"Bearer {key}"} if key else {}


@contextlib.contextmanager
def opened(store: Store, **settings: Any) -> Iterator[Shop]:
    """A server over the store's models until the block ends."""
    options = PoolOptions(context_length=512, parallel=2, state_bytes=0, threads=1)
    app, service = make_app(store, [*ANSWERING, EMBEDDING], [], ServerOptions(engine=options, **settings))
    with running(app) as address:
        yield Shop(address, service, app)
