"""Work that a request needs beside the engine's: rendering, counting tokens, reading documents, searching.

It runs in a few threads, never on the event loop, and no more waits than a server lets wait. When the client leaves or
the time is over the work is told to end, and whoever asked waits until it has: a model may be closed only then, and
the request counts as under way until then.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from freehold.core import limited_process
from freehold.servers.inference.api_errors import ApiError

T = TypeVar("T")
#: Says whether the client has gone.
Gone = Callable[[], Awaitable[bool]]
#: Seconds between two looks at whether the client is still there.
_LOOK_S = 0.5


class Work:
    """Up to ``threads`` pieces of work at once; used from the event loop."""

    def __init__(self, threads: int):
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "work")
        self._under_way = 0

    @property
    def waiting(self) -> int:
        """Pieces of work that no thread has begun."""
        return max(0, self._under_way - self._threads)

    async def run(self, function: Callable[[], T], gone: Gone | None = None) -> T:
        """What the function gives. Raises Refusal when the client goes, and whatever the function raises."""
        stop = threading.Event()

        def worked() -> T:
            with limited_process.until(stop.is_set):
                limited_process.check()
                return function()

        context = contextvars.copy_context()
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, context.run, worked)
        try:
            return await unless_gone(future, gone)
        finally:
            stop.set()
            await _ended(future)
            self._under_way -= 1

    def close(self) -> None:
        """End the threads after what they do now."""
        self._pool.shutdown(wait=True, cancel_futures=True)


async def unless_gone(future: asyncio.Future[T], gone: Gone | None) -> T:
    """What the future gives. Raises Refusal when the client goes first; to end the future is the caller's part."""
    while not future.done():
        await asyncio.wait({future}, timeout=_LOOK_S)
        if not future.done() and gone is not None and await gone():
            raise ApiError(499, "the client went away")
    return future.result()


async def _ended(future: asyncio.Future[T]) -> None:
    """Wait for the end of work, also when whoever waits is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if not future.cancelled():
        future.exception()  # seen: nobody else asks for it when the client has gone
    if cancelled is not None:
        raise cancelled
