"""Work that requests need besides the engine's: rendering, counting tokens, reading and searching
documents.

It runs in a few threads, never on the event loop, and its queue is limited. When the client leaves or the
deadline passes, the work is told to stop, and the request waits until it has: only then may a model be
closed.
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
#: Says whether the client has left.
IsDisconnected = Callable[[], Awaitable[bool]]
#: Seconds between two checks whether the client is still connected.
_CHECK_S = 0.5


class BackgroundWork:
    """Runs up to ``threads`` functions at once; used from the event loop."""

    def __init__(self, threads: int):
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "work")
        self._under_way = 0

    @property
    def waiting(self) -> int:
        """Functions that no thread has begun."""
        return max(0, self._under_way - self._threads)

    async def run(self, function: Callable[[], T], is_disconnected: IsDisconnected | None = None) -> T:
        """The function's result. Raises ApiError when the client leaves, and whatever the function
        raises.
        """
        stop = threading.Event()

        def stoppable() -> T:
            with limited_process.until(stop.is_set):
                limited_process.check()
                return function()

        context = contextvars.copy_context()
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, context.run, stoppable)
        try:
            return await unless_disconnected(future, is_disconnected)
        finally:
            stop.set()
            await _ended(future)
            self._under_way -= 1

    def close(self) -> None:
        """End the threads after what they do now."""
        self._pool.shutdown(wait=True, cancel_futures=True)


async def unless_disconnected(future: asyncio.Future[T], is_disconnected: IsDisconnected | None) -> T:
    """The future's result. Raises ApiError when the client leaves first; the caller must then end the
    future.
    """
    while not future.done():
        await asyncio.wait({future}, timeout=_CHECK_S)
        if not future.done() and is_disconnected is not None and await is_disconnected():
            raise ApiError(499, "the client went away")
    return future.result()


async def _ended(future: asyncio.Future[T]) -> None:
    """Wait for the end of work, even when the waiting task is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if not future.cancelled():
        future.exception()  # marks it as seen when the client has left
    if cancelled is not None:
        raise cancelled
