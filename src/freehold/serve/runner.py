"""One thread owns the engine; requests come in and text goes out through queues."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from freehold.engines.interface import Completion, Request
from freehold.engines.llama import LlamaEngine
from freehold.errors import FreeholdError


@dataclass(frozen=True)
class Piece:
    """Text that came since the last piece; the completion with the last one, or what went wrong."""

    text: str
    completion: Completion | None = None
    error: FreeholdError | None = None


@dataclass
class _Listener:
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Piece]
    sent: str = ""

    def send(self, piece: Piece) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, piece)


class Runner:
    """Feeds an engine from any number of clients; :meth:`close` ends the thread."""

    def __init__(self, engine: LlamaEngine):
        self.engine = engine
        self._numbers = itertools.count()
        self._inbox: deque[tuple[int, Request | None, _Listener | None]] = deque()
        self._wake = threading.Condition()
        self._listeners: dict[int, _Listener] = {}
        self._closed = False
        engine.reset()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Pieces of the answer as they come. Leaving the iteration early cancels the request."""
        number = next(self._numbers)
        listener = _Listener(asyncio.get_running_loop(), asyncio.Queue())
        self._post(number, request, listener)
        over = False
        try:
            while not over:
                piece = await listener.queue.get()
                over = piece.completion is not None or piece.error is not None
                yield piece
        finally:
            if not over:
                self._post(number, None, None)

    def _post(self, number: int, request: Request | None, listener: _Listener | None) -> None:
        with self._wake:
            self._inbox.append((number, request, listener))
            self._wake.notify()

    def close(self) -> None:
        """End the thread after the step under way, and free the engine."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()
        self.engine.close()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._inbox and not self.engine.busy and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                arrived = list(self._inbox)
                self._inbox.clear()
            for number, request, listener in arrived:
                self._take(number, request, listener)
            self._step()

    def _take(self, number: int, request: Request | None, listener: _Listener | None) -> None:
        if request is None or listener is None:
            self.engine.cancel(number)
            self._listeners.pop(number, None)
            return
        try:
            self.engine.submit(number, request)
            self._listeners[number] = listener
        except FreeholdError as error:
            listener.send(Piece("", error=error))

    def _step(self) -> None:
        try:
            ended = dict(self.engine.step())
        except FreeholdError as error:
            for listener in self._listeners.values():
                listener.send(Piece("", error=error))
            self._listeners.clear()
            self.engine.reset()
            return
        for number, listener in list(self._listeners.items()):
            completion = ended.get(number)
            text = completion.text if completion else self.engine.partial(number)
            if completion or len(text) > len(listener.sent):
                listener.send(Piece(text[len(listener.sent) :], completion))
                listener.sent = text
            if completion:
                del self._listeners[number]
