"""Between the APIs and the engines: who may ask what, the limits, the accounts; one way in for every API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, Gauge, Histogram, Metric
from prometheus_client import Counter as Counts
from sqlalchemy.exc import SQLAlchemyError

from freehold.core.errors import FreeholdError
from freehold.costs.energy import Counter
from freehold.costs.usage import UsageLog, Used
from freehold.inference.embeddings import Embedded
from freehold.inference.interface import Completion
from freehold.servers.inference.api_errors import ApiError, of_fault
from freehold.servers.inference.api_keys import Key, scope_of
from freehold.servers.inference.background_work import Gone, Work, unless_gone
from freehold.servers.inference.chat_request import ChatRequest, ask_of, tokens_of
from freehold.servers.inference.engine_metrics import EngineMetrics
from freehold.servers.inference.model_pool import ModelPool, Served
from freehold.servers.inference.prompt_log import PromptLog
from freehold.servers.inference.rate_limits import Limiter
from freehold.servers.inference.scheduler import Late, Outcome, Piece, Scheduler
from freehold.servers.inference.traces import Traces

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
#: Usage is written so often, in seconds: what a killed server may lose of its accounts.
WRITTEN_EVERY = 0.25
#: What could not be written.
log = logging.getLogger("freehold.usage")


class Metrics:
    """For Prometheus."""

    def __init__(self, runner: Scheduler, pool: ModelPool):
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


class Figures(CollectorRegistry):
    """The metrics that a key may read: of its own models alone, where it is for some."""

    def __init__(self, registry: CollectorRegistry, key: Key):
        super().__init__()
        self._whole, self._key = registry, key

    def collect(self) -> Iterator[Metric]:
        """See :class:`CollectorRegistry`."""
        for metric in self._whole.collect():
            if self._key.models:
                metric.samples = [
                    sample
                    for sample in metric.samples
                    if "model" not in sample.labels or self._key.opens(sample.labels["model"])
                ]
            yield metric


@dataclass
class Visit:
    """A request for a model while it is here. ``tokens``: what it has had; ``joules``: what that took."""

    key: Key
    model: str
    gone: Gone | None = None
    tokens: int = 0
    joules: float = 0.0


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
                        raise ApiError(499, "the client went away")
        finally:
            await self.close()
        return piece.completion

    async def close(self) -> None:
        """Cancel what has not come yet, so that it is accounted for now, not when it is collected."""
        await self.rest.aclose()


async def _next(pieces: AsyncGenerator[Piece], gone: Gone) -> Piece:
    """The next piece, unless the client goes before it comes; then the answer is cancelled. Raises Refusal."""
    task = asyncio.ensure_future(anext(pieces))
    try:
        return await unless_gone(task, gone)
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await task


class InferenceService:
    """Takes requests."""

    def __init__(self, pool: ModelPool, runner: Scheduler, ledger: UsageLog, counter: Counter, *, most_waiting: int, deadline_s: float,
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
        #: rendering and counting; vectors, one request at a time; what is read and searched of documents
        self.work, self.embedding, self.reading = Work(max(2, len(os.sched_getaffinity(0)))), Work(1), Work(2)
        self._unwritten: list[Used] = []
        #: whether the database did not take what was written last
        self._refused = False

    async def answer(self, key: Key, dialogue: ChatRequest, gone: Gone) -> Answer:
        """Begin an answer, and wait for the first of it. Raises Refusal, FreeholdError."""
        self._admit(key, dialogue.model)
        arrived = time.monotonic()
        deadline = arrived + self.deadline_s if self.deadline_s else None
        span = self.traces.begin("chat" if dialogue.prompt is None else "text_completion", dialogue.model)
        served = None
        try:
            async with self._deadline():
                served = await self.pool.hold(dialogue.model)
                ask = await self.work.run(
                    lambda: ask_of(
                        dialogue, served.prompting, served.form, served.choices, served.engine.longest, served.adapter
                    ),
                    gone,
                )  # fmt: skip
            if len(ask.tokens) + ask.max_tokens > served.engine.longest:
                raise ApiError(
                    400, f"a prompt of {len(ask.tokens)} tokens and an answer of up to {ask.max_tokens} exceed the context of "
                    f"{served.engine.longest} tokens", "context_length_exceeded",
                )  # fmt: skip
            expected = len(ask.tokens) + ask.max_tokens
            self.limiter.expect(key, expected)  # last: what fails before has taken nothing
        except BaseException:
            if served is not None:
                self.pool.let_go(served)
            self.limiter.leave(key, 0)
            self.traces.end(span, "error", 0)
            raise
        ask = replace(ask, scope=scope_of(key, self.pool.terms.sharing))
        begun, held = False, served

        def ended(outcome: Outcome) -> None:
            """Account for the answer: called once, however it ends."""
            done = outcome.completion
            self.limiter.leave(key, done.prompt_tokens + len(done.tokens) if done else 0, expected)
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

    def _late(self) -> ApiError:
        return ApiError(504, f"the answer took longer than {self.deadline_s:g} s", "timeout")

    def permit(self, key: Key, model: str) -> None:
        """Raises Refusal where the key may not ask the model, or nobody serves it."""
        if not key.opens(model):
            raise ApiError(403, f"this key may not ask {model[:200]!r}", "model_not_allowed")
        if model not in self.pool.names:
            names = (
                ", ".join([name for name in self.pool.names if key.opens(name)][:8])
                or "no model of this key's"
            )
            raise ApiError(
                404, f"the model {model[:200]!r} is not served here; there is {names}", "model_not_found"
            )

    def first(self, key: Key) -> str:
        """The model that is meant where none is named. Raises Refusal."""
        for name in self.pool.names:
            if key.opens(name) and not self.pool.embeds(name):
                return name
        raise ApiError(
            403, "none of the models that answer here may be asked with this key", "model_not_allowed"
        )

    @property
    def waiting(self) -> int:
        """Requests that wait, for an engine or for a thread."""
        return self.runner.waiting + sum(work.waiting for work in (self.work, self.embedding, self.reading))

    def _admit(self, key: Key, model: str) -> None:
        """Let a request in; whoever calls this lets it out of the limiter again. Raises Refusal."""
        if self.draining:
            raise ApiError(503, "the server is shutting down", "overloaded", 5.0)
        if reason := self.runner.health.reason:
            raise ApiError(503, f"no answers at the moment: {reason}", "overloaded", 5.0)
        self.permit(key, model)
        self.limiter.enter(key, self.waiting)

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Raises Refusal where the block takes longer than an answer may."""
        try:
            async with asyncio.timeout(self.deadline_s or None):
                yield
        except TimeoutError:
            raise self._late() from None

    @asynccontextmanager
    async def visit(self, key: Key, model: str, gone: Gone | None = None) -> AsyncIterator[Visit]:
        """What every request but an answer does with a model happens in this block: it may, it fits into the key's
        limits and the queue, it ends in time, and it is accounted for. Raises Refusal."""
        self._admit(key, model)
        visit, began, status = Visit(key, model, gone), time.monotonic(), "error"
        try:
            async with self._deadline():
                yield visit
            status = "ok"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        except ApiError as refusal:
            status = "cancelled" if refusal.status == 499 else "error"
            raise
        finally:
            self.limiter.leave(key, visit.tokens)
            seconds = time.monotonic() - began
            self.metrics.tokens.labels(model, "prompt").inc(visit.tokens)
            used = Used(time.time(), key.name, model, visit.tokens, 0, 0, 0.0, seconds, status, visit.joules)
            self._book(used, seconds)

    async def tokens(
        self, key: Key, model: str, tokens_of: Callable[[Served], list[int]], gone: Gone | None = None
    ) -> list[int]:
        """The tokens of something, by a function that runs in a thread. Raises Refusal, FreeholdError."""
        async with self.visit(key, model, gone) as visit, self.pool.lease(model) as served:
            tokens = await self.work.run(lambda: tokens_of(served), gone)
            visit.tokens = len(tokens)
            return tokens

    async def count(self, key: Key, dialogue: ChatRequest, gone: Gone | None = None) -> int:
        """Tokens of a prompt. Raises Refusal, FreeholdError."""
        return len(
            await self.tokens(
                key, dialogue.model, lambda served: tokens_of(dialogue, served.prompting, served.form), gone
            )
        )

    async def text(self, key: Key, model: str, tokens: Sequence[int], gone: Gone | None = None) -> str:
        """The text of tokens. Raises Refusal, FreeholdError."""
        async with self.visit(key, model, gone) as visit, self.pool.lease(model) as served:
            size = served.engine.vocabulary.size
            if any(not 0 <= token < size for token in tokens):
                raise ApiError(400, f"tokens: they are numbers from 0 to {size - 1}")
            visit.tokens = len(tokens)
            return await self.work.run(lambda: served.prompting.vocabulary.decode(tokens), gone)

    async def embed(
        self, key: Key, model: str, texts: Sequence[str], *, cut: bool = False, gone: Gone | None = None
    ) -> Embedded:
        """A vector for each text. Raises Refusal, FreeholdError."""
        trace, status, tokens = self.traces.begin("embeddings", model), "error", 0
        try:
            async with self.visit(key, model, gone) as visit:
                embedded = await self.vectors(visit, texts, cut=cut)
                tokens, status = embedded.tokens, "ok"
                return embedded
        finally:
            self.traces.end(trace, status, tokens)

    async def vectors(self, visit: Visit, texts: Sequence[str], *, cut: bool = False) -> Embedded:
        """A vector for each text, for a request that is here. Raises Refusal, FreeholdError."""
        async with self.pool.lease_embedder(visit.model) as embedder:

            def embedded() -> Embedded:
                span = self.counter.begin()
                try:
                    return embedder.embed(texts, cut=cut)
                finally:
                    visit.joules += self.counter.end(span)

            made = await self.embedding.run(embedded, visit.gone)
            visit.tokens += made.tokens
            return made

    def close(self) -> None:
        """End the threads after what they do now."""
        for work in (self.work, self.embedding, self.reading):
            work.close()

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
        metrics.guesses.labels(model, "offered").inc(done.drafted)
        metrics.guesses.labels(model, "right").inc(done.accepted)
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
        """Write usage every :data:`WRITTEN_EVERY` seconds until cancelled, and once more then.

        What the database does not take (the disk is full, another writes for too long) is kept and tried again.
        """
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
        except (SQLAlchemyError, FreeholdError, OSError) as error:
            self._unwritten = rows + self._unwritten
            if not self._refused:
                log.error("usage cannot be written, and is kept until it can be: %s", error)
            self._refused = True
        else:
            if self._refused:
                log.warning("usage is written again")
            self._refused = False

    async def drain(self, seconds: float) -> None:
        """Take nothing more in, and wait for what is under way."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.runner.under_way:
                    await asyncio.sleep(0.05)
