"""Bodies that are JSON: a program's whatever type it names, a browser's only as JSON."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from freehold.servers.web.bodies import MOST_JSON_BYTES
from tests.servers.web import serving

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("bodies")
    with serving.running(serving.hub(folder)[0]) as hub, serving.running(serving.server(folder)) as server:
        yield hub, server


@pytest.mark.parametrize("kind", [FORM, "", "text/plain;charset=UTF-8", "application/json"])
def test_a_programs_body_is_read_as_json_whatever_its_type(addresses: tuple[str, str], kind: str) -> None:
    hub, server = addresses
    headers = {"content-type": kind} if kind else {}
    name = f"ada/{len(kind)}"
    assert (
        httpx.post(f"{hub}/api/repos/create", content=f'{{"name": "{name}"}}', headers=headers).status_code
        == 200
    )
    body = '{"model": "tiny", "prompt": "a b", "max_tokens": 1}'
    assert (
        httpx.post(f"{server}/v1/completions", content=body, headers=headers, timeout=60).status_code == 200
    )
    assert (
        httpx.post(f"{server}/tokenize", content='{"content": "a"}', headers=headers, timeout=60).status_code
        == 200
    )


@pytest.mark.parametrize("kind", [FORM, "", "text/plain", "multipart/form-data; boundary=x"])
def test_a_browsers_json_must_say_that_it_is_json(addresses: tuple[str, str], kind: str) -> None:
    hub, server = addresses
    for address, path, body in (
        (hub, "/api/repos/create", '{"name": "ada/browser"}'),
        (hub, "/api/models/ada/browser/branch/b", "{}"),
        (server, "/v1/completions", '{"model": "tiny", "prompt": "a"}'),
        (server, "/api/generate", '{"model": "tiny", "prompt": "a"}'),
    ):
        own = {"origin": address} | ({"content-type": kind} if kind else {})
        answer = httpx.post(address + path, content=body, headers=own)
        assert answer.status_code == 415, path
        assert "application/json" in answer.text
    assert httpx.get(f"{hub}/api/models/ada/browser").status_code == 404


def test_forms_of_clients_are_still_forms(addresses: tuple[str, str]) -> None:
    hub, _ = addresses
    httpx.post(f"{hub}/api/repos/create", json={"name": "ada/forms"})
    asked = httpx.post(
        f"{hub}/api/models/ada/forms/paths-info/main", data={"paths": [".gitattributes", "none"]}
    )
    assert [one["path"] for one in asked.json()] == [".gitattributes"]


def test_a_json_body_of_any_size_is_not_kept(addresses: tuple[str, str]) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"name": "'
        for _ in range(MOST_JSON_BYTES >> 20):
            yield b"a" * (1 << 20)
        yield b'"}'

    hub, _ = addresses
    for path in ("/api/repos/create", "/api/validate-yaml"):
        assert httpx.post(hub + path, content=endless(), timeout=60).status_code == 413


def test_no_second_request_is_read_out_of_a_body_whose_end_is_in_doubt(addresses: tuple[str, str]) -> None:
    hidden = b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for address in addresses:
        parts = urlsplit(address)
        assert parts.port
        with socket.create_connection((parts.hostname or "", parts.port), timeout=30) as made:
            made.sendall(
                b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n%b" % (len(hidden), hidden)
            )
            answer = b"".join(iter(lambda made=made: made.recv(1 << 16), b""))  # to the connection's end
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 400 ")
