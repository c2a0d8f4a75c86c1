"""A server process with tiny random models, for tests of what it takes and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.runtime.gguf_form import as_gguf
from tests import tiny
from tests.servers.inference.serving import server
from tests.servers.inference.tiny_shop import files

#: What is asked beside everything else, and must always be answered alike.
NORMAL = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hello world"}],
    "max_tokens": 12,
    "temperature": 0,
}


def store_tiny(home: Path, folder: Path) -> Store:
    """A store with ``tiny``, which answers, and ``vectors``, which embeds."""
    store = Store(home)
    for name, made in (
        ("tiny", tiny.model("llama", folder / "tiny")),
        ("vectors", tiny.embedder(folder / "vectors")),
    ):
        model = store.add(name, made_here(files(made)), {"source": "test"})
        if name == "tiny":
            as_gguf(store, model)
    return store


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with both."""
    folder = tmp_path_factory.mktemp("tiny")
    store_tiny(folder / "home", folder)
    with server(folder / "home", "--context", "512", names=("tiny", "vectors")) as running:
        yield running


def normal(client: httpx.Client) -> str:
    """The normal answer."""
    return client.post("/v1/chat/completions", json=NORMAL).json()["choices"][0]["message"]["content"]


def message(answer: httpx.Response) -> str:
    """The sentence of a refusal, which has its API's own shape."""
    told: Any = answer.json()
    path = answer.request.url.path
    if path.startswith("/api/"):
        assert set(told) == {"error"}
        return told["error"]
    if path.startswith("/v1/messages"):
        assert told["type"] == "error"
        return told["error"]["message"]
    assert set(told["error"]) == {"message", "type", "param", "code"}
    return told["error"]["message"]
