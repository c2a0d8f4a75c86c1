"""Clients' grammars, compiled in processes of their own that can be killed.

A grammar of a few hundred bytes can take minutes or many gigabytes to compile, and llguidance ends its process where memory runs out. So each
is first compiled in a worker, with a limit of processor time and of memory; what passed there costs the server no more. Workers are kept
for the next grammar; one that is over its limits, or whose client leaves, is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import struct
import sys
import time
from collections import OrderedDict
from dataclasses import asdict

from freehold import limited
from freehold.engines.grammar import MOST_BYTES, Source
from freehold.errors import UsageError

#: Processor seconds that a grammar may take, seconds on the clock, and bytes of memory beyond those of an idle worker.
CPU_S, CLOCK_S, MEMORY_BYTES = 5, 30.0, 512 << 20
#: Grammars that are compiled at once; one client has one of them at a time.
WORKERS = 2
#: Characters of compiled grammars that are kept.
KEPT = 8 << 20
_HEAD = struct.Struct("<I")


class Compiler:
    """Compiles grammars for one event loop. What one owner's grammars cost, and which are known, another does not notice."""

    def __init__(self) -> None:
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[int] = set()
        self._turns = asyncio.Semaphore(WORKERS)
        self._owners: dict[str, asyncio.Lock] = {}
        self._known: OrderedDict[tuple[str, Source], str] = OrderedDict()

    async def compiled(self, source: Source, owner: str = "") -> str:
        """llguidance's form of a grammar. Raises UsageError; cancelled, it ends the work."""
        if len(source.text) > MOST_BYTES:
            raise UsageError(
                f"the schema or grammar has {len(source.text):,} characters, and at most {MOST_BYTES:,} are allowed",
                "make it shorter",
            )
        known = self._known.get((owner, source))
        if known is None:
            lock = self._owners.setdefault(owner, asyncio.Lock())
            try:
                async with lock, self._turns:
                    known = await self._asked(source)
            finally:
                if not lock.locked() and self._owners.get(owner) is lock:
                    del self._owners[owner]
        self._keep(owner, source, known)
        return known

    def _keep(self, owner: str, source: Source, grammar: str) -> None:
        self._known[owner, source] = grammar
        self._known.move_to_end((owner, source))
        while sum(map(len, self._known.values())) > KEPT:
            self._known.popitem(last=False)

    async def _asked(self, source: Source) -> str:
        """What a worker says of it. Raises UsageError, Busy."""
        worker = self._waiting_worker() or await self._start()
        try:
            async with asyncio.timeout(CLOCK_S):
                answer = await _exchange(worker, source)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            raise UsageError(
                f"the answer's form takes more than {CPU_S} s or {MEMORY_BYTES >> 20} MiB to compile",
                "simplify the schema or grammar",
            ) from None
        else:
            self._idle.append(worker)
            worker = None
        finally:
            if worker is not None:
                self._kill(worker)
        if "fault" in answer:
            raise UsageError(answer["fault"], answer["remedy"])
        return answer["grammar"]

    def _waiting_worker(self) -> asyncio.subprocess.Process | None:
        """A worker that is kept; those that ended meanwhile, whoever ended them, are forgotten."""
        while self._idle:
            worker = self._idle.pop()
            assert worker.stdout is not None
            if worker.returncode is None and not worker.stdout.at_eof():
                return worker
            self._kill(worker)
        return None

    async def _start(self) -> asyncio.subprocess.Process:
        start = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from freehold.engines import compiler; compiler.work()"
        try:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",  # nothing is imported from the folder that the server was started in
                "-c",
                start,
                json.dumps([path for path in sys.path if path]),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=1 << 20,
                env=limited.environment(),
                start_new_session=True,  # Ctrl-C is for the server, which ends its workers itself
            )
        except OSError as error:
            raise limited.no_process(error) from error
        self._all.add(worker.pid)
        return worker

    def _kill(self, worker: asyncio.subprocess.Process) -> None:
        self._all.discard(worker.pid)
        with contextlib.suppress(ProcessLookupError):
            worker.kill()

    def close(self) -> None:
        """End all workers; from any thread."""
        for pid in self._all:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._all.clear()
        self._idle.clear()


async def _exchange(worker: asyncio.subprocess.Process, source: Source) -> dict[str, str]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    data = json.dumps(asdict(source)).encode()
    worker.stdin.write(_HEAD.pack(len(data)) + data)
    await worker.stdin.drain()
    (size,) = _HEAD.unpack(await worker.stdout.readexactly(_HEAD.size))
    return json.loads(await worker.stdout.readexactly(size))


def _answer(source: Source) -> dict[str, str]:
    try:
        return {"grammar": source.compiled()}
    except UsageError as error:
        return {"fault": error.message, "remedy": error.remedy}
    except (RecursionError, ValueError, MemoryError) as error:
        return {
            "fault": f"the answer's form is not understood ({type(error).__name__})",
            "remedy": "correct it",
        }


def work() -> None:
    """Compile what comes on standard input until it closes; each within :data:`CPU_S`, the whole within the memory."""
    from llguidance import LLMatcher

    LLMatcher.validate_grammar(
        Source.any_json().compiled()
    )  # what every worker needs is in memory before the limit
    with open("/proc/self/statm") as sizes:
        used = int(sizes.read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    inward, outward = sys.stdin.buffer, sys.stdout.buffer
    while head := inward.read(_HEAD.size):
        source = Source(**json.loads(inward.read(_HEAD.unpack(head)[0])))
        # the soft limit moves on with each grammar; SIGXCPU ends the process
        most = int(time.process_time()) + 1 + CPU_S
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
        data = json.dumps(_answer(source)).encode()
        outward.write(_HEAD.pack(len(data)) + data)
        outward.flush()
