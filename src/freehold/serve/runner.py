"""One thread makes every engine's steps; requests come in and text goes out through queues.

Requests that wait are taken by priority, then by how little their key has been given lately, then by when they came, so that one key's
hundred requests do not hold up another's one.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import traceback
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from freehold.engines.batching import Ask, BatchingEngine
from freehold.engines.interface import Completion
from freehold.errors import FreeholdError, StepFailed

#: Seconds after which half of what a key was given is forgotten.
HALF_LIFE = 60.0


@dataclass(frozen=True)
class Piece:
    """Text that came since the last piece; the completion with the last one, or what went wrong."""

    text: str
    completion: Completion | None = None
    error: FreeholdError | None = None


@dataclass(eq=False)
class Job:
    """A request on its way. ``sent``: how much of its text has gone out."""

    number: int
    engine: BatchingEngine
    ask: Ask
    key: str
    priority: int
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Piece] = field(default_factory=asyncio.Queue)
    came: float = field(default_factory=time.monotonic)
    sent: int = 0

    def send(self, piece: Piece) -> None:
        """Hand a piece to whoever listens."""
        self.loop.call_soon_threadsafe(self.queue.put_nowait, piece)


class Runner:
    """Feeds engines from any number of clients; :meth:`close` ends the thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._orders: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._waiting: list[Job] = []
        self._running: dict[int, Job] = {}
        self._engines: list[BatchingEngine] = []
        self._given: defaultdict[str, float] = defaultdict(float)
        self._faded = time.monotonic()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    # -- from the event loop's thread ---------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Requests that no engine has taken yet."""
        return len(self._waiting)

    @property
    def under_way(self) -> int:
        """All requests that have not ended."""
        return len(self._waiting) + len(self._running)

    async def stream(
        self, engine: BatchingEngine, ask: Ask, *, key: str = "", priority: int = 0
    ) -> AsyncGenerator[Piece]:
        """Pieces of the answer as they come. Leaving the iteration early cancels the request."""
        job = Job(next(self._numbers), engine, ask, key, priority, asyncio.get_running_loop())
        self._order(lambda: self._take_in(job))
        over = False
        try:
            while not over:
                piece = await job.queue.get()
                over = piece.completion is not None or piece.error is not None
                yield piece
        finally:
            if not over:
                self._order(lambda: self._cancel(job))

    async def release(self, engine: BatchingEngine) -> None:
        """Close an engine that nothing runs on, between two steps."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            if engine in self._engines:
                self._engines.remove(engine)
            engine.close()
            loop.call_soon_threadsafe(done.set)

        self._order(close)
        await done.wait()

    def close(self) -> None:
        """End the thread after the step under way, and free the engines."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()
        for engine in self._engines:
            engine.close()

    def _order(self, order: Callable[[], None]) -> None:
        with self._wake:
            self._orders.append(order)
            self._wake.notify()

    # -- in the engines' thread -----------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._wake:
                while (
                    not self._orders
                    and not self._waiting
                    and not any(engine.busy for engine in self._engines)
                    and not self._closed
                ):
                    self._wake.wait()
                if self._closed:
                    return
                orders = list(self._orders)
                self._orders.clear()
            for order in orders:
                order()
            self._hand_out()
            for engine in [engine for engine in self._engines if engine.busy]:
                self._step(engine)

    def _take_in(self, job: Job) -> None:
        self._waiting.append(job)
        if job.engine not in self._engines:
            self._engines.append(job.engine)

    def _cancel(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
        elif self._running.pop(job.number, None):
            job.engine.cancel(job.number)

    def _hand_out(self) -> None:
        """Give engines what they have room for."""
        now = time.monotonic()
        fade = 0.5 ** ((now - self._faded) / HALF_LIFE)
        self._faded = now
        for key in list(self._given):
            self._given[key] *= fade
            if self._given[key] < 0.5:
                del self._given[key]
        for engine in self._engines:
            while sum(engine.load) < engine.parallel:
                mine = [job for job in self._waiting if job.engine is engine]
                if not mine:
                    break
                job = min(mine, key=lambda job: (-job.priority, self._given.get(job.key, 0.0), job.came))
                self._waiting.remove(job)
                try:
                    engine.submit(job.number, job.ask)
                    self._running[job.number] = job
                    self._given[job.key] += len(job.ask.tokens) / 8 + job.ask.max_tokens
                except FreeholdError as error:
                    job.send(Piece("", error=error))

    def _step(self, engine: BatchingEngine) -> None:
        mine = [job for job in self._running.values() if job.engine is engine]
        try:
            ended = dict(engine.step())
        except Exception as error:
            # whatever it is, the thread goes on for other requests; these are told, and of a fault of ours the operator sees all
            if not isinstance(error, FreeholdError):
                traceback.print_exc()
                error = StepFailed(
                    f"the engine has a fault ({type(error).__name__}: {error})", "see what the server wrote"
                )
            engine.forget()
            for job in mine:
                del self._running[job.number]
                job.send(Piece("", error=error))
            return
        for job in mine:
            completion = ended.get(job.number)
            text = completion.text if completion else engine.partial(job.number)
            if completion or len(text) > job.sent:
                job.send(Piece(text[job.sent :], completion))
                job.sent = len(text)
            if completion:
                del self._running[job.number]
