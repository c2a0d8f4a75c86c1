"""How an engine is opened."""

from __future__ import annotations

from dataclasses import dataclass

#: Finished texts that stay in memory for requests that begin alike.
CACHED_SEQUENCES = 32


@dataclass(frozen=True)
class EngineOptions:
    """Options of :class:`freehold.inference.batch_engine.BatchingEngine`."""

    #: Tokens that all texts in memory may have together.
    context_length: int = 8192
    #: Answers at once.
    parallel: int = 8
    #: Threads; 0: as many as this process may use.
    threads: int = 0
    #: Tokens in one decode call.
    batch: int = 512
    #: Finished texts that stay in memory; 0: none.
    cached_sequences: int = CACHED_SEQUENCES
    #: Use prompt-lookup speculative decoding.
    drafts: bool = True
    #: Give each text ``context_length / sequences`` cells of its own, so that sums do not depend on where
    #: others are.
    separate_cells: bool = False
    #: Keep the cache in 32 bit and leave out flash attention: slower, to compare with other engines.
    exact: bool = False
    #: Layers on graphics cards, the last ones first; None: as many as fit there; 0: none.
    gpu_layers: int | None = None
