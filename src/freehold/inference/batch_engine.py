"""The engine of a server: requests come and go at any time, and every decode call carries what all of them
need next.

A call has one token of each answer under way, the drafts that prompt lookup offers for it (prompt_lookup.py),
and pieces of prompts that are still read, short ones so that answers do not stall. Requests may name an
adapter each: one base is loaded, and one call serves all of its adapters (multi_lora.py). What stays in
memory between requests is in sequence_memory.py.

A fault of one answer ends that answer alone. Where a whole call fails, its texts are computed again one by
one, and those that fail then are ended.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from freehold.core.errors import FreeholdError, NotFound, StepFailed
from freehold.inference import grammar, multi_lora
from freehold.inference.engine_options import EngineOptions
from freehold.inference.interface import Completion
from freehold.inference.multi_lora import MultiLora
from freehold.inference.prompt_cache import PromptCache
from freehold.inference.prompt_lookup import PromptLookup
from freehold.inference.request import GenerationRequest, checked
from freehold.inference.running import Ended, Part, Running, settled
from freehold.inference.sequence_memory import SequenceMemory
from freehold.inference.sequences import KvSequence, TokenBatch

#: Prompt tokens in one call while answers are under way: more make the next token of those late, fewer waste
#: the call.
PIECE = 128
#: Tokens that answers and drafts together may take in one call.
DRAFTED = 24
#: Tokens that a request must be about to share with one that is still read, to wait for it.
WORTH_WAITING = 64
#: The name of all adapters together; no model can be called so.
ALL = "*"
#: Calls that fail one after the other, however few texts they have, until the engine itself is what has
#: failed.
MOST_FAILED = 2


class Meter(Protocol):
    """Counts the energy of pieces of work."""

    def begin(self) -> Any:
        """A piece begins."""
        ...

    def end(self, span: Any) -> float:
        """The piece has ended; its joules."""
        ...


class BatchingEngine(SequenceMemory):
    """A GGUF model that answers many requests at once. Raises BadModel, DoesNotFit.

    ``prompt_cache``: where long prompts are kept on disk. ``adapters``: LoRAs in GGUF form, to be named in
    requests. ``meter``: counts the energy of each step, which is shared among the step's requests by their
    tokens.
    """

    def __init__(
        self,
        path: Path,
        options: EngineOptions = EngineOptions(),  # noqa: B008  # frozen
        *,
        prompt_cache: PromptCache | None = None,
        meter: Meter | None = None,
        adapters: Mapping[str, Path] | None = None,
    ):
        if adapters:
            # multi_lora.py looks into results where they lie, which must be the processor's memory
            options = replace(options, gpu_layers=0)
        self._multi_lora = MultiLora() if adapters else None
        on_result = self._multi_lora.seen if self._multi_lora else None
        super().__init__(path, options, prompt_cache=prompt_cache, on_result=on_result)
        self.drafts = options.drafts and self._can_cut
        self._meter = meter
        self._batch = TokenBatch(self._lib, options.batch)
        self._waiting: deque[tuple[int, GenerationRequest, np.ndarray]] = deque()
        self._ended: list[Ended] = []
        #: Faults that ended one answer, and calls that failed and were computed again text by text, since the
        #: engine was made.
        self.answer_faults = self.call_faults = 0
        self._failed_calls = 0  # one after the other
        self._adapters: dict[str, Any] = {"": None} | (self._load(path, adapters) if adapters else {})
        self._using: tuple[str, Any] = ("", None)
        #: Seconds of a call, by its tokens.
        self._times: dict[int, float] = {}

    # -- adapters ---------------------------------------------------------------------------

    def _load(self, base: Path, adapters: Mapping[str, Path]) -> dict[str, Any]:
        """Each adapter by itself, and all of them joined, under the name :data:`ALL`."""
        assert self._multi_lora is not None
        loaded: dict[str, Any] = {}
        architecture = multi_lora.architecture_of(base)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "adapter.gguf"
            for name, paths in [*((name, {name: path}) for name, path in adapters.items()), (ALL, adapters)]:
                ranks = multi_lora.join(paths, file, architecture)
                loaded[name] = self._adapter_of(file)
                if name == ALL:
                    self._multi_lora.learn(ranks)
        return loaded

    def _use(self, runs: Sequence[tuple[str, int, int]]) -> None:
        """Set the adapters that a call's runs of tokens name."""
        if self._multi_lora is None:
            return
        names = {name for name, _, _ in runs}
        name = ALL if len(names) > 1 else next(iter(names))
        self._multi_lora.choose(runs if name == ALL else [])
        if self._using[0] != name:
            self._using = (name, self._set_adapter(self._adapters[name]))

    # -- requests ---------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def load(self) -> tuple[int, int]:
        """(requests running, requests waiting)."""
        return len(self._running), len(self._waiting)

    def submit(self, number: int, request: GenerationRequest) -> None:
        """Queue a request.

        Raises DoesNotFit if it can never fit, UsageError where a value is out of its range, NotFound for an
        unknown adapter.
        """
        tokens = checked(request, self.vocabulary.size, self.longest)
        if request.adapter not in self._adapters:
            raise NotFound(f"no adapter is named {request.adapter!r}", "name one that is served")
        self._waiting.append((number, request, tokens))

    def cancel(self, number: int) -> Completion | None:
        """Forget a waiting or running request; what was computed for it stays for others of its scope.

        What it was so far; None for one that does not run.
        """
        self._waiting = deque(entry for entry in self._waiting if entry[0] != number)
        running = next((each for each in self._running if each.number == number), None)
        if running is None:
            return None
        completion = self._completion(running, "cancelled")
        self._end(running)
        return completion

    def partial(self, number: int) -> str:
        """Text so far of a running request that nothing later can take back."""
        running = next((each for each in self._running if each.number == number), None)
        return settled(bytes(running.data), running.request.stops) if running else ""

    def forget(self) -> None:
        """Drop all requests and everything in memory, after the engine has failed."""
        self._waiting.clear()
        self._ended.clear()
        super().forget()

    def _admit(self) -> None:
        """Admit what there is room for, in order.

        One whose prompt begins as another that is still read waits until it can share that.
        """
        for number, request, tokens in list(self._waiting):
            if len(self._running) == self.parallel:
                return
            source, reused = self._nearest(tokens, request)
            if self._soon(tokens, request) >= reused + WORTH_WAITING:
                continue
            sequence = self._sequence_for(request, tokens, source, reused)
            if sequence is None:
                return
            self._waiting = deque(entry for entry in self._waiting if entry[0] != number)
            running = self._begun(number, request, tokens, sequence)
            self._running.append(running)
            try:
                if request.matcher is None and request.grammar is not None:
                    source_text = request.grammar
                    compiled = source_text if isinstance(source_text, str) else source_text.compiled()
                    running.matcher = grammar.matcher(self, compiled)
            except Exception as error:  # whatever it is, it is this request's alone
                self._fail(running, error)

    def _begun(
        self, number: int, request: GenerationRequest, tokens: np.ndarray, sequence: KvSequence
    ) -> Running:
        started = time.perf_counter()
        try:
            reused = self._from_disk(sequence, tokens)
        except (OSError, ValueError) as error:
            self._log(error)
            self._cut(sequence, 0)
            reused = 0
        drafts = self.drafts and request.draft and request.choices is None
        return Running(
            number,
            request,
            sequence,
            pending=tokens[reused:].tolist(),
            reused=reused,
            started=started,
            rng=np.random.default_rng(request.sampling.seed),
            lookup=PromptLookup(tokens.tolist()) if drafts else None,
            prompt=tokens,
            matcher=request.matcher,
        )

    def _fail(self, running: Running, error: Exception) -> None:
        """End one answer that has a fault; the others go on."""
        self.answer_faults += 1
        if not isinstance(error, FreeholdError):
            traceback.print_exception(error)
            error = StepFailed(
                f"this answer failed ({type(error).__name__}: {error})", "see the server's log"
            )
        self._ended.append(Ended(running.number, self._completion(running, "error"), error))
        self._end(running)

    def _completion(self, running: Running, finish: str) -> Completion:
        return running.completion(finish, self.vocabulary, metered=self._meter is not None)

    # -- steps --------------------------------------------------------------------------------

    def step(self) -> list[tuple[int, Completion]]:
        """One decode call; the requests that ended without a fault.

        Raises the first error of one that did not; the others go on, and :meth:`ended` has all of them.
        """
        over = self.ended()
        for each in over:
            if each.error is not None:
                raise each.error
        return [(each.number, each.completion) for each in over]

    def ended(self) -> list[Ended]:
        """One decode call; the requests that ended, with their faults.

        Raises where the engine itself has failed: then :meth:`forget` it.
        """
        self._ready()
        self._admit()
        if self._running:
            self._metered()
        over, self._ended = self._ended, []
        return over

    def _ready(self) -> None:
        """What must be done once before the first call."""

    def _metered(self) -> None:
        """A call, with its energy shared among its requests by their tokens."""
        span, spent = self._meter.begin() if self._meter is not None else None, 0.0
        plan = self._planned()
        try:
            decoded = self._call(plan)
        finally:
            if self._meter is not None:
                spent = self._meter.end(span)
        count = sum(len(part.tokens) for part in plan if part.running is not None)
        for part in plan:
            if part.running is not None:
                part.running.joules += spent * len(part.tokens) / count
        for running, finish in decoded:
            self._ended.append(Ended(running.number, self._completion(running, finish)))

    def _planned(self) -> list[Part]:
        """What the next call computes."""
        answering = [each for each in self._running if each.answering]
        plan = self._answers(answering, DRAFTED if len(answering) == len(self._running) else 0)
        room = self.batch - sum(len(part.tokens) for part in plan)
        room = min(room, PIECE) if answering else room
        for each in self._running:
            if room and not each.answering:
                plan.append(self._piece(each, room))
                room -= len(plan[-1].tokens)
        return plan

    def _answers(self, answering: Sequence[Running], most: int) -> list[Part]:
        """A token of each answer, and drafts as long as there are at most ``most`` tokens."""
        room, plan = max(0, most - len(answering)), list[Part]()
        for each in answering:
            each.draft = self._draft(each, room, len(answering))
            room -= len(each.draft)
            plan.append(Part(each, each.sequence, each.pending + each.draft, 1 + len(each.draft)))
        return plan

    def _piece(self, running: Running, most: int) -> Part:
        """The next tokens of a prompt."""
        piece = running.pending[:most]
        return Part(running, running.sequence, piece, int(len(piece) == len(running.pending)))

    def _call(self, plan: list[Part]) -> list[tuple[Running, str]]:
        """Compute a plan; which requests ended with it, and why.

        Where the call fails its texts are computed one by one.
        """
        try:
            self._decode(plan)
        except Exception as error:
            if not self._can_cut:
                raise  # what the call has changed of these texts cannot be taken back
            self._log(error)
            return self._separately(plan, error)
        return self._taken(plan)

    def _separately(self, plan: list[Part], fault: Exception) -> list[tuple[Running, str]]:
        """Compute what a failed call had, each text by itself, and end those that fail again.

        Raises where all of several do.
        """
        self.call_faults += 1
        self._undo(plan)
        ended, failed = list[tuple[Running, str]](), list[tuple[Running, Exception]]()
        requested = [part for part in plan if part.running is not None]
        for part in requested:
            alone = self._alone(part)
            try:
                self._decode(alone)
            except Exception as error:
                assert part.running is not None
                self._undo(alone)
                failed.append((part.running, error))
                continue
            ended += self._taken(alone)
        self._failed_calls += len(failed)
        if len(failed) == len(requested) and self._failed_calls >= MOST_FAILED:
            raise fault  # it is not one answer's doing
        for running, error in failed:
            self._fail(running, error)
        return ended

    def _alone(self, part: Part) -> list[Part]:
        """The plan that computes one text by itself."""
        return [part]

    def _undo(self, plan: list[Part]) -> None:
        """Take back what a failed call may have left of its texts in the cache."""
        for part in plan:
            self._lib.llama_memory_seq_rm(self._memory, part.sequence.id, len(part.sequence.tokens), -1)

    def _decode(self, plan: list[Part]) -> None:
        """Decode what a plan has."""
        self._make_room(sum(len(part.tokens) for part in plan))
        row, reach = 0, dict[int, int]()
        for part in plan:
            position = reach.get(part.sequence.id, len(part.sequence.tokens))
            reach[part.sequence.id] = position + len(part.tokens)
            self._batch.add(row, part.tokens, position, part.sequence.id, part.outputs)
            row += len(part.tokens)
        reading = any(part.running is not None and not part.running.answering for part in plan)
        self._use([(part.sequence.adapter, len(part.tokens), part.outputs) for part in plan])
        began = time.perf_counter()
        self._run(self._batch.struct, row)
        if self._multi_lora is not None and self._multi_lora.failed is not None:
            fault, self._multi_lora.failed = self._multi_lora.failed, None
            raise fault
        self._failed_calls = 0
        if not reading:
            self._timed(row, time.perf_counter() - began)

    def _taken(self, plan: list[Part]) -> list[tuple[Running, str]]:
        """Draw tokens from what a call has computed; which requests ended with it, and why."""
        ended, row = list[tuple[Running, str]](), 0
        for part in plan:
            row += len(part.tokens)
            running, sequence = part.running, part.sequence
            if running is None:
                self._lib.llama_memory_seq_rm(self._memory, sequence.id, len(sequence.tokens), -1)
                continue
            self._computed(part, running)
            if not part.outputs:
                continue
            try:
                if not running.answering:
                    self._to_disk(running)
                finish = self._take(running, row - part.outputs)
            except Exception as error:  # whatever it is, it is this answer's alone
                self._fail(running, error)
                continue
            if finish:
                self._end(running)
                ended.append((running, finish))
        return ended

    def _computed(self, part: Part, running: Running) -> None:
        """Count a part's tokens as computed."""
        sequence = part.sequence
        sequence.cells += self._cells.take(len(part.tokens))
        sequence.tokens += part.tokens
        del running.pending[: len(part.tokens) - len(running.draft)]
        if not running.answering:
            sequence.whole = min(self._whole(len(running.prompt)), len(sequence.tokens))

    # -- drafts ---------------------------------------------------------------------------------

    def _timed(self, count: int, seconds: float) -> None:
        """Learn what a call of ``count`` tokens costs."""
        known = self._times.get(count)
        self._times[count] = seconds if known is None else 0.8 * known + 0.2 * seconds

    def _price(self, answering: int, drafted: int) -> float:
        """What a drafted token costs, as a share of what a token costs without drafts; half where that has
        not been seen.
        """
        alone, more = self._times.get(answering), self._times.get(answering + drafted)
        return 0.5 if alone is None or more is None else (more - alone) / drafted / (alone / answering)

    def _draft(self, running: Running, most: int, answering: int) -> list[int]:
        if running.lookup is None or most <= 0:
            return []
        draft = running.lookup.draft(min(most, running.request.max_tokens - len(running.tokens) - 1))
        if draft and running.matcher is not None:
            draft = draft[: running.matcher.fits(draft)]
        return draft if draft and running.lookup.pays(self._price(answering, len(draft))) else []

    def _take(self, running: Running, row: int) -> str:
        """Draw a token, and one more after each accepted token of the draft; the reason why the answer ends
        here, or ''.
        """
        draft, accepted, finish = running.draft, 0, ""
        before = len(running.sequence.tokens) - len(draft)
        for index in range(len(draft) + 1):
            finish = running.extend(self._logits(row + index), self.vocabulary)
            if finish or index == len(draft) or running.tokens[-1] != draft[index]:
                break
            accepted += 1
        self._cut(running.sequence, before + accepted)
        if draft and running.lookup is not None:
            running.lookup.learn(len(draft), accepted)
            running.drafted += len(draft)
            running.accepted += accepted
            running.draft = []
        return finish
