"""Clients' grammars, compiled in processes with limits (``core/limited_process.py``).

A grammar of a few hundred bytes can take minutes or gigabytes to compile, and llguidance ends its process
where memory runs out. So each is first compiled in such a process; what passed there is cheap for the
server. The work is stopped when the client leaves.
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
from freehold.servers.inference.background_work import BackgroundWork

#: Limits of one compilation; memory is beyond that of an idle process.
BOUNDS = limited_process.Bounds(cpu_s=5.0, wall_s=30.0, memory_bytes=512 << 20)
#: Grammars that are compiled at once, of one owner one at a time.
WORKERS = 2
#: Characters of grammars in the cache, as they came and compiled.
CACHE_CHARACTERS = 8 << 20


class GrammarCompiler:
    """Compiles grammars for one event loop. Owners do not share queues or cached grammars."""

    def __init__(self) -> None:
        self._work = BackgroundWork(WORKERS)
        self._processes = limited_process.Workers(
            "freehold.inference.grammar_process:compiled", BOUNDS, WORKERS
        )
        #: one lock for each owner that has a grammar compiled or waits for it
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._cache: OrderedDict[tuple[str, Source], str] = OrderedDict()

    async def compiled(self, source: Source, owner: str = "") -> str:
        """llguidance's form of a grammar; the work ends when this is cancelled. Raises UsageError, Busy."""
        check_size(source.text)
        cache_key = owner, source
        if cache_key in self._cache:
            self._cache.move_to_end(cache_key)
            return self._cache[cache_key]
        async with self._locks.setdefault(owner, asyncio.Lock()):
            # the request before may have had the same grammar
            grammar = self._cache.get(cache_key) or await self._work.run(lambda: self._compile(source))
            self._store(cache_key, grammar)
        return grammar

    def _compile(self, source: Source) -> str:
        """Compile in a process with limits. Raises UsageError, Busy."""
        try:
            return self._processes.call(json.dumps(asdict(source)).encode()).decode()
        except limited_process.Exceeded:
            raise UsageError(
                f"the schema or grammar takes more than {BOUNDS.cpu_s:g} s "
                f"or {BOUNDS.memory_bytes >> 20} MiB to compile",
                "simplify the schema or grammar",
            ) from None

    def _store(self, cache_key: tuple[str, Source], grammar: str) -> None:
        self._cache[cache_key] = grammar
        self._cache.move_to_end(cache_key)
        while (
            sum(len(source.text) + len(known) for (_, source), known in self._cache.items())
            > CACHE_CHARACTERS
        ):
            self._cache.popitem(last=False)

    def close(self) -> None:
        """End the processes; may be called from any thread."""
        self._work.close()
        self._processes.close()
