"""Between the APIs and the engines: who may ask what, the limits, the accounts; one way in for every API."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Counts

from freehold.engines.embedding import Embedded
from freehold.engines.interface import Completion
from freehold.ledger.energy import Counter
from freehold.ledger.usage import Ledger, Used
from freehold.serve.dialogue import Dialogue, ask_of, tokens_of
from freehold.serve.engine_metrics import EngineMetrics
from freehold.serve.keys import Key, scope_of
from freehold.serve.limits import Limiter
from freehold.serve.pool import Pool, Served
from freehold.serve.prompt_log import PromptLog
from freehold.serve.refusals import Refusal, of_fault
from freehold.serve.runner import Late, Outcome, Piece, Runner
from freehold.serve.traces import Traces

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
#: Usage is written so often, in seconds: what a killed server may lose of its accounts.
WRITTEN_EVERY = 0.25


class Metrics:
    """For Prometheus."""

    def __init__(self, runner: Runner, pool: Pool):
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counts(
            "freehold_requests", "Requests by model and how they ended.", ["model", "status"], registry=own
        )
        self.tokens = Counts(
            "freehold_tokens",
            "Tokens of prompts (computed and reused) and answers.",
            ["model", "kind"],
            registry=own,
        )
        self.first = Histogram(
            "freehold_first_token_seconds",
            "From an engine taking a request to its first token.",
            ["model"],
            buckets=_SECONDS,
            registry=own,
        )
        self.whole = Histogram(
            "freehold_request_seconds",
            "From a request's arrival to its end.",
            ["model"],
            buckets=_SECONDS,
            registry=own,
        )
        self.guesses = Counts(
            "freehold_guessed_tokens",
            "Tokens that look-up offered, and those that were right.",
            ["model", "kind"],
            registry=own,
        )
        self.joules = Counts(
            "freehold_energy_joules", "Energy of answers, as the ledger counts it.", ["model"], registry=own
        )
        own.register(EngineMetrics(runner))
        Gauge(
            "freehold_waiting_requests", "Requests that no engine has taken yet.", registry=own
        ).set_function(lambda: runner.waiting)
        Gauge("freehold_requests_under_way", "Requests that have not ended.", registry=own).set_function(
            lambda: runner.under_way
        )
        Gauge("freehold_loaded_models", "Models in memory.", registry=own).set_function(
            lambda: len(pool.loaded)
        )


#: Says whether the client has gone.
Gone = Callable[[], Awaitable[bool]]


@dataclass
class Answer:
    """An answer whose first piece has come: who answers, how long the prompt is, and the pieces, which are to be iterated once.

    What goes wrong between pieces comes as a Refusal.
    """

    served: Served
    prompt_tokens: int
    first: Piece
    rest: AsyncGenerator[Piece]

    async def pieces(self) -> AsyncIterator[Piece]:
        """Every piece."""
        yield self.first
        async for piece in self.rest:
            yield piece

    async def whole(self, gone: Gone) -> Completion:
        """The completion; when the client goes, the answer is cancelled. Raises Refusal."""
        piece, looked = self.first, time.monotonic()
        try:
            while piece.completion is None:
                piece = await _next(self.rest, gone)
                if time.monotonic() - looked > 0.5:
                    looked = time.monotonic()
                    if piece.completion is None and await gone():
                        raise Refusal(499, "the client went away")
        finally:
            await self.rest.aclose()  # so that it is accounted for now, not when it is collected
        return piece.completion


async def _next(pieces: AsyncGenerator[Piece], gone: Gone) -> Piece:
    """The next piece, unless the client goes before it comes; then the answer is cancelled. Raises Refusal."""
    task = asyncio.ensure_future(anext(pieces))
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.5)
            if not task.done() and await gone():
                raise Refusal(499, "the client went away")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await task


class Desk:
    """Takes requests."""

    def __init__(self, pool: Pool, runner: Runner, ledger: Ledger, counter: Counter, *, most_waiting: int, deadline_s: float,
                 traces: Traces | None = None, log: PromptLog | None = None):  # fmt: skip
        self.pool, self.runner, self.ledger, self.counter, self.traces = (
            pool,
            runner,
            ledger,
            counter,
            traces or Traces(),
        )
        self.limiter, self.deadline_s = Limiter(most_waiting), deadline_s
        self.metrics = Metrics(runner, pool)
        self.log = log or PromptLog()
        self.draining = False
        self._embedding = asyncio.Lock()
        self._unwritten: list[Used] = []

    async def answer(self, key: Key, dialogue: Dialogue, gone: Gone) -> Answer:
        """Begin an answer, and wait for the first of it. Raises Refusal, FreeholdError."""
        self._admit(key, dialogue.model)
        arrived = time.monotonic()
        deadline = arrived + self.deadline_s if self.deadline_s else None
        span = self.traces.begin("chat" if dialogue.prompt is None else "text_completion", dialogue.model)
        served = None
        try:
            async with asyncio.timeout(self.deadline_s or None):
                served = await self.pool.hold(dialogue.model)
                ask = await asyncio.to_thread(
                    ask_of,
                    dialogue,
                    served.prompting,
                    served.form,
                    served.choices,
                    served.engine.longest,
                    served.adapter,
                )
            if len(ask.tokens) + ask.max_tokens > served.engine.longest:
                raise Refusal(
                    400, f"a prompt of {len(ask.tokens)} tokens and an answer of up to {ask.max_tokens} exceed the context of "
                    f"{served.engine.longest} tokens", "context_length_exceeded",
                )  # fmt: skip
        except BaseException as error:
            if served is not None:
                self.pool.let_go(served)
            self.limiter.leave(key, 0)
            self.traces.end(span, "error", 0)
            raise self._late() if isinstance(error, TimeoutError) else error from None
        ask = replace(ask, scope=scope_of(key, self.pool.terms.sharing))
        begun, held = False, served

        def ended(outcome: Outcome) -> None:
            """Account for the answer: called once, however it ends."""
            done = outcome.completion
            self.limiter.leave(key, done.prompt_tokens + len(done.tokens) if done else 0)
            self.traces.end(span, outcome.status, done.prompt_tokens if done else 0, done)
            self._account(key, dialogue.model, outcome, time.monotonic() - arrived)
            self.pool.let_go(held)
            self.log.write(key.name, dialogue, done, outcome.status)

        async def pieces() -> AsyncGenerator[Piece]:
            nonlocal begun
            begun = True
            stream = self.runner.stream(
                held.engine, ask, key=key.name, priority=key.limits.priority, deadline=deadline, on_end=ended
            )
            try:
                async for piece in stream:
                    if piece.error is not None:
                        raise self._late() if isinstance(piece.error, Late) else of_fault(piece.error)
                    yield piece
            finally:
                await stream.aclose()

        coming = pieces()
        try:
            return Answer(served, len(ask.tokens), await _next(coming, gone), coming)
        finally:
            if not begun:  # the client left before it could begin
                ended(Outcome("cancelled"))

    def _late(self) -> Refusal:
        return Refusal(504, f"the answer took longer than {self.deadline_s:g} s", "timeout")

    def _admit(self, key: Key, model: str) -> None:
        """Let a request in; whoever calls this lets it out of the limiter again. Raises Refusal."""
        if self.draining:
            raise Refusal(503, "the server is ending", "overloaded", 5.0)
        if reason := self.runner.health.reason:
            raise Refusal(503, f"no answers at the moment: {reason}", "overloaded", 5.0)
        if not key.opens(model):
            raise Refusal(403, f"this key may not ask {model[:200]!r}", "model_not_allowed")
        self.limiter.enter(key, self.runner.waiting)

    async def embed(self, key: Key, model: str, texts: Sequence[str], *, cut: bool = False) -> Embedded:
        """A vector for each text. Raises Refusal, FreeholdError."""
        self._admit(key, model)
        began, tokens, status, spent = time.monotonic(), 0, "error", 0.0
        trace = self.traces.begin("embeddings", model)
        try:
            async with self.pool.lease_embedder(model) as embedder, self._embedding:
                span = self.counter.begin()
                try:
                    found = await asyncio.to_thread(embedder.embed, texts, cut=cut)
                finally:
                    spent = self.counter.end(span)
                tokens, status = found.tokens, "ok"
                return found
        finally:
            self.limiter.leave(key, tokens)
            self.traces.end(trace, status, tokens)
            if self.pool.embeds(model):  # names that nobody serves are no one's accounts
                seconds = time.monotonic() - began
                self.metrics.tokens.labels(model, "prompt").inc(tokens)
                self._book(
                    Used(time.time(), key.name, model, tokens, 0, 0, 0.0, seconds, status, spent), seconds
                )

    async def count(self, key: Key, dialogue: Dialogue) -> int:
        """Tokens of a prompt. Raises Refusal, FreeholdError."""
        if not key.opens(dialogue.model):
            raise Refusal(403, f"this key may not ask {dialogue.model[:200]!r}", "model_not_allowed")
        async with self.pool.lease(dialogue.model) as served:
            return len(tokens_of(dialogue, served.prompting, served.form))

    # -- accounts -----------------------------------------------------------------------------

    def _account(self, key: Key, model: str, outcome: Outcome, seconds: float) -> None:
        """Book what was computed of an answer, whole or not."""
        metrics, done = self.metrics, outcome.completion
        if done is None:
            self._book(Used(time.time(), key.name, model, 0, 0, 0, 0.0, 0.0, outcome.status), seconds)
            return
        if done.tokens:
            metrics.first.labels(model).observe(done.first_token_s)
        metrics.tokens.labels(model, "prompt").inc(max(0, done.prompt_tokens - done.reused))
        metrics.tokens.labels(model, "reused").inc(done.reused)
        metrics.tokens.labels(model, "answer").inc(len(done.tokens))
        metrics.joules.labels(model).inc(done.joules or 0.0)
        metrics.guesses.labels(model, "offered").inc(done.guessed)
        metrics.guesses.labels(model, "right").inc(done.right)
        self._book(
            Used(time.time(), key.name, model, done.prompt_tokens, done.reused, len(done.tokens), done.first_token_s, done.total_s,
                 outcome.status, done.joules), seconds
        )  # fmt: skip

    def _book(self, used: Used, seconds: float) -> None:
        """Count a request that has ended, so many seconds after it came."""
        self.metrics.requests.labels(used.model, used.status).inc()
        self.metrics.whole.labels(used.model).observe(seconds)
        self._unwritten.append(used)

    async def keep_accounts(self) -> None:
        """Write usage every :data:`WRITTEN_EVERY` seconds until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(WRITTEN_EVERY)
                await self._write()
        except asyncio.CancelledError:
            await self._write()
            raise

    async def _write(self) -> None:
        rows, self._unwritten = self._unwritten, []
        try:
            await asyncio.to_thread(self.ledger.add, rows)
        except Exception:
            self._unwritten = rows + self._unwritten  # the disk may have room again later
            raise

    async def drain(self, seconds: float) -> None:
        """Take nothing more in, and wait for what is under way."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.runner.under_way:
                    await asyncio.sleep(0.05)
