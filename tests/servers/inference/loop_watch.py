"""Which callbacks of event loops compute for long: asyncio's debug hook, by the thread's own processor
time, so that a busy machine changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

#: Seconds of processor time that one callback may take. Ten megabytes of JSON take a part of that.
MOST_S = 1.0


@contextlib.contextmanager
def watched(most_s: float = MOST_S) -> Iterator[list[str]]:
    """A list that fills with callbacks that took longer, in any loop, while the block runs."""
    slow: list[str] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        took = time.thread_time() - began
        if took > most_s:
            slow.append(f"{took:.1f} s: {handle!r}"[:600])

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    try:
        yield slow
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
