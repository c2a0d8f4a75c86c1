"""Whose page asks: both servers, every route, over real sockets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from freehold.core.errors import UsageError
from freehold.servers.web.site import Site, site
from tests.conftest import FREEHOLD
from tests.servers.web import serving

FOREIGN = "https://elsewhere.example"
PAGE = "https://chat.example.org"


@pytest.fixture(scope="module", params=["hub", "server"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FastAPI, httpx.Client]]:
    folder, allowed = tmp_path_factory.mktemp(request.param), Site(origins=frozenset({PAGE}))
    app = serving.hub(folder, allowed)[0] if request.param == "hub" else serving.server(folder, allowed)
    with serving.running(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield app, client


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        serving.running(serving.hub(tmp_path_factory.mktemp("own"))[0]) as address,
        httpx.Client(base_url=address) as client,
    ):
        yield client


@pytest.mark.parametrize(
    "source",
    [
        {"origin": FOREIGN},
        {"origin": "null"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    ],
    ids=["foreign", "null", "same-site", "other-port", "no-origin"],
)
def test_no_route_answers_another_sites_page(
    served: tuple[FastAPI, httpx.Client], source: dict[str, str]
) -> None:
    app, client = served
    every = serving.routes(app)
    assert len(every) > 10
    for method, path in every:
        answer = client.request(method, path, headers=source)
        assert answer.status_code == 403, (method, path)
        assert method == "HEAD" or "another site" in answer.text
        assert "access-control-allow-origin" not in answer.headers


def test_a_programs_request_and_an_own_pages_are_let_in(served: tuple[FastAPI, httpx.Client]) -> None:
    app, client = served
    own = str(client.base_url).rstrip("/")
    sources = (
        {},
        {"origin": own},
        {"origin": own, "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    )
    for source in sources:
        assert client.get("/health", headers=source).status_code == 200
        for method, path in serving.routes(app):
            if method in ("POST", "PUT", "DELETE"):
                answer = client.request(method, path, headers=source)
                assert "another site" not in answer.text, (method, path)


def test_a_page_behind_a_proxy_that_changes_the_host_is_an_own_page(
    served: tuple[FastAPI, httpx.Client],
) -> None:
    _, client = served
    source = {"origin": "https://models.example.net", "sec-fetch-site": "same-origin"}
    assert client.get("/health", headers=source).status_code == 200


def test_a_link_on_another_site_can_be_followed_but_not_framed_or_posted(hub: httpx.Client) -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert hub.get("/", headers=followed).status_code == 200
    assert hub.get("/", headers=followed | {"sec-fetch-dest": "iframe"}).status_code == 403
    assert hub.post("/api/repos/create", json={"name": "ada/x"}, headers=followed).status_code == 403


def test_what_simple_requests_of_another_site_changed(hub: httpx.Client) -> None:
    """A form or a text is sent without asking first: none may create, commit, branch, tag, squash or
    delete."""
    assert hub.post("/api/repos/create", json={"name": "ada/kept"}).status_code == 200
    head = hub.get("/api/models/ada/kept").json()["sha"]
    plain = {"origin": FOREIGN, "content-type": "text/plain"}
    header = json.dumps({"key": "header", "value": {"summary": "s"}})
    for path, body in [
        ("/api/repos/create", '{"name": "ada/made"}'),
        ("/api/models/ada/kept/commit/main", header),
        ("/api/models/ada/kept/branch/b", "{}"),
        ("/api/models/ada/kept/tag/main", '{"tag": "t"}'),
        ("/api/models/ada/kept/super-squash/main", "{}"),
    ]:
        assert hub.post(path, content=body, headers=plain).status_code == 403
    assert (
        hub.request("DELETE", "/api/repos/delete", content='{"name": "ada/kept"}', headers=plain).status_code
        == 403
    )
    refs = hub.get("/api/models/ada/kept/refs").json()
    assert (len(refs["branches"]), refs["tags"]) == (1, [])
    assert hub.get("/api/models/ada/kept").json()["sha"] == head
    assert hub.get("/api/models/ada/made").status_code == 404


def test_a_remembered_password_is_of_no_use_to_another_sites_page(tmp_path: Path) -> None:
    app, token = serving.hub(tmp_path, closed=True)
    with serving.running(app) as address, httpx.Client(base_url=address, auth=("ada", token)) as browser:
        assert browser.get("/").status_code == 200
        form = {"origin": FOREIGN, "content-type": "application/x-www-form-urlencoded"}
        assert browser.post("/api/repos/create", content='{"name": "ada/x"}', headers=form).status_code == 403
        assert (
            browser.post("/api/repos/create", json={"name": "ada/x"}, headers={"origin": "null"}).status_code
            == 403
        )
        assert browser.get("/api/models").json() == []


def test_preflights_name_only_sites_that_are_allowed(tmp_path: Path) -> None:
    asked = {"access-control-request-method": "DELETE", "access-control-request-headers": "authorization"}
    with serving.running(serving.server(tmp_path, Site(origins=frozenset({PAGE})))) as address:
        allowed = httpx.options(f"{address}/v1/documents/1", headers=asked | {"origin": PAGE})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert "DELETE" in allowed.headers["access-control-allow-methods"]
        other = httpx.options(f"{address}/v1/documents/1", headers=asked | {"origin": FOREIGN})
        assert other.status_code == 403
        assert not [name for name in other.headers if name.startswith("access-control")]
        answer = httpx.get(f"{address}/v1/models", headers={"origin": PAGE, "sec-fetch-site": "cross-site"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["*", "null", "chat.example.org", "https://", "https://a.example/path"])
def test_only_whole_sites_are_allowed_by_name(origin: str) -> None:
    with pytest.raises(UsageError, match="--cors"):
        site("127.0.0.1", origins=[origin])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_rebound_name_is_refused_wherever_the_server_listens(
    served: tuple[FastAPI, httpx.Client], host: str
) -> None:
    app, _ = served
    with serving.running(app, host=host) as address:
        port = address.rpartition(":")[2]
        asked = f"http://127.0.0.1:{port}/health"
        for name in (
            "evil.example",
            f"evil.example:{port}",
            "testserver",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
        ):
            assert httpx.get(asked, headers={"host": name}).status_code in (400, 403), name
        for name in (
            "localhost",
            f"LOCALHOST:{port}",
            "127.0.0.1",
            "[::1]:80",
            "192.168.1.7",
            "10.0.0.1:8600",
        ):
            assert httpx.get(asked, headers={"host": name}).status_code == 200, name


def test_names_are_added_by_the_operator() -> None:
    named = site("0.0.0.0", ["Models.Example.org"])
    assert named.answers_to("models.example.org:8601")
    assert not named.answers_to("other.example.org")
    assert site("nas.lan").answers_to("nas.lan:8600")
    assert site("127.0.0.1", ["*"]).answers_to("anything.example")
    with pytest.raises(UsageError, match="--allow-host"):
        site("0.0.0.0", ["http://models.example.org"])


def test_a_websocket_is_not_opened(served: tuple[FastAPI, httpx.Client]) -> None:
    _, client = served
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-version": "13",
    }
    assert client.get("/health", headers=upgrade).status_code == 200
    assert client.get("/health", headers=upgrade | {"origin": FOREIGN}).status_code == 403


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("hub", "serve", "--allow-host", "http://hub.example.org"),
            "--allow-host 'http://hub.example.org' is not a host name",
        ),
        (("serve", "none", "--cors", "*"), "--cors '*' is not the address of a site"),
    ],
)
def test_a_name_that_cannot_be_right_is_refused_before_anything_starts(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    environment = os.environ | {"FREEHOLD_HOME": str(tmp_path)}
    done = subprocess.run(
        [*FREEHOLD, *words], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
