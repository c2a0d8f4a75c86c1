"""``freehold.serve``: a server from Python that answers, shuts down, and says why it does not start."""

from __future__ import annotations

import httpx
import pytest

import freehold
from freehold.core.errors import NotFound, StepFailed, UsageError
from freehold.models.store import Store
from tests.servers.inference.tiny_server import store_tiny


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("process")
    return store_tiny(folder / "home", folder)


@pytest.mark.slow
def test_it_answers_until_its_block_ends(store: Store) -> None:
    with freehold.serve("tiny", port=0, options=["--context", "512"], store=store) as server:
        assert server.running
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        answer = httpx.post(f"{server.base_url}/chat/completions", json=body, timeout=60)
        assert answer.status_code == 200
        assert "tiny at http://127.0.0.1:" in repr(server)
    assert not server.running
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.base_url}/models")
    assert "shut down" in repr(server)


@pytest.mark.slow
def test_it_says_what_the_server_said(store: Store) -> None:
    with pytest.raises(StepFailed, match="the server did not start: --states: '4s' is a duration") as failed:
        freehold.serve("tiny", port=0, options=["--states", "4s"], store=store)
    assert failed.value.remedy


@pytest.mark.slow
def test_unknown_models_are_refused_before_a_process_starts(store: Store) -> None:
    with pytest.raises(NotFound, match="nope"):
        freehold.serve("nope", store=store)
    with pytest.raises(UsageError, match="no model was named"):
        freehold.serve(store=store)
