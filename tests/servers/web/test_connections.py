"""Slow clients: what each may hold, and for how long. Limits are short here; waits only guard against a
hang."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from freehold.servers.web.connections import Limits
from tests.servers.web import serving

pytestmark = pytest.mark.slow

HANG_S = 30.0
QUICK = Limits(head_s=1.0, stalled_s=2.0, least_bytes=1000, idle_s=1.0)


class Application:
    """Counts a body, or writes more than anyone's buffers hold. ``left``: answers whose client went away."""

    def __init__(self) -> None:
        self.left = 0
        self.under_way = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await {"/large": self.large, "/body": self.body}.get(scope["path"], self.small)(receive, send)

    async def small(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def body(self, receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            size += len(message["body"])
            if not message["more_body"]:
                break
        data = str(size).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", str(len(data)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": data})

    async def large(self, receive: Any, send: Any) -> None:
        async def write() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(1024):
                await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})

        self.under_way += 1
        writing = asyncio.create_task(write())
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left += 1
        finally:
            writing.cancel()
            self.under_way -= 1


@pytest.fixture
def app() -> Application:
    return Application()


@pytest.fixture
def address(app: Application) -> Iterator[str]:
    with serving.running(app, QUICK) as running:
        yield running


def connected(address: str, data: bytes = b"", *, buffer: int = 0) -> socket.socket:
    parts = urlsplit(address)
    made = socket.socket()
    if buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.settimeout(HANG_S)
    made.connect((parts.hostname, parts.port))
    made.sendall(data)
    return made


def rest(made: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while block := made.recv(1 << 16):
            data += block
    return data


def holds(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true before one would call it a hang."""
    deadline = time.monotonic() + HANG_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def until(made: socket.socket, end: bytes) -> bytes:
    """What comes, up to ``end``."""
    data = b""
    while not data.endswith(end):
        block = made.recv(1000)
        assert block, data
        data += block
    return data


@pytest.mark.parametrize(
    "sent", [b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"]
)
def test_half_a_head_is_answered_408_and_closed(address: str, sent: bytes) -> None:
    assert rest(connected(address, sent)).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_comes_byte_by_byte_has_no_longer(address: str) -> None:
    made = connected(address, b"GET / HTTP/1.1\r\n")
    with contextlib.suppress(OSError):  # closed by the server
        for _ in range(int(HANG_S * 10)):
            made.sendall(b"X: y\r\n")
            time.sleep(0.1)
        pytest.fail("the head was waited for without end")


def test_a_connection_that_says_nothing_is_closed_without_a_word(address: str) -> None:
    assert rest(connected(address)) == b""


def test_after_an_answer_the_next_head_has_its_time_too(address: str) -> None:
    made = connected(address, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert until(made, b"\r\n\r\nok").startswith(b"HTTP/1.1 200 ")
    made.sendall(b"GET / HT")
    assert rest(made).startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed(address: str) -> None:
    made = connected(address, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert until(made, b"\r\n\r\nok").startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1" not in rest(made)


def test_a_body_without_progress_is_ended_and_its_route_told(address: str, app: Application) -> None:
    made = connected(address, b"POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n")
    stopped = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not stopped.wait(0.3):
                made.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert rest(made).startswith(b"HTTP/1.1 408 ")
    finally:
        stopped.set()
        thread.join()
    assert holds(lambda: app.left == 1)


def test_a_slow_but_steady_body_comes_through(address: str) -> None:
    """It takes several times as long as a body may stand still."""
    size, block = 8000, 200
    made = connected(address, b"POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // block):
        made.sendall(b"x" * block)
        time.sleep(0.2)
    until(made, b"\r\n\r\n8000")


def test_a_body_that_the_server_has_not_asked_for_is_waited_for(address: str) -> None:
    made = connected(
        address,
        b"POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    )
    assert made.recv(1000).startswith(b"HTTP/1.1 100 ")
    made.sendall(b"abcd")
    until(made, b"\r\n\r\n4")


def test_an_answer_nobody_reads_is_given_up(address: str, app: Application) -> None:
    made = [
        connected(address, b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", buffer=4096) for _ in range(5)
    ]
    assert holds(lambda: (app.left, app.under_way) == (5, 0))
    for one in made:
        one.close()


def test_an_answer_that_is_read_slowly_is_sent_to_its_end(address: str) -> None:
    made = connected(address, b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", buffer=1 << 20)
    began, size = time.monotonic(), 0
    while time.monotonic() - began < 3 * QUICK.stalled_s:
        block = made.recv(1 << 20)
        assert block
        size += len(block)
        time.sleep(0.2)
    made.close()


def test_many_half_heads_make_room_for_a_whole_one() -> None:
    with serving.running(Application(), Limits(most=40)) as address:
        crowd = [connected(address, b"GET / HTTP/1.1\r\n") for _ in range(200)]
        for _ in range(5):
            assert httpx.get(address, timeout=HANG_S).text == "ok"
        for one in crowd:
            one.close()


def test_those_with_a_request_under_way_are_not_ended_for_others() -> None:
    with serving.running(Application(), Limits(most=40)) as address:
        body = connected(address, b"POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nab")
        crowd = [connected(address, b"GET / HTTP/1.1\r\n") for _ in range(100)]
        assert httpx.get(address, timeout=HANG_S).text == "ok"
        body.sendall(b"cd")
        until(body, b"\r\n\r\n4")
        for one in crowd:
            one.close()


def own_address() -> str:
    """An address of this machine that is not loopback; without one the test cannot be made."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        try:
            made.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address beside loopback")
        return made.getsockname()[0]


def test_one_address_has_a_limit_of_its_own_and_others_are_let_in() -> None:
    outside = own_address()
    with serving.running(Application(), Limits(most_each=5), host="0.0.0.0") as address:
        port = urlsplit(address).port
        there = f"http://{outside}:{port}"
        under_way = [
            connected(there, b"POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nab")
            for _ in range(5)
        ]
        assert httpx.get(f"http://127.0.0.1:{port}", timeout=HANG_S).text == "ok"  # they are under way by now
        assert rest(connected(there)).startswith(b"HTTP/1.1 503 ")
        under_way.pop().close()
        assert holds(lambda: _asked(there) == "ok")
        for one in under_way:
            one.close()


def _asked(address: str) -> str:
    try:
        answer = httpx.get(address, timeout=HANG_S)
    except httpx.TransportError:
        return ""
    return answer.text if answer.status_code == 200 else ""


def test_a_handshake_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "1",
            "-subj",
            "/CN=x",
        ],
        check=True,
        capture_output=True,
    )
    options = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    app = Application()
    with serving.running(app, QUICK, **options) as address:
        assert rest(connected(address)) == b""
        assert rest(connected(address, b"\x16\x03\x01")) == b""
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        assert httpx.get(address.replace("http:", "https:"), verify=unverified).text == "ok"
        deaf = unverified.wrap_socket(connected(address, buffer=4096), server_hostname="x")
        deaf.sendall(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert holds(lambda: app.left == 1)
        with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), HANG_S) as plain:
            inside = unverified.wrap_socket(plain, server_hostname="x")
            inside.sendall(b"GET / HTTP/1.1\r\n")
            assert inside.recv(1000).startswith(b"HTTP/1.1 408 ")
