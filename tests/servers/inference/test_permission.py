"""Who may use which route for which model: every route, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from freehold.costs.usage import UsageLog
from freehold.servers.inference.api_keys import Keys, Limits
from tests.servers.inference.tiny_shop import EMBEDDING, Shop, bearer, opened, stocked

HI = [{"role": "user", "content": "Hello world"}]
#: Routes that name a model to compute with: what is sent for it.
COMPUTE: dict[str, dict[str, Any]] = {
    "POST /v1/chat/completions": {"messages": HI, "max_tokens": 2},
    "POST /v1/completions": {"prompt": "Hello", "max_tokens": 2},
    "POST /v1/responses": {"input": "Hello", "max_output_tokens": 2},
    "POST /v1/messages": {"messages": HI, "max_tokens": 2},
    "POST /v1/messages/count_tokens": {"messages": HI},
    "POST /tokenize": {"content": "Hello world"},
    "POST /detokenize": {"tokens": [40, 41]},
    "POST /api/chat": {"messages": HI, "stream": False, "options": {"num_predict": 2}},
    "POST /api/generate": {"prompt": "Hello", "stream": False, "options": {"num_predict": 2}},
}
VECTORS: dict[str, dict[str, Any]] = {
    "POST /v1/embeddings": {"input": "Hello"},
    "POST /api/embed": {"input": []},
    "POST /api/embeddings": {"prompt": "Hello"},
    "POST /v1/documents/search": {"query": "Hello"},
}
#: Documents lie with the model of their vectors, named in the address.
DOCUMENTS = ("POST /v1/documents", "GET /v1/documents", "DELETE /v1/documents/{number}")
#: What is known of a model.
ABOUT = ("GET /v1/models/{name:path}", "POST /api/show")
#: Lists of those of the key's models alone.
LISTS = ("GET /v1/models", "GET /api/tags", "GET /api/ps")
#: No model is named, and nothing is computed. /metrics holds what is of the key's own models.
FREE = (
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /api/version",
    "GET /",
    "GET /-/chat.js",
    "GET /-/chat.css",
    "GET /v1/responses/{number}",
    "DELETE /v1/responses/{number}",
    "GET /openapi.json",
    "HEAD /openapi.json",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(stocked(tmp_path_factory.mktemp("shop"))) as running:
        Keys(running.service.pool.store).create("all")  # from now on a key is asked for
        yield running


def key(shop: Shop, name: str, models: tuple[str, ...] = (), **limits: int) -> str:
    return Keys(shop.service.pool.store).create(name, models=models, limits=Limits(**limits))


def routes(app: Any) -> Iterator[str]:
    for route in app.routes:
        if hasattr(route, "original_router"):
            yield from routes(route.original_router)
        for method in getattr(route, "methods", None) or ():
            yield f"{method} {route.path}"


def test_every_route_is_in_these_tables(shop: Shop) -> None:
    known = {*COMPUTE, *VECTORS, *DOCUMENTS, *ABOUT, *LISTS, *FREE}
    assert {route for route in routes(shop.app) if route not in known} == set()


@pytest.mark.parametrize("route", [*COMPUTE, *VECTORS])
def test_a_model_of_others_is_refused_and_not_loaded(shop: Shop, route: str) -> None:
    model = "beta" if route in COMPUTE else EMBEDDING
    mine = key(shop, f"mine {route}", ("alpha",))
    path, body = route.split()[1], {**COMPUTE, **VECTORS}[route]
    before = shop.service.pool.loaded
    answer = shop.post(path, {"model": model, **body}, mine)
    assert answer.status_code == 403, answer.text
    assert shop.service.pool.loaded == before


@pytest.mark.parametrize("route", DOCUMENTS)
def test_documents_of_a_model_of_others_are_refused(shop: Shop, route: str) -> None:
    mine = key(shop, f"mine {route}", ("alpha",))
    method, path = route.split()
    address = f"{shop.address}{path.replace('{number}', 'doc_1')}?model={EMBEDDING}&name=a.txt"
    answer = httpx.request(
        method, address, content=b"words" if method == "POST" else None, headers=bearer(mine)
    )
    assert answer.status_code == 403, answer.text


def test_what_is_known_of_a_model_of_others_is_not_told(shop: Shop) -> None:
    mine = key(shop, "curious", ("alpha",))
    assert shop.post("/api/show", {"model": "beta"}, mine).status_code == 403
    assert shop.post("/api/show", {"model": "alpha"}, mine).status_code == 200
    assert shop.get("/v1/models/beta", mine).status_code in (403, 404)
    for path in ("/v1/models", "/api/tags", "/api/ps"):
        assert "beta" not in shop.get(path, mine).text
    assert "beta" not in shop.post("/tokenize", {"model": "gamma", "content": "x"}, mine).text


def test_the_base_of_an_adapter_is_not_named_to_a_key_for_the_adapter_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shop.service.pool.bases, "alpha", "beta")  # as if alpha were an adapter of beta's
    for models, base in ((("alpha",), ""), (("alpha", "beta"), "beta")):
        one = key(shop, f"for {models}", models)
        shown = shop.post("/api/show", {"model": "alpha"}, one).json()
        listed = {model["name"]: model for model in shop.get("/api/tags", one).json()["models"]}
        assert shown["details"]["parent_model"] == listed["alpha"]["details"]["parent_model"] == base


def test_a_key_for_some_models_does_not_read_the_figures_of_all(shop: Shop) -> None:
    everything = key(shop, "operator")
    assert shop.post("/tokenize", {"model": "beta", "content": "Hello"}, everything).status_code == 200
    assert "beta" in shop.get("/metrics", everything).text
    assert "beta" not in shop.get("/metrics", key(shop, "tenant", ("alpha",))).text
    assert "beta" not in shop.get("/ready").text


def test_without_a_name_the_first_model_that_the_key_may_ask_is_meant(shop: Shop) -> None:
    assert (
        shop.post("/tokenize", {"content": "Hello"}, key(shop, "second", ("beta",))).json()["model"] == "beta"
    )
    refused = shop.post("/tokenize", {"content": "Hello"}, key(shop, "vectors alone", (EMBEDDING,)))
    assert refused.status_code == 403


@pytest.mark.parametrize("route", [*COMPUTE, "POST /v1/embeddings"])
def test_every_route_is_under_the_keys_limits(shop: Shop, route: str) -> None:
    few = key(shop, f"few {route}", requests_per_minute=1)
    path, body = route.split()[1], {**COMPUTE, **VECTORS}[route]
    body = {"model": "alpha" if route in COMPUTE else EMBEDDING, **body}
    assert shop.post(path, body, few).status_code == 200
    refused = shop.post(path, body, few)
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)


@pytest.mark.parametrize("path", ["/tokenize", "/v1/messages/count_tokens"])
def test_counted_tokens_are_accounted_for(shop: Shop, path: str) -> None:
    words = key(shop, f"words {path}", tokens_per_minute=5)
    body = {"model": "alpha", "messages": [{"role": "user", "content": "Hello world " * 4}]}
    count = shop.post(path, body, words).json()
    count = count.get("count") or count["input_tokens"]
    assert count > 5
    assert shop.post(path, body, words).status_code == 429
    sums = _sums(shop, f"words {path}")
    assert (sums.requests, sums.prompt_tokens, sums.answer_tokens) == (1, count, 0)


def _sums(shop: Shop, name: str) -> Any:
    for _ in range(600):  # usage is written every quarter of a second
        for one in UsageLog(shop.service.pool.store).sums():
            if one.key == name:
                return one
        time.sleep(0.05)
    raise AssertionError(f"{name} has no accounts")


def test_documents_belong_to_the_key_that_brought_them(shop: Shop) -> None:
    one, two = key(shop, "one"), key(shop, "two")
    address = f"{shop.address}/v1/documents"
    made = httpx.post(
        f"{address}?name=a.txt", content=b"Leave is thirty days.", headers=bearer(one), timeout=60
    )
    number = made.json()["id"]
    assert shop.get("/v1/documents", two).json()["data"] == []
    assert (
        shop.post("/v1/documents/search", {"query": "leave", "documents": [number]}, two).json()["data"] == []
    )
    assert httpx.delete(f"{address}/{number}", headers=bearer(two)).status_code == 404
    assert [each["id"] for each in shop.get("/v1/documents", one).json()["data"]] == [number]
    assert httpx.delete(f"{address}/{number}", headers=bearer(one)).status_code == 200


def test_bringing_a_document_is_one_request(shop: Shop) -> None:
    alone = key(shop, "alone", requests_per_minute=1, concurrent=1)
    text = "\n\n".join(f"Paragraph {number}. " + "words " * 80 for number in range(80))
    path = f"{shop.address}/v1/documents?name=long.txt"
    assert httpx.post(path, content=text.encode(), headers=bearer(alone), timeout=120).status_code == 200
    assert httpx.post(path, content=text.encode(), headers=bearer(alone), timeout=120).status_code == 429
