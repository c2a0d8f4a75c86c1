"""Clients' grammars, compiled in processes with limits (limited.py).

A grammar of a few hundred bytes can take minutes or many gigabytes to compile, and llguidance ends its process where memory runs out. So each
is first compiled in such a process; what passed there costs the server no more. One whose client leaves is stopped.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from dataclasses import asdict
from weakref import WeakValueDictionary

from freehold.core import limited_process
from freehold.core.errors import UsageError
from freehold.inference.grammar import Source, check_size
from freehold.servers.inference.background_work import Work

#: What a grammar may take; memory is beyond that of an idle process.
BOUNDS = limited_process.Bounds(cpu_s=5.0, wall_s=30.0, memory_bytes=512 << 20)
#: Grammars that are compiled at once; one owner has one of them at a time.
WORKERS = 2
#: Characters of grammars that are kept, as they came and compiled.
KEPT = 8 << 20


class Compiler:
    """Compiles grammars for one event loop. What one owner's grammars cost, and which are known, another does not notice."""

    def __init__(self) -> None:
        self._work = Work(WORKERS)
        self._processes = limited_process.Workers(
            "freehold.inference.grammar_process:compiled", BOUNDS, WORKERS
        )
        #: an owner's turn, while it has a grammar compiled or waits for that
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._known: OrderedDict[tuple[str, Source], str] = OrderedDict()

    async def compiled(self, source: Source, owner: str = "") -> str:
        """llguidance's form of a grammar. Raises UsageError, Busy; cancelled, it ends the work."""
        check_size(source.text)
        place = owner, source
        if place in self._known:
            self._known.move_to_end(place)
            return self._known[place]
        async with self._turns.setdefault(owner, asyncio.Lock()):
            # the one before it may have been the same
            grammar = self._known.get(place) or await self._work.run(lambda: self._asked(source))
            self._keep(place, grammar)
        return grammar

    def _asked(self, source: Source) -> str:
        """What a process says of it. Raises UsageError, Busy."""
        try:
            return self._processes.call(json.dumps(asdict(source)).encode()).decode()
        except limited_process.Exceeded:
            raise UsageError(
                f"the answer's form takes more than {BOUNDS.cpu_s:g} s or {BOUNDS.memory_bytes >> 20} MiB to compile",
                "simplify the schema or grammar",
            ) from None

    def _keep(self, place: tuple[str, Source], grammar: str) -> None:
        self._known[place] = grammar
        self._known.move_to_end(place)
        while sum(len(source.text) + len(known) for (_, source), known in self._known.items()) > KEPT:
            self._known.popitem(last=False)

    def close(self) -> None:
        """End the processes; from any thread."""
        self._work.close()
        self._processes.close()
