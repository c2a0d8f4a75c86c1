"""Run a function of ours on what strangers wrote in a process of its own, which has limits and is killed
beyond them.

A chat template, a PDF: what reads them can be made to take for ever, or all memory, by whoever writes them. A
thread cannot be stopped, a process can. The function takes bytes and gives bytes (JSON, say), so nothing of
the process's answer is ever unpickled. The process has an empty environment, cannot write files, and has no
network where the system lets it give that up (Linux with user namespaces).
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from freehold.core.errors import Busy, DoesNotFit, FreeholdError, Unsupported, from_json, to_json

log = logging.getLogger(__name__)
#: Seconds between two looks at whether the work is still wanted.
_LOOK_S = 0.1
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_DONE, _FAILED, _FAULT, _NO_MEMORY, _TOO_LARGE = b"done", b"fail", b"faul", b"memo", b"size"


@dataclass(frozen=True)
class Bounds:
    """What one call may take: seconds of processor time, seconds in all, bytes of memory beyond what the
    loaded function has, and bytes of its answer.
    """

    cpu_s: float
    wall_s: float
    memory_bytes: int = 512 << 20
    output_bytes: int = 32 << 20


class Exceeded(DoesNotFit):
    """A call went beyond its bounds. ``reason``: what it did, as the end of a sentence that begins with
    "it".
    """

    def __init__(self, reason: str):
        super().__init__(f"it {reason}", "make it smaller")
        self.reason = reason


class Stopped(Exception):
    """The work is no longer wanted: its client has left, or its deadline is over."""


_stopped: contextvars.ContextVar[Callable[[], bool]] = contextvars.ContextVar(
    "stopped", default=lambda: False
)


@contextlib.contextmanager
def until(stopped: Callable[[], bool]) -> Iterator[None]:
    """Within the block, work of this thread ends with :class:`Stopped` soon after ``stopped`` says so."""
    before = _stopped.set(stopped)
    try:
        yield
    finally:
        _stopped.reset(before)


def check() -> None:
    """Raises Stopped where the work of this thread is no longer wanted."""
    if _stopped.get()():
        raise Stopped


def run(function: str, data: bytes, bounds: Bounds) -> bytes:
    """What ``function`` ("package.module:name", bytes to bytes) gives for ``data``, in a fresh process.

    Raises Exceeded, Stopped, and whatever FreeholdError the function raises.
    """
    worker = Worker(function, bounds)
    try:
        return worker.call(data)
    finally:
        worker.close()


class Worker:
    """A process that is kept for further calls of ``function``; one that goes beyond its bounds is killed,
    and the next call starts another. For one thread at a time.
    """

    def __init__(self, function: str, bounds: Bounds):
        self.function, self.bounds = function, bounds
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, data: bytes) -> bytes:
        """See :func:`run`. Raises Busy too, where the system starts no process."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = self._start()
        answer = b""
        try:
            answer = self._exchange(self._process, len(data).to_bytes(8, "big") + data)
        finally:
            if not answer:  # the process is in the middle of something, or dead
                self.close()
        return _result(answer[:4], answer[12:], self.bounds)

    def _start(self) -> subprocess.Popen[bytes]:
        if sys.platform == "win32":
            raise Unsupported(
                "this needs a process with limits, which Freehold has on Linux and macOS only",
                "run Freehold in WSL 2 (docs/install.md)",
            )
        start = (
            "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from freehold.core import "
            "limited_process; limited_process.main()"
        )
        call = json.dumps({"function": self.function, "bounds": asdict(self.bounds)})
        command = [sys.executable, "-I", "-c", start, json.dumps([path for path in sys.path if path]), call]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise no_process(error) from error
        log.debug("process %d runs %s", process.pid, self.function)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> bytes:
        """Hand over a frame and wait for the answer's. Raises Exceeded, Stopped."""
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin.fileno(), process.stdout.fileno()
        poll = select.poll()
        poll.register(back, select.POLLIN)
        poll.register(to, select.POLLOUT)
        left, answer, size = memoryview(data), bytearray(), 12
        end = time.monotonic() + self.bounds.wall_s
        while len(answer) < size:
            check()
            if time.monotonic() > end:
                raise Exceeded(f"took more than {self.bounds.wall_s:g} s")
            for file, event in poll.poll(1000 * _LOOK_S):
                if file == to and left and event & select.POLLOUT:
                    # one that has ended reads no more; how it ended is known once its answer's end is
                    with contextlib.suppress(BrokenPipeError):
                        left = left[os.write(to, left[: 1 << 16]) :]
                if file == to and (not left or event & (select.POLLERR | select.POLLHUP)):
                    poll.unregister(to)
                if file == back:
                    part = os.read(back, 1 << 20)
                    if not part:
                        raise Exceeded(self._end(process))
                    answer += part
            if len(answer) >= 12:
                size = 12 + min(int.from_bytes(answer[4:12], "big"), self.bounds.output_bytes + (1 << 16))
        return bytes(answer)

    def _end(self, process: subprocess.Popen[bytes]) -> str:
        """How a process ended that gave no answer."""
        code = process.wait(5)
        if code == -signal.SIGPROF:
            return f"took more than {self.bounds.cpu_s:g} s of processor time"
        return (
            f"crashed the process that read it ({signal.Signals(-code).name if code < 0 else f'exit {code}'})"
        )

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()


def environment() -> dict[str, str]:
    """What an interpreter may need to start, and no secrets."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


def no_process(error: OSError) -> Busy:
    """What is said where the system starts no process: too many of them, or too many files are open."""
    return Busy(
        f"the system cannot start another process at the moment ({error.strerror})", "try again later"
    )


class Workers:
    """Up to ``count`` workers for calls from any number of threads; started when first needed, the last used
    first.
    """

    def __init__(self, function: str, bounds: Bounds, count: int):
        self.bounds = bounds
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(Worker(function, bounds))

    def call(self, data: bytes) -> bytes:
        """See :func:`run`. Raises Busy too, where all workers stay busy."""
        end = time.monotonic() + self.bounds.wall_s
        while True:
            check()
            try:
                worker = self._idle.get(timeout=_LOOK_S)
                break
            except queue.Empty:
                if time.monotonic() > end:
                    raise Busy("every process for this work is busy", "try again later") from None
        try:
            return worker.call(data)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End the processes that are idle."""
        idle = [self._idle.get() for _ in range(self._idle.qsize())]
        for worker in idle:
            worker.close()
            self._idle.put(worker)


def _result(status: bytes, data: bytes, bounds: Bounds) -> bytes:
    """The answer behind a frame. Raises what the function raised."""
    if status == _DONE and len(data) <= bounds.output_bytes:
        return data
    if status == _FAILED:
        raise from_json(json.loads(data))
    if status == _NO_MEMORY:
        raise Exceeded(f"took more than {bounds.memory_bytes >> 20} MiB of memory")
    if status in (_TOO_LARGE, _DONE):
        raise Exceeded(f"made more than {bounds.output_bytes >> 20} MiB of text")
    raise Exceeded(f"crashed the process that read it ({data.decode('utf-8', 'replace')[:200]})")


# -- in the process ---------------------------------------------------------------------------------


def main() -> None:
    """Answer calls on standard input until it closes."""
    call = json.loads(sys.argv[2])
    bounds = Bounds(**call["bounds"])
    out = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answer
    _leave_the_network()
    module, _, name = call["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    _confine(bounds)
    while head := sys.stdin.buffer.read(8):
        data = sys.stdin.buffer.read(int.from_bytes(head, "big"))
        # the signal's default action ends the process, whatever code it is in
        signal.setitimer(signal.ITIMER_PROF, bounds.cpu_s)
        status, answer = _outcome(function, data, bounds)
        signal.setitimer(signal.ITIMER_PROF, 0)
        del data
        frame = memoryview(status + len(answer).to_bytes(8, "big") + answer)
        while frame:
            frame = frame[os.write(out, frame) :]


def _outcome(function: Callable[[bytes], bytes], data: bytes, bounds: Bounds) -> tuple[bytes, bytes]:
    try:
        answer = function(data)
    except FreeholdError as error:
        said = {part: text[:2000] for part, text in to_json(error).items()}
        return _FAILED, json.dumps(said).encode()
    except MemoryError:
        return _NO_MEMORY, b""
    except Exception as error:  # the parent says it in one sentence
        return _FAULT, f"{type(error).__name__}: {error}"[:400].encode("utf-8", "replace")
    return (_DONE, answer) if len(answer) <= bounds.output_bytes else (_TOO_LARGE, b"")


def _leave_the_network() -> None:
    """A network of its own, without any way out, where the system lets a process have one."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "unshare"):
        library.unshare(_NEW_USER | _NEW_NETWORK)


def address_space_bytes() -> int:
    """What this process has mapped. Linux only, the one system that holds a process to such a limit."""
    import resource

    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _confine(bounds: Bounds) -> None:
    """Memory, files, processes."""
    import resource

    limits = [(resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 0)]
    if sys.platform == "linux":  # macOS takes the limit of memory and does not keep to it
        limits.append((resource.RLIMIT_AS, address_space_bytes() + bounds.memory_bytes))
    for kind, most in limits:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
