"""The engine of trials: the batch engine without prompt cache and drafts, so that the same requests give the
same answers.

Each :meth:`LlamaEngine.generate` starts from empty memory. What all of its prompts begin with is computed
once, and its cells are shared. One decode call carries one token of every running answer and as much of the
waiting prompts as the batch holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from freehold.core.errors import DoesNotFit
from freehold.inference.batch_engine import BatchingEngine
from freehold.inference.engine_options import EngineOptions
from freehold.inference.interface import Completion, common_prefix
from freehold.inference.request import GenerationRequest
from freehold.inference.running import Part, Running
from freehold.inference.sequences import KvSequence


class LlamaEngine(BatchingEngine):
    """A GGUF model loaded for ``parallel`` answers at once over ``context_length`` tokens in all.

    ``adapter`` is a LoRA in GGUF form. ``exact``: see :class:`LlamaContext`. Raises BadModel, DoesNotFit.
    """

    def __init__(
        self,
        path: Path,
        *,
        context_length: int = 4096,
        parallel: int = 1,
        threads: int = 0,
        batch: int = 512,
        adapter: Path | None = None,
        exact: bool = False,
    ):
        options = EngineOptions(
            context_length, parallel, threads, batch, cached_sequences=1, drafts=False, exact=exact
        )
        super().__init__(path, options)
        self._adapter = self._set_adapter(self._adapter_of(adapter)) if adapter else None
        #: What all prompts of a call of :meth:`generate` begin with.
        self._prefix = KvSequence(self._free_ids.pop(), "", "")

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion]]:
        """See :class:`freehold.inference.interface.Engine`."""
        self.reset(_common_prefix([request.tokens for request in requests]))
        for index, request in enumerate(requests):
            self.submit(index, request)
        while self.busy:
            yield from self.step()

    def reset(self, prefix: Sequence[int] = ()) -> None:
        """Empty the memory and compute ``prefix``, which later prompts may begin with."""
        self.forget()
        for start in range(0, len(prefix), self.batch):
            part = prefix[start : start + self.batch]
            self._batch.add(0, part, start, self._prefix.id, 0)
            self._run(self._batch.struct, len(part))
        self._prefix.tokens, self._prefix.cells = list(prefix), self._cells.take(len(prefix))

    def forget(self) -> None:
        """See :class:`BatchingEngine`."""
        super().forget()
        self._free_ids = list(range(self.parallel, 0, -1))
        self._prefix = KvSequence(0, "", "")

    def score(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """See :class:`freehold.inference.interface.Engine`."""
        return [self._score(list(prompt), list(answer)) for prompt, answer in rows]

    def _score(self, prompt: list[int], answer: list[int]) -> list[float]:
        tokens = [*prompt, *answer]
        if len(tokens) > self.context_length:
            raise DoesNotFit(
                f"a row of {len(tokens)} tokens exceeds the context of {self.context_length}",
                "raise the context length",
            )
        self.reset()
        scores: list[float] = []
        for start in range(0, len(tokens), self.batch):
            part = tokens[start : start + self.batch]
            first = max(0, len(prompt) - 1 - start)
            last = min(len(part), len(tokens) - 1 - start)
            self._batch.add(0, part, start, 1, 0)
            self._batch.outputs[first:last] = 1
            self._run(self._batch.struct, len(part))
            for row in range(first, last):
                logits = self._logits(row).astype(np.float64)
                top = logits.max()
                scores.append(
                    float(logits[tokens[start + row + 1]] - top - np.log(np.exp(logits - top).sum()))
                )
        return scores

    # -- what differs from a server's engine ------------------------------------------------------

    def _soon(self, tokens: np.ndarray, request: GenerationRequest) -> int:
        return 0

    def _nearest(self, tokens: np.ndarray, request: GenerationRequest) -> tuple[KvSequence | None, int]:
        size = len(self._prefix.tokens)
        shares = 0 < size < len(tokens) and tokens[:size].tolist() == self._prefix.tokens
        return (self._prefix, size) if shares else (None, 0)

    def _pinned(self) -> list[int]:
        return self._prefix.cells

    def _end(self, running: Running) -> None:
        self._running.remove(running)
        self._free(running.sequence)

    def _planned(self) -> list[Part]:
        """A token of each answer, and as much of the shortest prompts as the batch holds."""
        plan, room = list[Part](), self.batch
        for running in sorted(self._running, key=lambda running: len(running.pending)):
            if room:
                plan.append(self._piece(running, room))
                room -= len(plan[-1].tokens)
        return plan

    def __enter__(self) -> LlamaEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _common_prefix(prompts: list[tuple[int, ...]]) -> list[int]:
    """What all prompts begin with, short of any whole prompt; nothing for a single one."""
    return common_prefix(prompts)[: min(map(len, prompts)) - 1] if len(prompts) > 1 else []
