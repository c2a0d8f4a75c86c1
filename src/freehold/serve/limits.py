"""What each key may have in a minute and at once, and how many may wait in all."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

from freehold.serve.keys import Key
from freehold.serve.refusals import Refusal

_WINDOW = 60.0


class Limiter:
    """Counts by key. Used from one thread."""

    def __init__(self, most_waiting: int, clock: Callable[[], float] = time.monotonic):
        self.most_waiting, self._clock = most_waiting, clock
        self._requests: defaultdict[str, deque[float]] = defaultdict(deque)
        self._tokens: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._now: defaultdict[str, int] = defaultdict(int)

    def enter(self, key: Key, waiting: int) -> None:
        """Let a request in. Raises Refusal with the seconds to wait."""
        now, limits, name = self._clock(), key.limits, key.name
        requests, tokens = self._requests[name], self._tokens[name]
        while requests and requests[0] <= now - _WINDOW:
            requests.popleft()
        while tokens and tokens[0][0] <= now - _WINDOW:
            tokens.popleft()
        if waiting >= self.most_waiting:
            raise Refusal(429, f"{waiting} requests wait already; try again later", "overloaded", 2.0)
        if limits.requests_per_minute and len(requests) >= limits.requests_per_minute:
            raise Refusal(
                429,
                f"this key may send {limits.requests_per_minute} requests a minute",
                "rate_limit_exceeded",
                requests[0] + _WINDOW - now,
            )
        if limits.tokens_per_minute and sum(count for _, count in tokens) >= limits.tokens_per_minute:
            raise Refusal(
                429,
                f"this key may have {limits.tokens_per_minute} tokens a minute",
                "rate_limit_exceeded",
                tokens[0][0] + _WINDOW - now,
            )
        if limits.concurrent and self._now[name] >= limits.concurrent:
            raise Refusal(
                429,
                f"this key may have {limits.concurrent} requests under way at once",
                "rate_limit_exceeded",
                1.0,
            )
        requests.append(now)
        self._now[name] += 1

    def leave(self, key: Key, tokens: int) -> None:
        """A request has ended after so many tokens of prompt and answer."""
        self._now[key.name] -= 1
        if tokens:
            self._tokens[key.name].append((self._clock(), tokens))
