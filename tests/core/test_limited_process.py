"""What strangers wrote is read in a process that has limits and no way to harm."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from freehold.core import limited_process
from freehold.core.errors import BadData, Busy

BOUNDS = limited_process.Bounds(cpu_s=1.0, wall_s=20.0, memory_bytes=128 << 20, output_bytes=1 << 20)


def called(how: str, bounds: limited_process.Bounds = BOUNDS, data: bytes = b"given") -> bytes:
    return limited_process.run(f"tests.core.test_limited_process:{how}", data, bounds)


# -- what runs in the process


def double(data: bytes) -> bytes:
    return data * 2


def spin(_: bytes) -> bytes:
    while True:
        pass


def sleep(_: bytes) -> bytes:
    threading.Event().wait()
    return b""


def swell(_: bytes) -> bytes:
    return bytes(1 << 30)


def say_much(_: bytes) -> bytes:
    return bytes(2 << 20)


def crash(_: bytes) -> bytes:
    os.kill(os.getpid(), 11)
    return b""


def fail(_: bytes) -> bytes:
    raise BadData("line 3 is empty", "fill it in")


def raise_wildly(_: bytes) -> bytes:
    raise KeyError("x")


def print_much(_: bytes) -> bytes:
    print("not the answer" * 1000)
    return b"the answer"


def environment(_: bytes) -> bytes:
    return json.dumps(sorted(os.environ)).encode()


def write(data: bytes) -> bytes:
    with open(data, "w") as file:
        file.write("something")
    return b"written"


def connect(port: bytes) -> bytes:
    try:
        socket.create_connection(("127.0.0.1", int(port)), 1).close()
    except OSError as error:
        return type(error).__name__.encode()
    return b"connected"


# -- what is expected of it


def test_it_gives_the_functions_answer() -> None:
    assert called("double") == b"givengiven"
    assert called("print_much") == b"the answer"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("spin", "more than 1 s of processor time"),
        ("swell", "more than 128 MiB of memory"),
        ("say_much", "more than 1 MiB of text"),
        ("crash", "SIGSEGV"),
        ("raise_wildly", "KeyError"),
    ],
)
def test_each_limit_is_told(how: str, reason: str) -> None:
    with pytest.raises(limited_process.Exceeded, match=reason):
        called(how)


def test_one_that_ends_before_it_has_read_is_told_too() -> None:
    with pytest.raises(limited_process.Exceeded, match="exit 1"):
        called("there_is_no_such_function", data=bytes(4 << 20))


def test_where_the_system_starts_no_process_the_caller_may_try_again() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # no further file can be opened, nor a pipe
    try:
        with pytest.raises(Busy, match="cannot start another process at the moment"):
            called("double")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert called("double") == b"givengiven"


def test_time_without_work_is_limited_too() -> None:
    with pytest.raises(limited_process.Exceeded, match=r"more than 0\.5 s"):
        called("sleep", limited_process.Bounds(cpu_s=1.0, wall_s=0.5))


def test_an_expected_failure_comes_through() -> None:
    with pytest.raises(BadData, match="line 3 is empty") as told:
        called("fail")
    assert told.value.remedy == "fill it in"


def test_it_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_SECRET", "x")
    assert "FREEHOLD_SECRET" not in json.loads(called("environment"))


def test_it_writes_no_files(tmp_path: Path) -> None:
    with pytest.raises(limited_process.Exceeded, match="crashed"):
        called("write", data=str(tmp_path / "out").encode())
    assert not (tmp_path / "out").exists() or (tmp_path / "out").read_text() == ""


def test_it_has_no_network_where_the_system_allows_that() -> None:
    if subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets no process have a network of its own")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert called("connect", data=str(listener.getsockname()[1]).encode()) != b"connected"


def test_a_worker_goes_on_after_it_was_stopped() -> None:
    worker = limited_process.Worker("tests.core.test_limited_process:double", BOUNDS)
    spinning = limited_process.Worker("tests.core.test_limited_process:spin", BOUNDS)
    assert worker.call(b"a") == b"aa"
    assert worker.call(b"b" * 300_000) == b"b" * 600_000
    with limited_process.until(lambda: True), pytest.raises(limited_process.Stopped):
        spinning.call(b"")
    assert spinning._process is None  # nothing is left behind
    worker.close()


def test_workers_that_are_all_busy_are_told() -> None:
    workers = limited_process.Workers(
        "tests.core.test_limited_process:sleep", limited_process.Bounds(cpu_s=1.0, wall_s=1.0), 0
    )
    with pytest.raises(Busy, match="busy"):
        workers.call(b"")
