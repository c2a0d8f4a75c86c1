"""One thread makes every engine's steps; requests come in and text goes out through queues.

Requests that wait are taken by priority, then by how little their key has been given lately, then by when they came, so that one key's
hundred requests do not hold up another's one.

A second thread watches the first: where it dies, whatever was under way is ended with an error, engines are emptied, and it is started
again, later each time it dies soon again. An engine that cannot be emptied, or fails again, is given up, and its model is opened anew.
:meth:`Runner.health` says how it stands. However a request ends, ``on_end`` is called once with what was computed of it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace

from freehold.core.errors import Busy, FreeholdError, StepFailed
from freehold.inference import grammar
from freehold.inference.batch_engine import BatchingEngine, Ended
from freehold.inference.grammar import Source
from freehold.inference.interface import Completion
from freehold.inference.request import GenerationRequest
from freehold.servers.inference.grammar_compiler import Compiler

#: Seconds after which half of what a key was given is forgotten.
HALF_LIFE = 60.0
#: Seconds after which a step that has not ended counts as stuck.
STUCK_S = 120.0
#: Seconds before a thread that died is started again: the first time, and at the most; each death doubles it, until none has come for a while.
FIRST_WAIT_S, MOST_WAIT_S, FORGIVEN_S = 0.1, 30.0, 60.0
#: What the engines' thread reports.
log = logging.getLogger("freehold.engine")


class Late(FreeholdError):
    """An answer took longer than it may."""


@dataclass(frozen=True)
class Piece:
    """Text that came since the last piece; the completion with the last one, or what went wrong."""

    text: str
    completion: Completion | None = None
    error: FreeholdError | None = None


@dataclass(frozen=True)
class Outcome:
    """How a request ended: ``ok``, ``cancelled`` or ``error``, and what was computed of it; None where no engine had begun."""

    status: str
    completion: Completion | None = None


@dataclass(frozen=True)
class Health:
    """How the engines' thread stands. ``reason``: why nothing is answered now; '' where all is well. ``step_s``: the age of the step under
    way, 0 for none. ``restarts``: how often the thread was started again; ``faults``: of steps, and of answers, that ended requests."""

    reason: str
    alive: bool
    stuck: bool
    step_s: float
    restarts: int
    faults: int


@dataclass(eq=False)
class Job:
    """A request on its way. ``sent``: how much of its text has gone out; ``deadline``: monotonic seconds, or None; ``reading``: a thread
    that uses the engine's vocabulary."""

    number: int
    engine: BatchingEngine
    ask: GenerationRequest
    key: str
    priority: int
    deadline: float | None
    loop: asyncio.AbstractEventLoop
    on_end: Callable[[Outcome], None]
    queue: asyncio.Queue[Piece] = field(default_factory=asyncio.Queue)
    came: float = field(default_factory=time.monotonic)
    sent: int = 0
    over: bool = False
    reading: asyncio.Future[grammar.Matcher] | None = None

    def send(self, piece: Piece) -> None:
        """Hand a piece to whoever listens."""
        self._call(self.queue.put_nowait, piece)

    def end(self, outcome: Outcome, piece: Piece | None = None) -> None:
        """It is over; only the first time counts."""
        if self.over:
            return
        self.over = True
        self._call(self.on_end, outcome)
        if piece is not None:
            self.send(piece)

    def end_after_reading(self, outcome: Outcome) -> None:
        """It is over once no thread uses the engine any more, which is not closed before."""
        if self.reading is None or self.reading.done():
            self.end(outcome)
            return

        def end(reading: asyncio.Future[grammar.Matcher]) -> None:
            if not reading.cancelled():
                reading.exception()  # nobody else looks at it
            self.end(outcome)

        self.reading.add_done_callback(end)

    def _call(self, function: Callable[..., None], *values: object) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *values)
        except RuntimeError:  # the loop has ended, and with it whoever listened
            log.warning("an answer's listener is gone: %s", self.key or "no key")


def _nothing(_: Outcome) -> None:
    pass


class Scheduler:
    """Feeds engines from any number of clients; :meth:`close` ends the thread."""

    def __init__(self, *, stuck_s: float = STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._numbers = itertools.count()
        self._orders: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._preparing: set[Job] = set()
        self._waiting: list[Job] = []
        self._running: dict[int, Job] = {}
        self._engines: list[BatchingEngine] = []
        self._given_up: set[BatchingEngine] = set()
        self._emptied: dict[BatchingEngine, float] = {}
        self._given: defaultdict[str, float] = defaultdict(float)
        self._faded = time.monotonic()
        self._closed = False
        self._compiler = Compiler()
        self._began_step: float | None = None
        self._restarts = self._faults = 0
        self._death = ""
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="engine-watch", daemon=True)
        self._thread.start()
        self._watcher.start()

    # -- from the event loop's thread ---------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Requests that no engine has taken yet."""
        return len(self._waiting) + len(self._preparing)

    @property
    def under_way(self) -> int:
        """All requests that have not ended."""
        return len(self._preparing) + len(self._waiting) + len(self._running)

    @property
    def health(self) -> Health:
        """How the thread stands at this moment."""
        began = self._began_step
        age = time.monotonic() - began if began is not None else 0.0
        alive, stuck = self._thread.is_alive() and not self._death, age > self._stuck_s
        reason = self._death
        if stuck:
            reason = f"a step of the engine has taken {age:.0f} s and has not ended; restart the server if it does not end"
        elif not alive and not reason:
            reason = "the engine's thread has ended" + (
                "" if self._closed else " and is about to start again"
            )
        faults = self._faults + sum(
            engine.answer_faults + engine.call_faults for engine in list(self._engines)
        )
        return Health(reason, alive, stuck, age, self._restarts, faults)

    def failed(self, engine: BatchingEngine) -> bool:
        """Whether an engine was given up, so that its model has to be opened anew."""
        return engine in self._given_up

    async def stream(
        self,
        engine: BatchingEngine,
        ask: GenerationRequest,
        *,
        key: str = "",
        priority: int = 0,
        deadline: float | None = None,
        on_end: Callable[[Outcome], None] = _nothing,
    ) -> AsyncGenerator[Piece]:
        """Pieces of the answer as they come. Leaving the iteration early cancels the request. ``deadline``: monotonic seconds until which it
        may take. ``on_end`` is called in the event loop once the engine is done with it, whatever way it ends."""
        job = Job(
            next(self._numbers), engine, ask, key, priority, deadline, asyncio.get_running_loop(), on_end
        )
        error: FreeholdError | None = None
        if self._closed:
            error = _ending()
        self._preparing.add(job)
        try:
            try:
                if error is None:
                    job.ask = await self._prepared(job)
            except FreeholdError as fault:
                error = fault
            finally:
                self._preparing.discard(job)
        except BaseException:
            job.end_after_reading(Outcome("cancelled"))
            raise
        if error is not None:
            job.end_after_reading(Outcome("error"))
            yield Piece("", error=error)
            return
        self._order(lambda: self._take_in(job))
        over = False
        try:
            while not over:
                piece = await self._next(job)
                over = piece.completion is not None or piece.error is not None
                yield piece
        finally:
            if not over:
                self._order(lambda: self._cancel(job))

    async def _prepared(self, job: Job) -> GenerationRequest:
        """The request with its grammar compiled, where nobody waits for it. Raises FreeholdError."""
        source = job.ask.grammar
        if source is None:
            return job.ask
        try:
            async with asyncio.timeout(_left(job)):
                if isinstance(source, Source):
                    source = await self._compiler.compiled(source, job.ask.scope)
                job.reading = asyncio.ensure_future(asyncio.to_thread(grammar.matcher, job.engine, source))
                matcher = await asyncio.shield(job.reading)
        except TimeoutError:
            raise _late() from None
        return replace(job.ask, grammar=source, matcher=matcher)

    async def _next(self, job: Job) -> Piece:
        """What comes next; an error where the time is up, even if the engine does not say so."""
        left = _left(job)
        try:
            async with asyncio.timeout(left + 1.0 if left is not None else None):
                return await job.queue.get()
        except TimeoutError:
            self._order(lambda: self._cancel(job, "error"))
            return Piece("", error=_late())

    async def release(self, engine: BatchingEngine) -> None:
        """Close an engine that nothing runs on, between two steps."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._given_up.discard(engine)
            self._emptied.pop(engine, None)
            if engine in self._engines:
                self._faults += engine.answer_faults + engine.call_faults
                self._engines.remove(engine)
            try:
                engine.close()
            finally:
                loop.call_soon_threadsafe(done.set)

        self._order(close)
        await done.wait()

    def close(self) -> None:
        """End the thread after the step under way, and free the engines; what is under way ends as cancelled."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join(self._stuck_s)
        self._compiler.close()
        if self._thread.is_alive():
            log.error("a step of the engine has not ended; what it computed is not accounted for")
            return
        self._watcher.join()
        while self._orders:
            self._orders.popleft()()
        for job in [*self._preparing, *self._waiting, *self._running.values()]:
            job.end(Outcome("cancelled", self._computed(job)), Piece("", error=_ending()))
        self._waiting.clear()
        self._running.clear()
        for engine in self._engines:
            engine.close()

    def _order(self, order: Callable[[], None]) -> None:
        with self._wake:
            self._orders.append(order)
            self._wake.notify_all()

    # -- in the watching thread -----------------------------------------------------------------

    def _watch(self) -> None:
        """Start the engines' thread again when it dies, until the runner is closed."""
        deaths, last = 0, 0.0
        while True:
            self._thread.join()
            if self._closed:
                return
            now = time.monotonic()
            deaths = deaths + 1 if now - last < FORGIVEN_S else 1
            last = now
            self._began_step = None
            wait = min(MOST_WAIT_S, FIRST_WAIT_S * 2 ** (deaths - 1))
            self._death = f"the engine's thread died {deaths} time(s) in a row and starts again in {wait:.1f} s: {self._death}"
            log.error("%s", self._death)
            self._bury()
            with self._wake:
                self._wake.wait_for(lambda: self._closed, wait)
                if self._closed:
                    return
            self._restarts += 1
            self._death = ""
            self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
            self._thread.start()

    def _bury(self) -> None:
        """End all that was under way when the thread died, and empty the engines."""
        error = Busy("the engine has failed and starts again", "ask again in a moment")
        for job in [*self._waiting, *self._running.values()]:
            job.end(Outcome("error", self._computed(job)), Piece("", error=error))
        self._waiting.clear()
        self._running.clear()
        for engine in self._engines:
            self._empty(engine)

    def _computed(self, job: Job) -> Completion | None:
        """What was computed of a request, which its engine forgets; None where it cannot say."""
        if job.number not in self._running:
            return None
        try:
            return job.engine.cancel(job.number)
        except Exception:
            log.exception("the engine cannot say what it computed")
            return None

    def _empty(self, engine: BatchingEngine) -> None:
        """Drop all that an engine has in memory; give it up where that fails, or where it was emptied a moment ago."""
        now = time.monotonic()
        try:
            engine.forget()
        except Exception:
            log.exception("the engine cannot be emptied, and its model is opened again")
            self._give_up(engine)
            return
        if now - self._emptied.get(engine, -FORGIVEN_S) < FORGIVEN_S:
            log.error("the engine failed again, and its model is opened again")
            self._give_up(engine)
        self._emptied[engine] = now

    def _give_up(self, engine: BatchingEngine) -> None:
        """Let nothing more be asked of an engine."""
        self._given_up.add(engine)
        for job in [job for job in self._waiting if job.engine is engine]:
            self._waiting.remove(job)
            job.end(Outcome("error"), Piece("", error=_opening()))

    # -- in the engines' thread -----------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._steps()
        except BaseException as error:  # the watching thread starts another
            self._death = f"{type(error).__name__}: {error}"
            log.exception("the engine's thread died")

    def _steps(self) -> None:
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
            self._began_step = time.monotonic()
            while self._orders:  # each is taken out by itself, so that none is lost with one that fails
                self._orders.popleft()()
            self._end_late()
            self._hand_out()
            for engine in [engine for engine in self._engines if engine.busy]:
                self._began_step = time.monotonic()
                self._step(engine)
            self._began_step = None

    def _take_in(self, job: Job) -> None:
        if job.engine in self._given_up:
            job.end(Outcome("error"), Piece("", error=_opening()))
            return
        self._waiting.append(job)
        if job.engine not in self._engines:
            self._engines.append(job.engine)

    def _cancel(self, job: Job, status: str = "cancelled", error: FreeholdError | None = None) -> None:
        completion = None
        if job in self._waiting:
            self._waiting.remove(job)
        elif job.number in self._running:
            completion = self._computed(job)
            del self._running[job.number]
        job.end(Outcome(status, completion), Piece("", error=error) if error is not None else None)

    def _end_late(self) -> None:
        """End what has taken longer than it may."""
        now = time.monotonic()
        for job in [*self._waiting, *self._running.values()]:
            if job.deadline is not None and now > job.deadline:
                self._cancel(job, "error", _late())

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
                self._submit(engine, job)

    def _submit(self, engine: BatchingEngine, job: Job) -> None:
        """Give a request to its engine; what is wrong with it ends it alone."""
        try:
            engine.submit(job.number, job.ask)
        except Exception as error:
            if not isinstance(error, FreeholdError):
                self._faults += 1
                log.exception("a request has a fault")
                error = StepFailed(
                    f"this request has a fault ({type(error).__name__}: {error})", "see the server's log"
                )
            job.end(Outcome("error"), Piece("", error=error))
            return
        self._running[job.number] = job
        self._given[job.key] += len(job.ask.tokens) / 8 + job.ask.max_tokens

    def _step(self, engine: BatchingEngine) -> None:
        mine = [job for job in self._running.values() if job.engine is engine]
        try:
            over = {ended.number: ended for ended in engine.ended()}
        except Exception as error:
            self._fail(engine, mine, error)
            return
        for job in mine:
            if job.number in over:
                del self._running[job.number]
                self._finish(job, over[job.number])
                continue
            text = engine.partial(job.number)
            if len(text) > job.sent:
                job.send(Piece(text[job.sent :]))
                job.sent = len(text)

    def _finish(self, job: Job, ended: Ended) -> None:
        done = ended.completion
        if ended.error is not None:
            job.end(Outcome("error", done), Piece("", error=ended.error))
        else:
            job.end(Outcome("ok", done), Piece(done.text[job.sent :], done))

    def _fail(self, engine: BatchingEngine, mine: list[Job], error: Exception) -> None:
        """The engine itself has failed: end what it had, and empty it. The thread goes on for other engines."""
        self._faults += 1
        if not isinstance(error, FreeholdError):
            log.exception("the engine has a fault")
            error = StepFailed(
                f"the engine has a fault ({type(error).__name__}: {error})", "see the server's log"
            )
        for job in mine:
            job.end(Outcome("error", self._computed(job)), Piece("", error=error))
            del self._running[job.number]
        self._empty(engine)


def _left(job: Job) -> float | None:
    """Seconds that a request may still take; None for no limit."""
    return None if job.deadline is None else max(0.0, job.deadline - time.monotonic())


def _late() -> Late:
    return Late("the answer took longer than it may", "ask for fewer tokens, or raise --deadline")


def _opening() -> Busy:
    return Busy("the model is being opened again after a fault", "ask again in a moment")


def _ending() -> Busy:
    return Busy("the server is shutting down", "ask again later")
