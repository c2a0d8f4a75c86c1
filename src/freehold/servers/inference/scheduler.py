"""One thread runs every engine's steps; requests come in and text goes out through queues.

Waiting requests are taken by priority, then by how little their key has received lately, then by arrival,
so that one key's hundred requests do not delay another key's one.

A second thread watches the first. If the first dies, all requests in progress end with an error, the
engines are reset, and it is started again after a pause that grows each time. An engine that cannot be
reset, or fails again, is abandoned, and its model is reopened. :attr:`Scheduler.health` has the state.
However a request ends, ``on_end`` is called once with what was computed of it.
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
from freehold.servers.inference.grammar_compiler import GrammarCompiler

#: Seconds after which tokens that a key received count half.
HALF_LIFE = 60.0
#: Seconds after which a step that has not ended counts as stuck.
STUCK_S = 120.0
#: Seconds before a thread that died is started again: the first time, and at most. Each death doubles
#: the pause, until there has been none for ``FORGIVEN_S``.
FIRST_WAIT_S, MOST_WAIT_S, FORGIVEN_S = 0.1, 30.0, 60.0
log = logging.getLogger("freehold.engine")


class DeadlineExceeded(FreeholdError):
    """An answer took longer than its deadline allows."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer."""

    #: new text since the last piece
    text: str
    #: the whole answer, with the last piece
    completion: Completion | None = None
    #: why the answer ended, where it failed
    error: FreeholdError | None = None


@dataclass(frozen=True)
class Outcome:
    """How a request ended."""

    #: ok, cancelled or error
    status: str
    #: what was computed of it; None where no engine had begun
    completion: Completion | None = None


@dataclass(frozen=True)
class Health:
    """The state of the engines' thread."""

    #: why nothing is answered now; '' where all is well
    reason: str
    #: whether the thread runs
    alive: bool
    #: whether the step in progress has taken too long
    stuck: bool
    #: the age of the step in progress in seconds; 0 for none
    step_s: float
    #: how often the thread was started again
    restarts: int
    #: errors of steps and of answers that ended requests
    faults: int


@dataclass(eq=False)
class ScheduledRequest:
    """A request and its state in the scheduler."""

    number: int
    engine: BatchingEngine
    request: GenerationRequest
    #: name of the key that asks
    key: str
    #: higher goes first
    priority: int
    #: monotonic seconds; None for no limit
    deadline: float | None
    #: the event loop of the client's side, where ``on_end`` is called
    loop: asyncio.AbstractEventLoop
    on_end: Callable[[Outcome], None]
    queue: asyncio.Queue[Piece] = field(default_factory=asyncio.Queue)
    arrived: float = field(default_factory=time.monotonic)
    #: characters of its text that were sent
    sent: int = 0
    ended: bool = False
    #: the thread that builds its grammar with the engine's vocabulary
    compiling: asyncio.Future[grammar.Matcher] | None = None

    def send(self, piece: Piece) -> None:
        """Put a piece into the queue."""
        self._call(self.queue.put_nowait, piece)

    def end(self, outcome: Outcome, piece: Piece | None = None) -> None:
        """End it; only the first time counts."""
        if self.ended:
            return
        self.ended = True
        self._call(self.on_end, outcome)
        if piece is not None:
            self.send(piece)

    def end_after_compiling(self, outcome: Outcome) -> None:
        """End it once no thread uses the engine for it, since the engine may be closed afterwards."""
        if self.compiling is None or self.compiling.done():
            self.end(outcome)
            return

        def end(compiling: asyncio.Future[grammar.Matcher]) -> None:
            if not compiling.cancelled():
                compiling.exception()  # marks it as seen
            self.end(outcome)

        self.compiling.add_done_callback(end)

    def _call(self, function: Callable[..., None], *values: object) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *values)
        except RuntimeError:  # the loop has ended, and with it the client's side
            log.warning("the event loop of a request has ended: %s", self.key or "no key")


def _nothing(_: Outcome) -> None:
    pass


class Scheduler:
    """Runs requests of any number of clients on engines; :meth:`close` ends the threads."""

    def __init__(self, *, stuck_s: float = STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._numbers = itertools.count()
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._preparing: set[ScheduledRequest] = set()
        self._waiting: list[ScheduledRequest] = []
        self._running: dict[int, ScheduledRequest] = {}
        self._engines: list[BatchingEngine] = []
        self._abandoned: set[BatchingEngine] = set()
        self._reset_at: dict[BatchingEngine, float] = {}
        self._recent_tokens: defaultdict[str, float] = defaultdict(float)
        self._decayed_at = time.monotonic()
        self._closed = False
        self._compiler = GrammarCompiler()
        self._began_step: float | None = None
        self._restarts = self._faults = 0
        self._failure = ""
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
    def in_progress(self) -> int:
        """Requests that have not ended."""
        return len(self._preparing) + len(self._waiting) + len(self._running)

    @property
    def health(self) -> Health:
        """The state at this moment."""
        began = self._began_step
        age = time.monotonic() - began if began is not None else 0.0
        alive, stuck = self._thread.is_alive() and not self._failure, age > self._stuck_s
        reason = self._failure
        if stuck:
            reason = f"a step of the engine has run for {age:.0f} s; restart the server if it does not end"
        elif not alive and not reason:
            restart = "" if self._closed else " and is about to start again"
            reason = f"the engine's thread has ended{restart}"
        faults = sum(engine.answer_faults + engine.call_faults for engine in list(self._engines))
        return Health(reason, alive, stuck, age, self._restarts, self._faults + faults)

    def failed(self, engine: BatchingEngine) -> bool:
        """Whether an engine was abandoned, so that its model must be reopened."""
        return engine in self._abandoned

    async def stream(
        self,
        engine: BatchingEngine,
        request: GenerationRequest,
        *,
        key: str = "",
        priority: int = 0,
        deadline: float | None = None,
        on_end: Callable[[Outcome], None] = _nothing,
    ) -> AsyncGenerator[Piece]:
        """Pieces of the answer as they come; leaving the iteration early cancels the request.

        ``deadline``: in monotonic seconds. ``on_end`` is called in the event loop, however the request
        ends.
        """
        loop = asyncio.get_running_loop()
        entry = ScheduledRequest(next(self._numbers), engine, request, key, priority, deadline, loop, on_end)
        error = await self._prepare(entry)
        if error is not None:
            entry.end_after_compiling(Outcome("error"))
            yield Piece("", error=error)
            return
        self._command(lambda: self._enqueue(entry))
        ended = False
        try:
            while not ended:
                piece = await self._next(entry)
                ended = piece.completion is not None or piece.error is not None
                yield piece
        finally:
            if not ended:
                self._command(lambda: self._cancel(entry))

    async def _prepare(self, entry: ScheduledRequest) -> FreeholdError | None:
        """Compile the request's grammar while nobody waits for it. Returns the error that ends the
        request.
        """
        if self._closed:
            return _shutting_down()
        self._preparing.add(entry)
        try:
            entry.request = await self._with_matcher(entry)
        except FreeholdError as error:
            return error
        except BaseException:
            entry.end_after_compiling(Outcome("cancelled"))
            raise
        finally:
            self._preparing.discard(entry)
        return None

    async def _with_matcher(self, entry: ScheduledRequest) -> GenerationRequest:
        """The request with its grammar compiled. Raises FreeholdError."""
        source = entry.request.grammar
        if source is None:
            return entry.request
        try:
            async with asyncio.timeout(_seconds_left(entry)):
                if isinstance(source, Source):
                    source = await self._compiler.compiled(source, entry.request.scope)
                thread = asyncio.to_thread(grammar.matcher, entry.engine, source)
                entry.compiling = asyncio.ensure_future(thread)
                matcher = await asyncio.shield(entry.compiling)
        except TimeoutError:
            raise _too_late() from None
        return replace(entry.request, grammar=source, matcher=matcher)

    async def _next(self, entry: ScheduledRequest) -> Piece:
        """The next piece; an error after the deadline, even if the engine does not report it."""
        seconds = _seconds_left(entry)
        try:
            async with asyncio.timeout(seconds + 1.0 if seconds is not None else None):
                return await entry.queue.get()
        except TimeoutError:
            self._command(lambda: self._cancel(entry, "error"))
            return Piece("", error=_too_late())

    async def release(self, engine: BatchingEngine) -> None:
        """Close an engine that no request uses, between two steps."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._abandoned.discard(engine)
            self._reset_at.pop(engine, None)
            if engine in self._engines:
                self._faults += engine.answer_faults + engine.call_faults
                self._engines.remove(engine)
            try:
                engine.close()
            finally:
                loop.call_soon_threadsafe(done.set)

        self._command(close)
        await done.wait()

    def close(self) -> None:
        """End the thread after its step, cancel all requests, and free the engines."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join(self._stuck_s)
        self._compiler.close()
        if self._thread.is_alive():
            log.error("a step of the engine does not end; what it computed is not accounted for")
            return
        self._watcher.join()
        while self._commands:
            self._commands.popleft()()
        for entry in [*self._preparing, *self._waiting, *self._running.values()]:
            entry.end(
                Outcome("cancelled", self._partial_completion(entry)), Piece("", error=_shutting_down())
            )
        self._waiting.clear()
        self._running.clear()
        for engine in self._engines:
            engine.close()

    def _command(self, command: Callable[[], None]) -> None:
        with self._wake:
            self._commands.append(command)
            self._wake.notify_all()

    # -- in the watching thread -----------------------------------------------------------------

    def _watch(self) -> None:
        """Start the engines' thread again when it dies, until the scheduler is closed."""
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
            times = "once" if deaths == 1 else f"{deaths} times in a row"
            self._failure = (
                f"the engine's thread died {times} and starts again in {wait:.1f} s: {self._failure}"
            )
            log.error("%s", self._failure)
            self._end_all()
            with self._wake:
                self._wake.wait_for(lambda: self._closed, wait)
                if self._closed:
                    return
            self._restarts += 1
            self._failure = ""
            self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
            self._thread.start()

    def _end_all(self) -> None:
        """End all requests that were in progress when the thread died, and reset the engines."""
        error = Busy("the engine has failed and is starting again", "try again in a moment")
        for entry in [*self._waiting, *self._running.values()]:
            entry.end(Outcome("error", self._partial_completion(entry)), Piece("", error=error))
        self._waiting.clear()
        self._running.clear()
        for engine in self._engines:
            self._reset(engine)

    def _partial_completion(self, entry: ScheduledRequest) -> Completion | None:
        """What was computed of a request, which its engine drops; None where the engine fails to report
        it.
        """
        if entry.number not in self._running:
            return None
        try:
            return entry.engine.cancel(entry.number)
        except Exception:
            log.exception("the engine cannot report what it computed")
            return None

    def _reset(self, engine: BatchingEngine) -> None:
        """Drop an engine's requests and cache; abandon it where that fails, or where it was reset a
        moment ago.
        """
        now = time.monotonic()
        try:
            engine.forget()
        except Exception:
            log.exception("the engine cannot be reset; its model is reopened")
            self._abandon(engine)
            return
        if now - self._reset_at.get(engine, -FORGIVEN_S) < FORGIVEN_S:
            log.error("the engine failed again; its model is reopened")
            self._abandon(engine)
        self._reset_at[engine] = now

    def _abandon(self, engine: BatchingEngine) -> None:
        """Let an engine take no more requests."""
        self._abandoned.add(engine)
        for entry in [entry for entry in self._waiting if entry.engine is engine]:
            self._waiting.remove(entry)
            entry.end(Outcome("error"), Piece("", error=_reopening()))

    # -- in the engines' thread -----------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._steps()
        except BaseException as error:  # the watcher starts another thread
            self._failure = f"{type(error).__name__}: {error}"
            log.exception("the engine's thread died")

    def _steps(self) -> None:
        while True:
            with self._wake:
                while (
                    not self._commands
                    and not self._waiting
                    and not any(engine.busy for engine in self._engines)
                    and not self._closed
                ):
                    self._wake.wait()
                if self._closed:
                    return
            self._began_step = time.monotonic()
            while self._commands:  # one at a time: none is lost where one fails
                self._commands.popleft()()
            self._end_overdue()
            self._assign()
            for engine in [engine for engine in self._engines if engine.busy]:
                self._began_step = time.monotonic()
                self._step(engine)
            self._began_step = None

    def _enqueue(self, entry: ScheduledRequest) -> None:
        if entry.engine in self._abandoned:
            entry.end(Outcome("error"), Piece("", error=_reopening()))
            return
        self._waiting.append(entry)
        if entry.engine not in self._engines:
            self._engines.append(entry.engine)

    def _cancel(
        self, entry: ScheduledRequest, status: str = "cancelled", error: FreeholdError | None = None
    ) -> None:
        completion = None
        if entry in self._waiting:
            self._waiting.remove(entry)
        elif entry.number in self._running:
            completion = self._partial_completion(entry)
            del self._running[entry.number]
        entry.end(Outcome(status, completion), Piece("", error=error) if error is not None else None)

    def _end_overdue(self) -> None:
        """End requests whose deadline has passed."""
        now = time.monotonic()
        for entry in [*self._waiting, *self._running.values()]:
            if entry.deadline is not None and now > entry.deadline:
                self._cancel(entry, "error", _too_late())

    def _assign(self) -> None:
        """Give engines as many requests as they have room for."""
        self._decay()
        for engine in self._engines:
            while sum(engine.load) < engine.parallel:
                entries = [entry for entry in self._waiting if entry.engine is engine]
                if not entries:
                    break
                entry = min(entries, key=self._rank)
                self._waiting.remove(entry)
                self._submit(engine, entry)

    def _rank(self, entry: ScheduledRequest) -> tuple[int, float, float]:
        """Where a request stands in the queue; the least goes first."""
        return -entry.priority, self._recent_tokens.get(entry.key, 0.0), entry.arrived

    def _decay(self) -> None:
        """Let tokens that keys have received count less as time passes."""
        now = time.monotonic()
        factor = 0.5 ** ((now - self._decayed_at) / HALF_LIFE)
        self._decayed_at = now
        for key in list(self._recent_tokens):
            self._recent_tokens[key] *= factor
            if self._recent_tokens[key] < 0.5:
                del self._recent_tokens[key]

    def _submit(self, engine: BatchingEngine, entry: ScheduledRequest) -> None:
        """Give a request to its engine; an error in the request ends this request only."""
        try:
            engine.submit(entry.number, entry.request)
        except Exception as error:
            if not isinstance(error, FreeholdError):
                self._faults += 1
                log.exception("a request failed")
                error = StepFailed(
                    f"this request failed in the engine ({type(error).__name__}: {error})",
                    "see the server's log",
                )
            entry.end(Outcome("error"), Piece("", error=error))
            return
        self._running[entry.number] = entry
        self._recent_tokens[entry.key] += len(entry.request.tokens) / 8 + entry.request.max_tokens

    def _step(self, engine: BatchingEngine) -> None:
        entries = [entry for entry in self._running.values() if entry.engine is engine]
        try:
            ended = {result.number: result for result in engine.ended()}
        except Exception as error:
            self._fail(engine, entries, error)
            return
        for entry in entries:
            if entry.number in ended:
                del self._running[entry.number]
                self._finish(entry, ended[entry.number])
                continue
            text = engine.partial(entry.number)
            if len(text) > entry.sent:
                entry.send(Piece(text[entry.sent :]))
                entry.sent = len(text)

    def _finish(self, entry: ScheduledRequest, ended: Ended) -> None:
        done = ended.completion
        if ended.error is not None:
            entry.end(Outcome("error", done), Piece("", error=ended.error))
        else:
            entry.end(Outcome("ok", done), Piece(done.text[entry.sent :], done))

    def _fail(self, engine: BatchingEngine, entries: list[ScheduledRequest], error: Exception) -> None:
        """End the requests of an engine that failed, and reset it. The thread goes on for other engines."""
        self._faults += 1
        if not isinstance(error, FreeholdError):
            log.exception("the engine failed")
            error = StepFailed(f"the engine failed ({type(error).__name__}: {error})", "see the server's log")
        for entry in entries:
            entry.end(Outcome("error", self._partial_completion(entry)), Piece("", error=error))
            del self._running[entry.number]
        self._reset(engine)


def _seconds_left(entry: ScheduledRequest) -> float | None:
    """Seconds until a request's deadline; None for no limit."""
    return None if entry.deadline is None else max(0.0, entry.deadline - time.monotonic())


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the answer took too long", "ask for fewer tokens, or raise --deadline")


def _reopening() -> Busy:
    return Busy("the model is being reopened after an error", "try again in a moment")


def _shutting_down() -> Busy:
    return Busy("the server is shutting down", "try again later")
