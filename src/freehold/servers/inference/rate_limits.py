"""What each key may have in a minute and at once, and how many may wait in all."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_keys import Key

_WINDOW = 60.0


class Limiter:
    """Counts by key. Used from one thread."""

    def __init__(self, most_waiting: int, clock: Callable[[], float] = time.monotonic):
        self.most_waiting, self._clock = most_waiting, clock
        self._requests: defaultdict[str, deque[float]] = defaultdict(deque)
        self._tokens: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._now: defaultdict[str, int] = defaultdict(int)
        self._expected: defaultdict[str, int] = defaultdict(int)

    def enter(self, key: Key, waiting: int) -> None:
        """Let a request in. Raises Refusal with the seconds to wait."""
        now, limits, name = self._clock(), key.limits, key.name
        requests, tokens = self._requests[name], self._tokens[name]
        while requests and requests[0] <= now - _WINDOW:
            requests.popleft()
        while tokens and tokens[0][0] <= now - _WINDOW:
            tokens.popleft()
        if waiting >= self.most_waiting:
            raise ApiError(429, f"{waiting} requests wait already; try again later", "overloaded", 2.0)
        if limits.requests_per_minute and len(requests) >= limits.requests_per_minute:
            raise ApiError(
                429,
                f"this key may send {limits.requests_per_minute} requests a minute",
                "rate_limit_exceeded",
                requests[0] + _WINDOW - now,
            )
        self._check_tokens(key)
        if limits.concurrent and self._now[name] >= limits.concurrent:
            raise ApiError(
                429,
                f"this key may have {limits.concurrent} requests under way at once",
                "rate_limit_exceeded",
                1.0,
            )
        requests.append(now)
        self._now[name] += 1

    def _check_tokens(self, key: Key) -> None:
        """Raises Refusal where the key has had its tokens, or those under way may take them."""
        most, tokens = key.limits.tokens_per_minute, self._tokens[key.name]
        if most and sum(count for _, count in tokens) + self._expected[key.name] >= most:
            wait_s = tokens[0][0] + _WINDOW - self._clock() if tokens else 1.0
            raise ApiError(
                429,
                f"this key may have {most} tokens a minute, those that its requests under way may take included",
                "rate_limit_exceeded",
                wait_s,
            )

    def expect(self, key: Key, tokens: int) -> None:
        """A request that is in may take so many tokens of prompt and answer. Raises Refusal where others take the rest."""
        self._check_tokens(key)
        self._expected[key.name] += tokens

    def leave(self, key: Key, tokens: int, expected: int = 0) -> None:
        """A request has ended after so many tokens of prompt and answer; ``expected``: what it might have taken."""
        self._now[key.name] -= 1
        self._expected[key.name] -= expected
        if tokens:
            self._tokens[key.name].append((self._clock(), tokens))
