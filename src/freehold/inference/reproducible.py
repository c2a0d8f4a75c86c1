"""Answers that depend on nothing but what is asked: the same request has the same answer, alone or beside
others, now and after a restart.

A sum of floating-point numbers depends on its order, and llama.cpp chooses the order by what else a call
computes. What it goes by, and what is done about it here (ggml-cpu's
``ggml_compute_forward_flash_attn_ext_f16`` and llama.cpp's ``split_equal``, which say so):

- Where a text's cells lie among those of others. Each text has cells of its own, in the order of its tokens.
- Whether a call has :data:`TILE` tokens of a text or more: attention then goes by tiles. Prompts of so many
  tokens are read in pieces of so many and more; all else, answers among it, by fewer. Where pieces begin does
  not matter then, nor does what they are computed beside.
- Whether a call has nothing but one token of one text of more than :data:`SPLIT` tokens: threads then share
  the text among them. Such a call gets a second token, which is forgotten; on two threads, one thread alone
  takes less time.
- How many tokens there are. But for weights of the types :data:`ALIKE`, kernels for several tokens round or
  add up otherwise than those for one, from 4 tokens on, or from 2 (16 and 32 bit). Then a call has as many
  answers as it may, and prompts are read by themselves, in pieces that begin at multiples of :data:`PIECE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.machine import cores
from freehold.inference.batch_engine import PIECE, BatchingEngine, Meter
from freehold.inference.engine_options import EngineOptions
from freehold.inference.prompt_cache import LEAST_TOKENS, PromptCache, shared
from freehold.inference.prompt_lookup import MOST
from freehold.inference.request import GenerationRequest
from freehold.inference.running import Part, Running
from freehold.inference.sequences import KvSequence
from freehold.models.formats import gguf

#: Tokens of one text from which attention goes by tiles (``GGML_FA_TILE_Q``).
TILE = 64
#: Cells up to which a lone token's attention is not split among threads: 512 are, and they are counted in
#: steps of 256.
SPLIT = 256
#: Tokens of another text that are worth copying all of its cells.
WORTH_COPYING = 16
#: Idle texts between two of a call for which a token is computed that nobody asked for, because otherwise
#: llama.cpp would read the weights once more for those behind the gap.
GAP = 3
#: Tokens that answers and drafts together may take in one call, and those that take about as long as reading
#: the weights once more.
DRAFTED, READING = 48, 6
#: Types of weights that give a token the same whatever their number, and numbers of tokens in the calls that
#: are compared to see that it is so on this processor, too; of other types up to :data:`FEW` do
#: (benchmarks/rows_alike.py).
ALIKE, ROWS = frozenset(("Q8_0", "Q4_0", "Q4_1")), (1, 2, 3, 4, 8, 17)
FEW = 3


class ReproducibleEngine(BatchingEngine):
    """As :class:`BatchingEngine`, but every text has ``context_length / parallel`` tokens to itself, and
    adapters cannot be named.

    Raises BadModel, DoesNotFit.
    """

    def __init__(
        self,
        path: Path,
        options: EngineOptions = EngineOptions(),  # noqa: B008  # frozen
        *,
        prompt_cache: PromptCache | None = None,
        meter: Meter | None = None,
    ):
        assert options.batch >= PIECE >= 2 * TILE
        own_cells = replace(options, cached_sequences=0, separate_cells=True, gpu_layers=0)
        super().__init__(path, own_cells, prompt_cache=prompt_cache, meter=meter)
        self._threads = options.threads or cores()
        self._turn_to_read, self._last, self._one_thread, self._copying = True, -1, False, False
        self._known = all(one.kind in ALIKE for one in gguf.read_header(path).tensors if len(one.shape) > 1)
        #: Tokens that a call may have for each to give what it gives alone; 0 until the first step has
        #: measured it.
        self.alike = 0

    def _ready(self) -> None:
        if not self.alike:
            # not when it is loaded: OpenMP keeps threads for every thread that computes, and with more of
            # them than processors they wait slowly
            self.alike = (
                1
                if not self._can_cut
                else self._compared(ROWS)
                if self._known
                else self._compared(range(1, FEW + 1))
            )
            if self.alike < max(ROWS):
                self.alike = min(self.alike, FEW)

    def _compared(self, numbers: Sequence[int]) -> int:
        """The greatest of the numbers of tokens up to which calls of so many give the same logits, digit for
        digit.
        """
        tokens = [101 * (7 * at + 1) % self.vocabulary.size for at in range(max(numbers))]
        known, most = list[np.ndarray](), 1
        for count in numbers:
            self._batch.add(0, tokens[:count], 0, 0, count)
            self._run(self._batch.struct, count)
            found = [self._logits(row).copy() for row in range(count)]
            self._lib.llama_memory_clear(self._memory, True)
            if not all(np.array_equal(one, other) for one, other in zip(known, found, strict=False)):
                break
            known, most = found, count
        return most

    @property
    def _all_alike(self) -> bool:
        return self.alike == max(ROWS)

    # -- what can be taken over -----------------------------------------------------------------

    def _whole(self, count: int) -> int:
        """Of a prompt, the tokens read by tiles; or in whole pieces, where rows are not alike."""
        if self._all_alike:
            return count if count >= TILE else 0
        return count // PIECE * PIECE

    def _usable(self, same: int, whole: int, count: int) -> int:
        """What was computed as it would be for this prompt, short of what must be left for its last piece."""
        if not self._all_alike:
            return min(same, whole, count - 1) // PIECE * PIECE
        if count < TILE:
            return 0 if whole else min(same, count - 1)
        return max(0, min(same, whole, count - TILE))

    def _sequence_for(
        self, request: GenerationRequest, tokens: np.ndarray, source: KvSequence | None, reused: int
    ) -> KvSequence | None:
        """Cells for a request: those of the sequence it goes on from, else nobody's, else those unused for
        longest; and into them a copy of the source, if it is worth it.
        """
        on_disk = self._on_disk(tokens, request.adapter, request.scope)[1]
        if on_disk and self._copying:
            return None  # llama.cpp copies with the next call, but reads from disk at once
        if source is not None and source in self._cached and 2 * reused >= len(source.tokens):
            sequence = source
        elif self._free_ids:
            sequence = KvSequence(
                self._free_ids.pop(self._free_ids.index(min(self._free_ids))), request.adapter, request.scope
            )
        else:
            sequence = self._cached[0]
        usable = sequence.tokens and sequence.scope == request.scope
        own = self._usable(shared(sequence.array, tokens), sequence.whole, len(tokens)) if usable else 0
        copies = (
            source is not None
            and source is not sequence
            and reused >= own + WORTH_COPYING
            and on_disk < reused + LEAST_TOKENS // 2
        )
        if sequence in self._cached:
            self._cached.remove(sequence)
        self._cut(sequence, 0 if copies else own)
        sequence.scope = request.scope
        if source is not None and copies:
            self._lib.llama_memory_seq_cp(self._memory, source.id, sequence.id, -1, -1)
            self._lib.llama_memory_seq_rm(self._memory, sequence.id, reused, -1)
            sequence.tokens, sequence.cells, sequence.whole = (
                source.tokens[:reused],
                self._cells.take(reused),
                min(source.whole, reused),
            )
            self._copying = True
            self._mark_used(source)
        return sequence

    # -- calls ----------------------------------------------------------------------------------

    def _planned(self) -> list[Part]:
        """A long prompt's next piece; or, by turns, a token of each answer, with drafts, and all that is left
        of short prompts.
        """
        self._copying = False
        answering, reading = (
            [one for one in self._running if one.answering],
            [one for one in self._running if not one.answering],
        )
        if not self._all_alike:
            return self._apart(answering, reading)
        long, short = (
            [one for one in reading if len(one.prompt) >= TILE],
            [one for one in reading if len(one.prompt) < TILE],
        )
        if long and (self._turn_to_read or not (answering or short)):
            self._turn_to_read = False
            return [self._tiles(long[0], PIECE if answering or short else self.batch)]
        self._turn_to_read = True
        plan = self._with_drafts(answering, DRAFTED)
        room = self.batch - sum(len(part.tokens) for part in plan)
        room = min(room, PIECE) if answering else room
        for one in short:
            if len(one.pending) <= room:
                room -= len(one.pending)
                plan.append(self._piece(one, len(one.pending)))
        return self._filled(plan, self.batch)

    def _apart(self, answering: list[Running], reading: list[Running]) -> list[Part]:
        """By turns, a prompt's next piece up to a multiple of :data:`PIECE`, and a token of as many answers
        as may be, each in its turn.
        """
        if reading and (self._turn_to_read or not answering):
            self._turn_to_read = False
            return [self._piece(reading[0], PIECE - len(reading[0].sequence.tokens) % PIECE)]
        self._turn_to_read = True
        after = [one for one in answering if one.sequence.id > self._last] or answering
        turn = sorted(after, key=lambda one: one.sequence.id)[: self.alike]
        self._last = turn[-1].sequence.id
        return self._filled(self._with_drafts(turn, self.alike), self.alike)

    def _alone(self, part: Part) -> list[Part]:
        assert part.running is not None
        tiled = not part.running.answering and (not self._all_alike or len(part.running.prompt) >= TILE)
        return [part] if tiled else self._filled([part], self.batch if self._all_alike else self.alike)

    def _tiles(self, one: Running, most: int) -> Part:
        """The next piece of a long prompt: of at least :data:`TILE` tokens, and so that at least as many are
        left, or none.
        """
        left = len(one.pending)
        if most < left < most + TILE:
            most = left if left <= self.batch else left - TILE
        return self._piece(one, most)

    def _with_drafts(self, answering: list[Running], limit: int) -> list[Part]:
        """A token of each answer and drafts, ``limit`` at the most, cut to the length that promises most
        tokens in the time: llama.cpp takes texts together as far as they have as many tokens, and reads the
        weights once more for what is left.
        """
        plan = self._answers(answering, (1 + MOST) * len(answering) if limit > len(answering) else 0)
        lengths = {part.sequence.id: len(part.tokens) for part in plan}
        best, most = 1, 0.0
        for longest in sorted(set(lengths.values())):
            cut = {sequence: min(length, longest) for sequence, length in lengths.items()}
            rows, passes = sum(cut.values()), _passes([cut.get(number, 0) for number in range(self.parallel)])
            right = sum(one.lookup.rate * len(one.draft[: longest - 1]) for one in answering if one.lookup)
            if (rows <= limit or longest == 1) and (
                found := (len(plan) + right) / (rows + READING * passes)
            ) > most:
                best, most = longest, found
        for part, one in zip(plan, answering, strict=True):
            part.tokens, part.outputs, one.draft = (
                part.tokens[:best],
                min(part.outputs, best),
                one.draft[: best - 1],
            )
        return plan

    def _filled(self, plan: list[Part], limit: int) -> list[Part]:
        """The plan of up to ``limit`` tokens in the order in which llama.cpp takes texts of their own
        together, with tokens that nobody asked for in small gaps, and beside what it would split among
        threads.
        """
        plan = sorted(plan, key=lambda part: part.sequence.id)
        idle = {
            sequence.id: sequence for sequence in [*self._cached, *(one.sequence for one in self._running)]
        }
        counts = {part.sequence.id: len(part.tokens) for part in plan}
        filled, room = plan[:1], limit - sum(counts.values())
        for part in plan[1:]:
            gap = [
                idle.get(number) or KvSequence(number, "", "")
                for number in range(filled[-1].sequence.id + 1, part.sequence.id)
            ]
            if len(gap) <= min(GAP, room) and all(len(sequence.tokens) < self.longest for sequence in gap):
                counts |= {sequence.id: 1 for sequence in gap}
                room -= len(gap)
                filled += [Part(None, sequence, [0], 0) for sequence in gap]
            filled.append(part)
        self._one_thread, done = False, list[Part]()
        for part in filled:
            done.append(part)
            number, count = part.sequence.id, len(part.tokens)
            beside = max(
                counts.get(number - 1, 0), counts.get(number + 1, 0)
            )  # so many tokens are taken together with others
            if (
                part.running is not None
                and count == beside + 1
                and len(part.sequence.tokens) + count > SPLIT
                and self.alike > 1
            ):
                if len(filled) == count == 1 and self._threads <= 2:
                    self._one_thread = True
                else:
                    done.append(Part(None, part.sequence, [0], 0))
        return done

    def _run(self, batch: Any, count: int) -> None:
        if not self._one_thread:
            super()._run(batch, count)
            return
        self._lib.llama_set_n_threads(self._context, 1, 1)
        try:
            super()._run(batch, count)
        finally:
            self._lib.llama_set_n_threads(self._context, self._threads, self._threads)
            self._one_thread = False


def _passes(counts: list[int]) -> int:
    """How often llama.cpp reads the weights for so many tokens of each text (0: none): once for what
    neighbours have in common, and so on.
    """
    passes, run = 0, list[int]()
    for count in [*counts, 0]:
        if count:
            run.append(count)
        elif run:
            passes, run = passes + 1 + _passes([one - min(run) for one in run]), []
    return passes
