"""Between the APIs and the engines: permissions, limits and accounts; every API goes through this
service.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freehold.core.machine import cores
from freehold.costs.energy import Counter
from freehold.costs.usage import UsageLog, Used
from freehold.inference.embeddings import Embedded
from freehold.inference.interface import Completion
from freehold.inference.request import GenerationRequest
from freehold.servers.inference.api_errors import ApiError, api_error_of
from freehold.servers.inference.api_keys import Key, scope_of
from freehold.servers.inference.background_work import BackgroundWork, IsDisconnected, unless_disconnected
from freehold.servers.inference.chat_request import ChatRequest, generation_request, prompt_tokens
from freehold.servers.inference.metrics import Metrics
from freehold.servers.inference.model_pool import LeasedModel, ModelPool
from freehold.servers.inference.prompt_log import PromptLog
from freehold.servers.inference.rate_limits import Limiter
from freehold.servers.inference.scheduler import DeadlineExceeded, Outcome, Piece, Scheduler
from freehold.servers.inference.traces import Traces
from freehold.servers.inference.usage_writer import UsageWriter

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@dataclass(frozen=True)
class Client:
    """Who sends a request."""

    key: Key
    #: says whether the client has left; None where nobody looks
    is_disconnected: IsDisconnected | None = None


@dataclass
class RequestContext:
    """A request that was let in, and what it has used so far."""

    client: Client
    model: str
    tokens: int = 0
    joules: float = 0.0


@dataclass
class AnswerTask:
    """An answer from the moment when its prompt is ready until it is accounted for."""

    client: Client
    chat: ChatRequest
    #: the model, held in memory for this answer
    leased: LeasedModel
    request: GenerationRequest
    #: when the request came, and when its answer must have ended (None: no limit), in monotonic seconds
    arrived: float
    deadline: float | None
    span: Span | None
    #: whether the scheduler has it, which then ends it
    started: bool = False

    @property
    def expected_tokens(self) -> int:
        """The most tokens that prompt and answer may take."""
        return len(self.request.tokens) + self.request.max_tokens


@dataclass
class Answer:
    """An answer whose first piece has come. Errors between pieces are raised as ApiError."""

    #: the model that answers
    leased: LeasedModel
    prompt_tokens: int
    first: Piece
    #: the pieces after the first; can be iterated once
    rest: AsyncGenerator[Piece]

    async def pieces(self) -> AsyncIterator[Piece]:
        """Every piece."""
        yield self.first
        async for piece in self.rest:
            yield piece

    async def completion(self, is_disconnected: IsDisconnected | None) -> Completion:
        """The whole answer; it is cancelled when the client leaves. Raises ApiError."""
        piece, checked = self.first, time.monotonic()
        try:
            while piece.completion is None:
                piece = await _next(self.rest, is_disconnected)
                if time.monotonic() - checked > 0.5:
                    checked = time.monotonic()
                    if piece.completion is None and is_disconnected is not None and await is_disconnected():
                        raise ApiError(499, "the client went away")
        finally:
            await self.close()
        return piece.completion

    async def close(self) -> None:
        """Cancel what has not come yet, so that it is accounted for now, not when it is collected."""
        await self.rest.aclose()


async def _next(pieces: AsyncGenerator[Piece], is_disconnected: IsDisconnected | None) -> Piece:
    """The next piece; the answer is cancelled if the client leaves before it comes. Raises ApiError."""
    task = asyncio.ensure_future(anext(pieces))
    try:
        return await unless_disconnected(task, is_disconnected)
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await task


class InferenceService:
    """Answers requests with the models of a pool, within the limits of keys, queue and deadline."""

    def __init__(
        self,
        pool: ModelPool,
        scheduler: Scheduler,
        usage_log: UsageLog,
        energy: Counter,
        *,
        queue_length: int,
        deadline_s: float,
        traces: Traces | None = None,
        prompt_log: PromptLog | None = None,
    ):
        self.pool, self.scheduler, self.usage_log, self.energy = pool, scheduler, usage_log, energy
        self.limiter, self.deadline_s = Limiter(queue_length), deadline_s
        self.traces, self.prompt_log = traces or Traces(), prompt_log or PromptLog()
        self.metrics = Metrics(scheduler, pool)
        self.usage_writer = UsageWriter(usage_log)
        self.draining = False
        #: rendering and counting; vectors, one request at a time; reading and searching documents
        self.work = BackgroundWork(max(2, cores()))
        self.embedding, self.reading = BackgroundWork(1), BackgroundWork(2)

    # -- who may ask, and when ----------------------------------------------------------------

    def permit(self, key: Key, model: str) -> None:
        """Raises ApiError if the key may not use the model, or the model is not served."""
        if not key.may_use(model):
            raise ApiError(403, f"this key may not use {model[:200]!r}", "model_not_allowed")
        if model not in self.pool.names:
            names = [name for name in self.pool.names if key.may_use(name)][:8]
            available = ", ".join(names) or "none that this key may use"
            message = f"the model {model[:200]!r} is not served here; available: {available}"
            raise ApiError(404, message, "model_not_found")

    def default_model(self, key: Key) -> str:
        """The model to use where a request names none. Raises ApiError."""
        for name in self.pool.names:
            if key.may_use(name) and not self.pool.embeds(name):
                return name
        raise ApiError(403, "this key may use none of the models that answer here", "model_not_allowed")

    @property
    def waiting(self) -> int:
        """Requests that wait for an engine or a thread."""
        return self.scheduler.waiting + sum(
            work.waiting for work in (self.work, self.embedding, self.reading)
        )

    def _enter(self, key: Key, model: str) -> None:
        """Let a request in; the caller must call ``limiter.leave`` afterwards. Raises ApiError."""
        if self.draining:
            raise ApiError(503, "the server is shutting down", "overloaded", 5.0)
        if reason := self.scheduler.health.reason:
            raise ApiError(503, f"the server cannot answer at the moment: {reason}", "overloaded", 5.0)
        self.permit(key, model)
        self.limiter.enter(key, self.waiting)

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Raises ApiError where the block takes longer than an answer may."""
        try:
            async with asyncio.timeout(self.deadline_s or None):
                yield
        except TimeoutError:
            raise self._too_late() from None

    def _too_late(self) -> ApiError:
        return ApiError(504, f"the answer took longer than {self.deadline_s:g} s", "timeout")

    # -- answers ------------------------------------------------------------------------------

    async def answer(self, client: Client, chat: ChatRequest) -> Answer:
        """Begin an answer, and wait for its first piece. Raises ApiError, FreeholdError."""
        self._enter(client.key, chat.model)
        span = self.traces.begin("chat" if chat.prompt is None else "text_completion", chat.model)
        try:
            task = await self._prepare(client, chat, span)
        except BaseException:
            self.limiter.leave(client.key, 0)
            self.traces.end(span, "error", 0)
            raise
        pieces = self._pieces(task)
        try:
            first = await _next(pieces, client.is_disconnected)
            return Answer(task.leased, len(task.request.tokens), first, pieces)
        finally:
            if not task.started:  # the client left before it could start
                self._end(task, Outcome("cancelled"))

    async def _prepare(self, client: Client, chat: ChatRequest, span: Span | None) -> AnswerTask:
        """Have the model in memory and the prompt as tokens. Raises ApiError, FreeholdError."""
        arrived = time.monotonic()
        async with self._deadline():
            leased = await self.pool.acquire(chat.model)
            try:
                request = await self.work.run(lambda: _request_for(leased, chat), client.is_disconnected)
                _check_length(request, leased.engine.longest)
                deadline = arrived + self.deadline_s if self.deadline_s else None
                scoped = replace(request, scope=scope_of(client.key, self.pool.options.sharing))
                task = AnswerTask(client, chat, leased, scoped, arrived, deadline, span)
                # last: a request that fails before has taken none of the key's tokens
                self.limiter.expect(client.key, task.expected_tokens)
                return task
            except BaseException:
                self.pool.release(leased)
                raise

    async def _pieces(self, task: AnswerTask) -> AsyncGenerator[Piece]:
        task.started = True
        stream = self.scheduler.stream(
            task.leased.engine,
            task.request,
            key=task.client.key.name,
            priority=task.client.key.limits.priority,
            deadline=task.deadline,
            on_end=lambda outcome: self._end(task, outcome),
        )
        try:
            async for piece in stream:
                if isinstance(piece.error, DeadlineExceeded):
                    raise self._too_late()
                if piece.error is not None:
                    raise api_error_of(piece.error)
                yield piece
        finally:
            await stream.aclose()

    def _end(self, task: AnswerTask, outcome: Outcome) -> None:
        """Account for an answer: called once, however it ends."""
        key, model, completion = task.client.key, task.chat.model, outcome.completion
        tokens = completion.prompt_tokens + len(completion.tokens) if completion else 0
        self.limiter.leave(key, tokens, task.expected_tokens)
        prompt_tokens = completion.prompt_tokens if completion else 0
        self.traces.end(task.span, outcome.status, prompt_tokens, completion)
        if completion is not None:
            self.metrics.count_answer(model, completion)
        self._book(_used(key, model, outcome), time.monotonic() - task.arrived)
        self.pool.release(task.leased)
        self.prompt_log.write(key.name, task.chat, completion, outcome.status)

    # -- everything else ------------------------------------------------------------------------

    @asynccontextmanager
    async def admit(self, client: Client, model: str) -> AsyncIterator[RequestContext]:
        """The block in which a request uses a model, for all requests but answers: permission, limits,
        queue and deadline are checked, and it is accounted for. Raises ApiError.
        """
        self._enter(client.key, model)
        context, began, status = RequestContext(client, model), time.monotonic(), "error"
        try:
            async with self._deadline():
                yield context
            status = "ok"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        except ApiError as error:
            status = "cancelled" if error.status == 499 else "error"
            raise
        finally:
            self.limiter.leave(client.key, context.tokens)
            self._book_context(context, status, time.monotonic() - began)

    async def tokens(
        self, client: Client, model: str, tokenize: Callable[[LeasedModel], list[int]]
    ) -> list[int]:
        """The tokens that ``tokenize`` returns; it runs in a thread. Raises ApiError, FreeholdError."""
        async with self.admit(client, model) as context, self.pool.lease(model) as leased:
            tokens = await self.work.run(lambda: tokenize(leased), client.is_disconnected)
            context.tokens = len(tokens)
            return tokens

    async def count(self, client: Client, chat: ChatRequest) -> int:
        """Tokens of a prompt. Raises ApiError, FreeholdError."""
        tokens = await self.tokens(
            client, chat.model, lambda leased: prompt_tokens(chat, leased.encoder, leased.form)
        )
        return len(tokens)

    async def text(self, client: Client, model: str, tokens: Sequence[int]) -> str:
        """The text of tokens. Raises ApiError, FreeholdError."""
        async with self.admit(client, model) as context, self.pool.lease(model) as leased:
            size = leased.engine.vocabulary.size
            if any(not 0 <= token < size for token in tokens):
                raise ApiError(400, f"tokens: this model's tokens are numbers from 0 to {size - 1}")
            context.tokens = len(tokens)
            return await self.work.run(
                lambda: leased.encoder.vocabulary.decode(tokens), client.is_disconnected
            )

    async def embed(
        self, client: Client, model: str, texts: Sequence[str], *, truncate: bool = False
    ) -> Embedded:
        """A vector for each text. Raises ApiError, FreeholdError."""
        span, status, tokens = self.traces.begin("embeddings", model), "error", 0
        try:
            async with self.admit(client, model) as context:
                embedded = await self.vectors(context, texts, truncate=truncate)
                tokens, status = embedded.tokens, "ok"
                return embedded
        finally:
            self.traces.end(span, status, tokens)

    async def vectors(
        self, context: RequestContext, texts: Sequence[str], *, truncate: bool = False
    ) -> Embedded:
        """A vector for each text, for a request that was let in. Raises ApiError, FreeholdError."""
        async with self.pool.lease_embedder(context.model) as embedder:

            def embed() -> Embedded:
                span = self.energy.begin()
                try:
                    return embedder.embed(texts, cut=truncate)
                finally:
                    context.joules += self.energy.end(span)

            embedded = await self.embedding.run(embed, context.client.is_disconnected)
            context.tokens += embedded.tokens
            return embedded

    # -- accounts and end -----------------------------------------------------------------------

    def _book_context(self, context: RequestContext, status: str, seconds: float) -> None:
        key, model = context.client.key.name, context.model
        self.metrics.tokens.labels(model, "prompt").inc(context.tokens)
        row = Used(time.time(), key, model, context.tokens, 0, 0, 0.0, seconds, status, context.joules)
        self._book(row, seconds)

    def _book(self, row: Used, seconds: float) -> None:
        """Count a request that has ended, ``seconds`` after it arrived."""
        self.metrics.count_request(row.model, row.status, seconds)
        self.usage_writer.add(row)

    async def drain(self, seconds: float) -> None:
        """Let nothing more in, and wait up to ``seconds`` for what is in progress."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.scheduler.in_progress:
                    await asyncio.sleep(0.05)

    def close(self) -> None:
        """End the threads after what they do now."""
        for work in (self.work, self.embedding, self.reading):
            work.close()


def _request_for(leased: LeasedModel, chat: ChatRequest) -> GenerationRequest:
    return generation_request(
        chat, leased.encoder, leased.form, leased.choices, leased.engine.longest, leased.adapter
    )


def _check_length(request: GenerationRequest, longest: int) -> None:
    """Raises ApiError where prompt and answer do not fit into the context."""
    if len(request.tokens) + request.max_tokens > longest:
        raise ApiError(
            400,
            f"a prompt of {len(request.tokens)} tokens and an answer of up to {request.max_tokens} "
            f"exceed the context of {longest} tokens",
            "context_length_exceeded",
        )


def _used(key: Key, model: str, outcome: Outcome) -> Used:
    """The row of the usage log for an answer."""
    completion = outcome.completion
    if completion is None:
        return Used(time.time(), key.name, model, 0, 0, 0, 0.0, 0.0, outcome.status)
    return Used(
        time.time(),
        key.name,
        model,
        completion.prompt_tokens,
        completion.reused,
        len(completion.tokens),
        completion.first_token_s,
        completion.total_s,
        outcome.status,
        completion.joules,
    )
