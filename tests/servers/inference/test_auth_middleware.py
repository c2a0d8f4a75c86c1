"""Which requests reach the server's routes: those with a valid key, and with a body that is not too large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from freehold.models.store import Store
from freehold.servers.inference.api_keys import Keys
from freehold.servers.inference.auth_middleware import AuthMiddleware, secrets_equal
from freehold.servers.inference.options import ServerOptions


def client(keys: Keys, **options: object) -> TestClient:
    """Routes behind the middleware: each says whose key came with the request, and how much was sent."""
    app = FastAPI()

    @app.post("/v1/chat/completions")
    @app.post("/v1/messages")
    @app.post("/api/chat")
    async def answer(request: Request) -> dict[str, object]:
        return {"key": request.state.key.name, "bytes": len(await request.body())}

    @app.get("/health")
    @app.get("/v1/models")
    @app.options("/v1/models")
    async def look(request: Request) -> str:
        return request.state.key.name

    return TestClient(AuthMiddleware(app, keys, ServerOptions(**options)))  # type: ignore[arg-type]


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    store = Store(tmp_path)
    yield Keys(store)
    store.engine.dispose()


@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
def test_a_key_is_taken_as_openai_and_as_anthropic_send_it(keys: Keys, header: str) -> None:
    secret = keys.create("reception")
    value = f"Bearer {secret}" if header == "Authorization" else secret
    done = client(keys).post("/v1/chat/completions", content=b"{}", headers={header: value})
    assert (done.status_code, done.json()) == (200, {"key": "reception", "bytes": 2})


@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer wrong", "Basic d3Jvbmc=", "Bearer \u00e9"])
def test_without_a_valid_key_a_request_is_refused_where_there_are_keys(keys: Keys, sent: str) -> None:
    keys.create("reception")
    headers = {"Authorization": sent.encode()}
    done = client(keys).post("/v1/chat/completions", content=b"{}", headers=headers)
    assert done.status_code == 401
    assert done.json()["error"]["code"] == "invalid_api_key"


def test_this_machine_needs_no_key_as_long_as_there_is_none(keys: Keys) -> None:
    assert client(keys).get("/v1/models").status_code == 200
    assert client(keys, loopback=False).get("/v1/models").status_code == 401
    assert client(keys, key="given").get("/v1/models").status_code == 401


def test_the_key_of_the_command_line_is_valid_beside_those_of_the_store(keys: Keys) -> None:
    secret = keys.create("reception")
    served = client(keys, key="given", loopback=False)
    names = [
        served.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).json()
        for key in ("given", secret)
    ]
    assert names == ["", "reception"]


def test_health_and_questions_of_browsers_need_no_key(keys: Keys) -> None:
    keys.create("reception")
    served = client(keys, loopback=False)
    assert served.get("/health").status_code == 200
    assert served.options("/v1/models").status_code == 200
    assert served.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/chat/completions", {"error": {"type": "authentication_error"}}),
        ("/v1/messages", {"type": "error", "error": {"type": "authentication_error"}}),
        ("/api/chat", {"error": "the API key is missing or wrong"}),
    ],
)
def test_the_refusal_has_the_form_of_the_api_that_was_called(keys: Keys, path: str, error: object) -> None:
    body = client(keys, loopback=False).post(path, content=b"{}").json()
    if isinstance(body["error"], dict):
        assert body["error"].pop("message") == "the API key is missing or wrong"
        body["error"] = {"type": body["error"]["type"]}
    assert body == error


@pytest.mark.parametrize("length", ["1048577", "-1", "1e3", "many"])
def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(keys: Keys, length: str) -> None:
    served = client(keys, max_body_bytes=1 << 20)
    done = served.post("/v1/chat/completions", content=b"{}", headers={"Content-Length": length})
    assert done.status_code == 413
    assert "more than 1 MiB" in done.json()["error"]["message"]


def test_a_body_without_a_length_is_cut_where_it_becomes_too_large(keys: Keys) -> None:
    served = client(keys, max_body_bytes=1 << 20)

    def blocks(count: int) -> Iterator[bytes]:
        yield from (b"x" * 65536 for _ in range(count))

    assert served.post("/v1/chat/completions", content=blocks(16)).json()["bytes"] == 1 << 20
    assert served.post("/v1/chat/completions", content=blocks(17)).status_code == 413


def test_secrets_of_any_characters_are_compared() -> None:
    assert secrets_equal("\u00e9", "\u00e9")
    assert not secrets_equal("\u00e9", "e")
    assert not secrets_equal("", "key")
    assert secrets_equal("\ud800", "\ud800")
