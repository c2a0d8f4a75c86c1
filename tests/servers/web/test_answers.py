"""What answers carry: nothing of a stranger's runs in a browser, nothing private is kept or framed, and a
closed server tells nobody anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.hub.people import commit_body, small_line
from tests.servers.web import serving

UPLOADED = {
    "page.html": b"<script>alert(document.domain)</script>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "weights.bin": b"\x00<html><script>alert(1)</script>",
}


def commit(client: httpx.Client, files: dict[str, bytes], repo: str = "ada/first") -> httpx.Response:
    client.post("/api/repos/create", json={"name": repo})
    body = commit_body(*(small_line(path, data) for path, data in files.items()))
    return client.post(f"/api/models/{repo}/commit/main", content=body)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    app = serving.hub(tmp_path_factory.mktemp("answers"))[0]
    with serving.running(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert commit(client, UPLOADED).status_code == 200
        yield client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    app = serving.server(tmp_path_factory.mktemp("answers"))
    with serving.running(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.mark.parametrize("name", sorted(UPLOADED))
def test_an_uploaded_page_is_a_download_that_runs_nothing(hub: httpx.Client, name: str) -> None:
    answer = hub.get(f"/ada/first/resolve/main/{name}")
    assert answer.content == UPLOADED[name]
    assert answer.headers["content-type"].partition(";")[0] in ("text/plain", "application/octet-stream")
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_every_answer_forbids_framing_sniffing_and_keeping(hub: httpx.Client, server: httpx.Client) -> None:
    asked = [
        (hub, path)
        for path in ("/", "/ada/first", "/ada/first/tree/main", "/api/models", "/nothing/there", "/health")
    ]
    asked += [(server, path) for path in ("/", "/v1/models", "/nothing", "/metrics")]
    for client, path in asked:
        headers = client.get(path, headers={"accept": "text/html"}).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-dns-prefetch-control"] == "off"
        assert headers["cache-control"] == "private, no-store"
        assert "access-control-allow-origin" not in headers


def test_a_form_of_the_hubs_own_page_says_where_it_comes_from(hub: httpx.Client) -> None:
    """Under no-referrer browsers send ``Origin: null`` with forms, which is refused."""
    assert hub.get("/ada/first").headers["referrer-policy"] == "same-origin"


def test_a_closed_hub_answers_nobody(tmp_path: Path) -> None:
    app, token = serving.hub(tmp_path, closed=True)
    with serving.running(app) as address:
        for path in (
            "/openapi.json",
            "/",
            "/docs",
            "/redoc",
            "/metrics",
            "/nothing",
            "/api/models",
            "/api/nothing",
            "/ada/first/resolve/main/x",
        ):
            assert httpx.get(address + path).status_code == 401, path
        assert httpx.post(f"{address}/api/repos/create", content=b"not json").status_code == 401
        assert httpx.put(f"{address}/nothing").status_code == 401
        assert httpx.get(f"{address}/health").status_code == 200
        mine = {"authorization": f"Bearer {token}"}
        described = httpx.get(f"{address}/openapi.json", headers=mine)
        assert "/api/repos/create" in described.json()["paths"]
        assert httpx.get(f"{address}/nothing", headers=mine).status_code == 404
        # a library checks cards without its token
        assert (
            httpx.post(f"{address}/api/validate-yaml", json={"content": "---\na: 1\n---\n"}).status_code
            == 200
        )


def test_a_server_with_a_key_answers_nobody_without_it(tmp_path: Path) -> None:
    with serving.running(serving.server(tmp_path, key="secret")) as address:
        for path in (
            "/openapi.json",
            "/docs",
            "/redoc",
            "/metrics",
            "/nothing",
            "/v1/models",
            "/api/tags",
            "/v1/documents",
        ):
            assert httpx.get(address + path).status_code == 401, path
        assert httpx.get(f"{address}/health").status_code == 200
        assert (
            httpx.get(f"{address}/openapi.json", headers={"authorization": "Bearer secret"}).status_code
            == 200
        )
