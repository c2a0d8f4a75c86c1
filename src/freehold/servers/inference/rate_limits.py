"""Limits of each key, in a minute and at once, and of the queue."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

from freehold.core.wording import counted
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_keys import Key

_WINDOW = 60.0


class Limiter:
    """Counts by key. Used from one thread."""

    def __init__(self, queue_length: int, clock: Callable[[], float] = time.monotonic):
        self.queue_length, self._clock = queue_length, clock
        self._requests: defaultdict[str, deque[float]] = defaultdict(deque)
        self._tokens: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._running: defaultdict[str, int] = defaultdict(int)
        self._expected: defaultdict[str, int] = defaultdict(int)

    def enter(self, key: Key, waiting: int) -> None:
        """Let a request in. Raises ApiError with the seconds to wait."""
        now, limits, name = self._clock(), key.limits, key.name
        requests, tokens = self._requests[name], self._tokens[name]
        while requests and requests[0] <= now - _WINDOW:
            requests.popleft()
        while tokens and tokens[0][0] <= now - _WINDOW:
            tokens.popleft()
        if waiting >= self.queue_length:
            raise ApiError(429, f"the queue is full ({waiting} waiting); try again later", "overloaded", 2.0)
        if limits.requests_per_minute and len(requests) >= limits.requests_per_minute:
            raise ApiError(
                429,
                f"this key may send at most {counted(limits.requests_per_minute, 'request')} a minute",
                "rate_limit_exceeded",
                requests[0] + _WINDOW - now,
            )
        self._check_tokens(key)
        if limits.concurrent and self._running[name] >= limits.concurrent:
            raise ApiError(
                429,
                f"this key may have at most {counted(limits.concurrent, 'request')} at the same time",
                "rate_limit_exceeded",
                1.0,
            )
        requests.append(now)
        self._running[name] += 1

    def _check_tokens(self, key: Key) -> None:
        """Raises ApiError where the key has used its tokens, or its requests in progress may use them."""
        most, tokens = key.limits.tokens_per_minute, self._tokens[key.name]
        if most and sum(count for _, count in tokens) + self._expected[key.name] >= most:
            wait_s = tokens[0][0] + _WINDOW - self._clock() if tokens else 1.0
            raise ApiError(
                429,
                f"this key may use at most {counted(most, 'token')} a minute, requests in progress included",
                "rate_limit_exceeded",
                wait_s,
            )

    def expect(self, key: Key, tokens: int) -> None:
        """Reserve tokens of prompt and answer for a request that was let in. Raises ApiError where too
        few are left.
        """
        self._check_tokens(key)
        self._expected[key.name] += tokens

    def leave(self, key: Key, tokens: int, expected: int = 0) -> None:
        """A request has ended after ``tokens`` of prompt and answer; ``expected``: what was reserved for
        it.
        """
        self._running[key.name] -= 1
        self._expected[key.name] -= expected
        if tokens:
            self._tokens[key.name].append((self._clock(), tokens))
