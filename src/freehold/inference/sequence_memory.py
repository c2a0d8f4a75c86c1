"""The texts that an engine has in memory: which one a new prompt can go on from, what is kept after an
answer, and long prompts on disk.

What was computed for a request stays in memory as long as there is room, and a later request that begins
alike, of the same scope and adapter, goes on from it. Long prompts are also kept on disk (prompt_cache.py).
"""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.errors import FreeholdError
from freehold.inference.engine_options import EngineOptions
from freehold.inference.llama import LlamaContext
from freehold.inference.prompt_cache import LEAST_TOKENS, PromptCache, State, shared
from freehold.inference.request import GenerationRequest
from freehold.inference.running import Running
from freehold.inference.sequences import Cells, KvSequence

#: Sequences that llama.cpp allows (``LLAMA_MAX_SEQ``).
MOST_SEQUENCES = 256


class SequenceMemory(LlamaContext):
    """A loaded model whose memory is shared by running requests and cached sequences.

    Raises BadModel, DoesNotFit.
    """

    def __init__(
        self,
        path: Path,
        options: EngineOptions,
        *,
        prompt_cache: PromptCache | None = None,
        on_result: Callable[[int, bool, Any], bool] | None = None,
    ):
        self._sequence_count = min(options.parallel + options.cached_sequences, MOST_SEQUENCES)
        super().__init__(
            path,
            context_length=options.context_length,
            sequences=self._sequence_count,
            threads=options.threads,
            batch=options.batch,
            exact=options.exact,
            separate_cells=options.separate_cells,
            gpu_layers=options.gpu_layers,
            on_result=on_result,
        )
        self.parallel = options.parallel
        # a text that cannot be cut back can neither be shared in part nor take drafts
        self._can_cut = not (
            self._lib.llama_model_is_recurrent(self._model) or self._lib.llama_model_is_hybrid(self._model)
        )
        self.prompt_cache = prompt_cache if self._can_cut else None
        #: Tokens that one text may have.
        self.longest = int(self._lib.llama_n_ctx_seq(self._context))
        self._cells = Cells(self.context_length)
        self._free_ids = list(range(self._sequence_count - 1, -1, -1))
        self._running: list[Running] = []
        #: Finished texts, longest unused first.
        self._cached: list[KvSequence] = []

    # -- what a prompt can take over ------------------------------------------------------------

    def _usable(self, same: int, whole: int, count: int) -> int:
        """How many tokens a prompt of ``count`` can take over from a text that begins with the ``same``
        tokens.

        ``whole``: see :class:`KvSequence`.
        """
        return min(same, count - 1)  # the last is always computed, for its logits

    def _whole(self, count: int) -> int:
        """``whole`` of a prompt of ``count`` tokens once it is read."""
        return count

    def _soon(self, tokens: np.ndarray, request: GenerationRequest) -> int:
        """Tokens that a request which is still read will share with these once it is."""
        if not self._can_cut:
            return 0
        return max(
            (
                self._usable(shared(each.prompt, tokens), self._whole(len(each.prompt)), len(tokens))
                for each in self._running
                if not each.answering and each.sequence.serves(request.adapter, request.scope)
            ),
            default=0,
        )

    def _nearest(self, tokens: np.ndarray, request: GenerationRequest) -> tuple[KvSequence | None, int]:
        """The sequence in memory that most can be taken over from, and how many tokens."""
        adapter, scope = request.adapter, request.scope
        cached = self._best(
            ((each, each.array) for each in self._cached if each.serves(adapter, scope)), tokens
        )
        running = self._best(
            (
                (each.sequence, each.prompt[: len(each.sequence.tokens)])
                for each in self._running
                if each.sequence.serves(adapter, scope)
            ),
            tokens,
        )
        return running if running[1] > cached[1] else cached

    def _best(
        self, candidates: Iterable[tuple[KvSequence, np.ndarray]], tokens: np.ndarray
    ) -> tuple[KvSequence | None, int]:
        best, most = None, 0
        if not self._can_cut:
            return best, most
        for sequence, computed in candidates:
            if len(computed) <= most:
                continue
            usable = self._usable(shared(computed, tokens), sequence.whole, len(tokens))
            if usable > most:
                best, most = sequence, usable
        return best, most

    def _sequence_for(
        self, request: GenerationRequest, tokens: np.ndarray, source: KvSequence | None, reused: int
    ) -> KvSequence | None:
        """A sequence that begins with the ``reused`` tokens of another; None where there is no room yet."""
        if self._running and not self._has_room(len(tokens) - reused + request.max_tokens, source, reused):
            return None
        if not self._free_ids:
            self._drop(next(each for each in self._cached if each is not source))
        sequence = KvSequence(self._free_ids.pop(), request.adapter, request.scope)
        if source is not None and reused:
            self._lib.llama_memory_seq_cp(self._memory, source.id, sequence.id, 0, reused)
            sequence.tokens = source.tokens[:reused]
            sequence.cells = self._cells.share(source.cells[:reused])
            self._mark_used(source)
        return sequence

    # -- room -----------------------------------------------------------------------------------

    def _mark_used(self, sequence: KvSequence) -> None:
        """Count a cached sequence as used last."""
        if sequence in self._cached:
            self._cached.remove(sequence)
            self._cached.append(sequence)

    def _has_room(self, need: int, source: KvSequence | None, reused: int) -> bool:
        """Whether a request's cells fit beside those that running ones have and may still take; cached
        sequences give way.
        """
        pinned = np.zeros(self.context_length, dtype=bool)
        pinned[self._pinned()] = True
        for each in self._running:
            pinned[each.sequence.cells] = True
        if source is not None:
            pinned[source.cells[:reused]] = True
        return (
            int(pinned.sum()) + sum(each.cells_left for each in self._running) + need <= self.context_length
        )

    def _pinned(self) -> list[int]:
        """Cells that stay taken whatever is asked."""
        return []

    def _drop(self, sequence: KvSequence) -> None:
        """Forget a cached sequence."""
        self._cached.remove(sequence)
        self._free(sequence)

    def _free(self, sequence: KvSequence) -> None:
        self._lib.llama_memory_seq_rm(self._memory, sequence.id, -1, -1)
        self._cells.release(sequence.cells)
        self._free_ids.append(sequence.id)

    def _make_room(self, count: int) -> None:
        """Forget cached sequences, longest unused first, until ``count`` cells are free."""
        while self._cells.free < count and self._cached:
            self._drop(self._cached[0])

    def _cut(self, sequence: KvSequence, length: int) -> None:
        """Cut a sequence back to its first ``length`` tokens."""
        if length < len(sequence.tokens):
            self._lib.llama_memory_seq_rm(self._memory, sequence.id, length, -1)
            self._cells.release(sequence.cells[length:])
            del sequence.tokens[length:], sequence.cells[length:]
            sequence.whole = min(sequence.whole, length)

    def _end(self, running: Running) -> None:
        """Take a request out; its sequence is cached for others that begin alike, and replaces those it goes
        on from.
        """
        self._running.remove(running)
        ended = running.sequence
        if not self._can_cut or not ended.tokens:
            self._free(ended)
            return
        ended.array = np.asarray(ended.tokens, dtype=np.int32)
        for each in list(self._cached):
            if each.serves(ended.adapter, ended.scope) and shared(each.array, ended.array) == len(each.array):
                self._drop(each)
        self._cached.append(ended)

    def forget(self) -> None:
        """Empty the memory: drop all requests and cached sequences."""
        for sequence in [*(each.sequence for each in self._running), *self._cached]:
            self._free_ids.append(sequence.id)
        self._running.clear()
        self._cached.clear()
        self._cells = Cells(self.context_length)
        self._lib.llama_memory_clear(self._memory, True)

    # -- prompts on disk --------------------------------------------------------------------------

    def _on_disk(self, tokens: np.ndarray, adapter: str, scope: str) -> tuple[State | None, int]:
        """The state on disk that shares most with a prompt, and how many tokens the prompt can take over from
        it.
        """
        if self.prompt_cache is None or adapter or len(tokens) < LEAST_TOKENS:
            return None, 0
        state, same = self.prompt_cache.best(tokens, scope)
        if state is None:
            return None, 0
        return state, self._usable(same, self._whole(len(state.tokens)), len(tokens))

    def _from_disk(self, sequence: KvSequence, tokens: np.ndarray) -> int:
        """Read a state that shares more than what the sequence has into it; how many tokens it has then."""
        reused = len(sequence.tokens)
        state, same = self._on_disk(tokens, sequence.adapter, sequence.scope)
        if self.prompt_cache is None or state is None or same < reused + LEAST_TOKENS // 2:
            return reused
        if not self.prompt_cache.whole(state):
            return reused
        count = len(state.tokens)
        self._cut(sequence, 0)
        self._make_room(count)
        if self._cells.free < count or not self._read_state(state.path, sequence.id, count):
            return 0
        sequence.tokens, sequence.cells = state.tokens.tolist(), self._cells.take(count)
        sequence.whole = self._whole(count)
        self._cut(sequence, same)
        return same

    def _read_state(self, path: Path, sequence_id: int, count: int) -> bool:
        tokens, read = (self._lib.llama_token * count)(), ctypes.c_size_t(0)
        return bool(
            self._lib.llama_state_seq_load_file(
                self._context, os.fsencode(path), sequence_id, tokens, count, ctypes.byref(read)
            )
        )

    def _to_disk(self, running: Running) -> None:
        """Keep a prompt that has just been read, where it is long and most of it was not on disk."""
        tokens, scope = running.prompt, running.sequence.scope
        if self.prompt_cache is None or running.sequence.adapter or len(tokens) < LEAST_TOKENS:
            return
        if len(tokens) - self.prompt_cache.best(tokens, scope)[1] < LEAST_TOKENS // 2:
            return
        path = self.prompt_cache.path_for(tokens, scope)
        values = (self._lib.llama_token * len(tokens))(*tokens.tolist())
        try:
            if self._lib.llama_state_seq_save_file(
                self._context, os.fsencode(path), running.sequence.id, values, len(tokens)
            ):
                self.prompt_cache.keep(tokens, path, scope)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:  # a full disk keeps no prompts, and ends no answer
            self._log(error)

    def _log(self, error: Exception) -> None:
        if not isinstance(error, FreeholdError):
            traceback.print_exception(error)
