"""Run a row's unit tests against a model's code, which is foreign code: in a sandbox, in two processes.

The answer's code runs in one process and the tests in another, each in a sandbox of its own that bubblewrap
makes. Only data cross between them, so that nothing the answer does in its process can change what the tests
see or report. An answer counts as passed only where the tests' own report says so.

The sandbox: no network, a read-only system without anybody's files, an empty /tmp of bounded size, a process
name space that takes every process down with it, no capabilities, no further processes, and limits of time,
processor, memory and file size. Where it cannot be made, answers are not run, unless the user trusts them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from freehold.core.errors import MissingPart, Unsupported
from freehold.evaluation.syscalls import filter_program

#: Seconds that the tests of an answer may take by the clock; processor time is limited in ``boxed.limits``.
TIMEOUT_S = 10.0
_TMP_BYTES = 16 << 20
_LONGEST_REPORT = 1 << 16
_INSTALL = "install it (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"
_TRUST = "or pass --trust-code to run the answers without a sandbox, with your rights"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class Job:
    """An answer as a program, and what tests it."""

    #: the answer's code
    answer: str
    #: the row's prompt
    prompt: str
    #: the row's unit tests
    test: str
    #: name of the function that they call
    entry_point: str


@dataclass(frozen=True)
class Outcome:
    """What the tests reported."""

    #: whether all tests passed
    passed: bool
    #: why they did not pass, "" where they did
    reason: str = ""


def run(job: Job, *, trusted: bool = False) -> Outcome:
    """What the tests report on an answer. ``trusted``: without a sandbox, with the user's own rights.

    Raises MissingPart where the sandbox cannot be made and the answer is not trusted.
    """
    if not trusted:
        require()
    return _run(job, trusted)


def require() -> None:
    """Raises MissingPart where answers cannot be run in the sandbox here; it runs one to find out."""
    reason = _why_not()
    if reason:
        raise MissingPart(f"answers with code cannot be run safely here: {reason}", f"{_remedy()}, {_TRUST}")


def _remedy() -> str:
    if sys.platform != "linux":
        return "use a Linux machine"
    if shutil.which("bwrap") is None:
        return _INSTALL
    return "allow unprivileged user name spaces on this system, in a container with its seccomp profile"


#: An answer and tests that see the sandbox from inside: they fail where one of its walls is missing.
_PROBE = Job(
    answer="""
import os, socket, threading

def walls():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
    return {
        "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
        "privileges": 1 - int(status["NoNewPrivs"]),
        "filter": 2 - int(status["Seccomp"]),
        "processes": allowed(os.fork),
        "network": allowed(socket.socket),
        "files": sum(map(os.path.exists, ("/etc/passwd", "/home", "/root/.ssh", "/var", "/sys", "/dev/shm"))),
        "system": sum(
            allowed(lambda: open(f"{folder}/x", "w")) for folder in ("", "/usr", "/dev", "/usr/lib")
        ),
        "neighbours": sum(name.isdigit() for name in os.listdir("/proc")) > 4,
        "thread": 1 - thread(),
        "tmp": 1 - allowed(lambda: open("/tmp/x", "w").close()),
    }

def allowed(step):
    try:
        if step() == 0:
            os._exit(1)
    except OSError:
        return 0
    return 1

def thread():
    done = []
    worker = threading.Thread(target=lambda: done.append(1))
    worker.start()
    worker.join()
    return len(done)
""",
    prompt="",
    test="""
def check(walls):
    open_ones = sorted(name for name, is_open in walls().items() if is_open)
    assert not open_ones, f"the sandbox lets through: {', '.join(open_ones)}"
""",
    entry_point="walls",
)


@functools.lru_cache(maxsize=1)
def _why_not() -> str:
    """Why the sandbox does not hold here; "" where it does."""
    if sys.platform != "linux":
        return "there is no sandbox for this operating system"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    try:
        outcome = _run(_PROBE, trusted=False)
    except Unsupported as error:
        return error.message
    return "" if outcome.passed else f"bubblewrap does not work ({outcome.reason})"


def _run(job: Job, trusted: bool) -> Outcome:
    """Start both processes, wait for the report or the time limit, and end them."""
    with contextlib.ExitStack() as stack:
        job_file = stack.enter_context(tempfile.TemporaryFile())
        job_file.write(json.dumps(vars(job)).encode())
        job_file.seek(0)
        start = functools.partial(_started, stack, trusted)
        calls_out, calls_in = _pipe(stack)
        replies_out, replies_in = _pipe(stack)
        start("answer_process.main()", calls_out, replies_in, subprocess.DEVNULL)
        call = f"tests_process.main({replies_out.fileno()}, {calls_in.fileno()})"
        tests = start(call, job_file, subprocess.PIPE, subprocess.PIPE, (replies_out, calls_in))
        for end in (calls_out, calls_in, replies_out, replies_in):
            end.close()
        return _report(tests)


def _pipe(stack: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reads, writes = os.pipe()
    return stack.enter_context(os.fdopen(reads, "rb", 0)), stack.enter_context(os.fdopen(writes, "wb", 0))


def _started(
    stack: contextlib.ExitStack,
    trusted: bool,
    call: str,
    reads: IO[bytes],
    writes: IO[bytes] | int,
    complaints: int,
    more: Sequence[IO[bytes]] = (),
) -> subprocess.Popen[bytes]:
    """A Python that does a call of the ``boxed`` package; it and what it started ends with the stack."""
    folder = Path(__file__).parent if trusted else Path("/freehold")
    start = (
        f"import sys; sys.path.append({str(folder)!r}); from boxed import {call.partition('.')[0]}; {call}"
    )
    python = [_python(), "-I", "-S", "-B", "-c", start]
    passed = [end.fileno() for end in more]
    if trusted:
        command, where = python, stack.enter_context(tempfile.TemporaryDirectory(prefix="freehold-code-"))
    else:
        seccomp, written = _pipe(stack)
        written.write(filter_program())
        written.close()
        passed.append(seccomp.fileno())
        command, where = [*_walls(seccomp.fileno()), "--", *python], "/"
    process = subprocess.Popen(
        command,
        cwd=where,
        env={"PATH": os.defpath},
        stdin=reads,
        stdout=writes,
        stderr=complaints,
        pass_fds=passed,
        start_new_session=True,
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group. In the sandbox the process name space goes down with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _python() -> str:
    """The interpreter itself, not a link in a virtual environment."""
    return os.path.realpath(sys.executable)


def _walls(seccomp: int) -> list[str]:
    """The command in front that makes the sandbox."""
    words = [
        shutil.which("bwrap") or "bwrap",
        *["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--disable-userns"],
        *["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv", "--hostname", "sandbox"],
        *["--ro-bind", "/usr", "/usr"],
    ]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for folder in {os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix)}:
        if not Path(folder).is_relative_to("/usr"):
            words += ["--ro-bind", folder, folder]
    for path in ("/nix/store", "/etc/ld.so.cache"):
        words += ["--ro-bind-try", path, path]
    words += ["--ro-bind", str(Path(__file__).with_name("boxed")), "/freehold/boxed", "--proc", "/proc"]
    for device in _DEVICES:
        words += ["--dev-bind", device, device]
    words += ["--size", str(_TMP_BYTES), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*words, "--seccomp", str(seccomp)]


def _report(tests: subprocess.Popen[bytes]) -> Outcome:
    """The tests' report; no report is a failure. Never holds more than a bounded part of what is written."""
    assert tests.stdout is not None
    assert tests.stderr is not None
    texts = {tests.stdout: b"", tests.stderr: b""}
    open_streams = list(texts)
    deadline = time.monotonic() + TIMEOUT_S
    while b"\n" not in texts[tests.stdout]:
        left = deadline - time.monotonic()
        if left <= 0:
            return Outcome(False, f"ran longer than {TIMEOUT_S:g} s")
        for stream in select.select(open_streams, [], [], left)[0]:
            block = os.read(stream.fileno(), _LONGEST_REPORT)
            texts[stream] = (texts[stream] + block)[:_LONGEST_REPORT]
            if not block and stream is tests.stdout:
                return Outcome(False, _last_line(tests, texts[tests.stderr]))
            if not block:
                open_streams.remove(stream)
    report = json.loads(texts[tests.stdout].partition(b"\n")[0])
    return Outcome(report["passed"] is True, str(report["reason"]))


def _last_line(tests: subprocess.Popen[bytes], complaint: bytes) -> str:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "the tests ended without a report"
