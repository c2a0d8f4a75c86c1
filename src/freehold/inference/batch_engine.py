"""The engine of the server: requests come and go at any time, and every decode call carries what all of them need next.

A call holds one token of each answer under way, the guesses that look-up offers for it (lookup.py), and pieces of prompts that are still
read, short ones so that answers do not stall. What was computed for a request stays in memory as long as there is room, and a later one
that begins alike starts from there if it is of the same scope; long prompts are also kept on disk (states.py). Requests name an adapter
each: one base is loaded, and one call serves all of its adapters (mixture.py).

A fault of one answer ends that answer alone. Where a whole call fails, its texts are computed again one by one, and those that fail then
are ended.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from freehold.core.errors import FreeholdError, NotFound, StepFailed
from freehold.inference import grammar, multi_lora
from freehold.inference.interface import Choices, Completion
from freehold.inference.llama import LlamaContext
from freehold.inference.multi_lora import MultiLora
from freehold.inference.prompt_cache import LEAST_TOKENS, PromptCache, State, shared
from freehold.inference.prompt_lookup import PromptLookup
from freehold.inference.request import GenerationRequest, checked
from freehold.inference.sampling import Likelihood, likelihood

#: Prompt tokens in one call while answers are under way: more make the next token of those late, fewer waste the call.
PIECE = 128
#: Tokens that answers and guesses together may take in one call.
GUESSED = 24
#: Tokens that a request must be about to share with one that is still read, to wait for it.
WORTH_WAITING = 64
#: The name of all adapters together; no model can be called so.
ALL = "*"
#: Calls that fail one after the other, however few texts they have, until the engine itself is what has failed.
MOST_FAILED = 2
#: Texts kept in memory beside those that run.
HELD = 32


class Meter(Protocol):
    """Counts the energy of pieces of work."""

    def begin(self) -> Any:
        """A piece begins."""
        ...

    def end(self, span: Any) -> float:
        """The piece has ended; its joules."""
        ...


class Cells:
    """Which cells of the cache are taken, and by how many lines; llama.cpp keeps its own account of the same."""

    def __init__(self, count: int):
        self.holders = np.zeros(count, dtype=np.int32)
        self._free = list(range(count))

    @property
    def free(self) -> int:
        """Cells that nobody holds."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """So many free cells."""
        found = self._free[len(self._free) - count :]
        del self._free[len(self._free) - count :]
        self.holders[found] = 1
        return found

    def share(self, cells: list[int]) -> list[int]:
        """Hold cells once more."""
        self.holders[cells] += 1
        return list(cells)

    def release(self, cells: list[int]) -> None:
        """Hold cells once less."""
        self.holders[cells] -= 1
        self._free += [cell for cell in cells if not self.holders[cell]]


@dataclass
class Line:
    """A text in the cache: llama.cpp's sequence, the tokens computed, and their cells. ``array``: the tokens of one that is held; ``whole``:
    how many of its first were read as :mod:`freehold.inference.reproducible` tells apart. ``scope``: who may go on from it."""

    sequence: int
    adapter: str
    scope: str
    tokens: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    array: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    whole: int = 0


@dataclass
class Running:
    """A request under way. ``pending``: tokens that are to be computed next; ``prompt``: the prompt's as an array."""

    number: int
    ask: GenerationRequest
    line: Line
    pending: list[int]
    reused: int
    started: float
    random: np.random.Generator
    lookup: PromptLookup | None
    prompt: np.ndarray
    matcher: Any = None
    guess: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    likelihoods: list[Likelihood] = field(default_factory=list)
    first_token_s: float = 0.0
    guessed: int = 0
    right: int = 0
    stopped_by: str = ""
    joules: float = 0.0

    @property
    def answering(self) -> bool:
        """Whether its prompt has been read."""
        return bool(self.tokens)

    @property
    def read(self) -> int:
        """Tokens of its prompt that have been computed or taken over."""
        return len(self.prompt) if self.answering else min(len(self.prompt), len(self.line.tokens))

    @property
    def left(self) -> int:
        """Cells it may still take."""
        return len(self.pending) + self.ask.max_tokens - len(self.tokens)


@dataclass
class Part:
    """What one text adds to a call: tokens to be computed after those of ``line``, with logits for the last ``wanted``. Without ``one`` nobody
    asked for them, and they are forgotten after the call."""

    one: Running | None
    line: Line
    tokens: list[int]
    wanted: int


@dataclass(frozen=True)
class Ended:
    """A request that is over: its completion, or what was computed of it until ``error`` ended it."""

    number: int
    completion: Completion
    error: FreeholdError | None = None


class TokenBatch:
    """llama.cpp's batch over arrays of ours, filled a run of tokens at a time."""

    def __init__(self, lib: Any, size: int):
        self.tokens, self.positions, self.sequences = (np.zeros(size, dtype=np.int32) for _ in range(3))
        self._counts, self.wanted = np.ones(size, dtype=np.int32), np.zeros(size, dtype=np.int8)
        base, width = self.sequences.ctypes.data, self.sequences.itemsize
        pointer = ctypes.POINTER(ctypes.c_int32)
        self._each = (pointer * size)(*(ctypes.cast(base + at * width, pointer) for at in range(size)))
        self.struct = lib.llama_batch(
            n_tokens=0, token=_pointer(self.tokens, ctypes.c_int32), embd=None, pos=_pointer(self.positions, ctypes.c_int32),
            n_seq_id=_pointer(self._counts, ctypes.c_int32), seq_id=self._each, logits=_pointer(self.wanted, ctypes.c_int8),
        )  # fmt: skip

    def lay(self, at: int, tokens: Sequence[int], position: int, sequence: int, wanted: int) -> None:
        """Put tokens that follow each other at ``at``; logits are computed for the last ``wanted`` of them."""
        end = at + len(tokens)
        self.tokens[at:end] = tokens
        self.positions[at:end] = np.arange(position, position + len(tokens))
        self.sequences[at:end] = sequence
        self.wanted[at:end] = 0
        self.wanted[end - wanted : end] = 1


def _pointer(array: np.ndarray, kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))


class BatchingEngine(LlamaContext):
    """A GGUF model for ``parallel`` answers at once over ``context_length`` tokens in all. Raises BadModel, DoesNotFit.

    ``adapters``: LoRAs in GGUF form, to be named in requests. ``apart``: see :class:`LlamaContext`. ``meter``: counts the energy of each step,
    which is shared among the step's requests by their tokens.
    """

    def __init__(self, path: Path, *, context_length: int = 8192, parallel: int = 8, threads: int = 0, batch: int = 512, held: int = HELD,
                 states: PromptCache | None = None, guessing: bool = True, apart: bool = False, meter: Meter | None = None,
                 adapters: Mapping[str, Path] | None = None, exact: bool = False):  # fmt: skip
        held = min(held, 256 - parallel)  # LLAMA_MAX_SEQ
        self._mixture = MultiLora() if adapters else None
        super().__init__(path, context_length=context_length, sequences=parallel + held, threads=threads, batch=batch, apart=apart, exact=exact,
                         on_result=self._mixture.seen if self._mixture else None)  # fmt: skip
        lib = self._lib
        # what cannot be cut back to a shorter text can neither be shared in part nor guessed at
        self._cuts = not (lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(self._model))
        self.parallel, self.states, self.guessing = (
            parallel,
            states if self._cuts else None,
            guessing and self._cuts,
        )
        #: Tokens that one text may have.
        self.longest = int(lib.llama_n_ctx_seq(self._context))
        self._meter = meter
        self._batch = TokenBatch(lib, batch)
        self._cells = Cells(self.context_length)
        self._sequences = list(range(parallel + held - 1, -1, -1))
        self._waiting: deque[tuple[int, GenerationRequest, np.ndarray]] = deque()
        self._ended: list[Ended] = []
        #: Faults that ended one answer, and calls that failed and were computed again text by text, since the engine was made.
        self.answer_faults = self.call_faults = 0
        self._failed_calls = 0  # one after the other
        self._running: list[Running] = []
        self._held: list[Line] = []
        self._adapters: dict[str, Any] = {"": None} | (self._load(path, adapters) if adapters else {})
        self._using: tuple[str, Any] = ("", None)
        self._times: dict[int, float] = {}

    # -- adapters ---------------------------------------------------------------------------

    def _load(self, base: Path, adapters: Mapping[str, Path]) -> dict[str, Any]:
        """Each adapter by itself, and all of them joined, under the name :data:`ALL`."""
        assert self._mixture is not None
        loaded: dict[str, Any] = {}
        architecture = multi_lora.architecture_of(base)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "adapter.gguf"
            for name, some in [*((name, {name: path}) for name, path in adapters.items()), (ALL, adapters)]:
                places = multi_lora.join(some, file, architecture)
                loaded[name] = self._adapter_of(file)
                if name == ALL:
                    self._mixture.learn(places)
        return loaded

    def _use(self, runs: Sequence[tuple[str, int, int]]) -> None:
        """Set the adapters that a call's runs of tokens name."""
        if self._mixture is None:
            return
        names = {name for name, _, _ in runs}
        name = ALL if len(names) > 1 else next(iter(names))
        self._mixture.choose(runs if name == ALL else [])
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

    def submit(self, number: int, ask: GenerationRequest) -> None:
        """Queue a request. Raises DoesNotFit if it can never fit, UsageError where a value is out of its range, NotFound for an unknown adapter."""
        tokens = checked(ask, self.vocabulary.size, self.longest)
        if ask.adapter not in self._adapters:
            raise NotFound(f"no adapter is named {ask.adapter!r}", "name one that is served")
        self._waiting.append((number, ask, tokens))

    def cancel(self, number: int) -> Completion | None:
        """Forget a waiting or running request; what was computed for it stays for others of its scope. What that was; None for one that does
        not run."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] != number)
        for one in [one for one in self._running if one.number == number]:
            completion = self._completion(one, "cancelled")
            self._end(one)
            return completion
        return None

    def _admit(self) -> None:
        """Take in what there is room for, in order; but one whose prompt begins as another that is still read waits until it can share that."""
        for number, ask, tokens in list(self._waiting):
            if len(self._running) == self.parallel:
                return
            source, reused = self._nearest(tokens, ask)
            if self._soon(tokens, ask) >= reused + WORTH_WAITING:
                continue
            line = self._line_for(ask, tokens, source, reused)
            if line is None:
                return
            self._waiting = deque(entry for entry in self._waiting if entry[0] != number)
            one = self._begun(number, ask, tokens, line)
            self._running.append(one)
            try:
                if ask.matcher is None and ask.grammar is not None:
                    compiled = ask.grammar if isinstance(ask.grammar, str) else ask.grammar.compiled()
                    one.matcher = grammar.matcher(self, compiled)
            except Exception as error:  # whatever it is, it is this request's alone
                self._fail(one, error)

    def _begun(self, number: int, ask: GenerationRequest, tokens: np.ndarray, line: Line) -> Running:
        started = time.perf_counter()
        try:
            reused = self._from_disk(line, tokens)
        except (OSError, ValueError) as error:
            self._log(error)
            self._cut(line, 0)
            reused = 0
        lookup = (
            PromptLookup(tokens.tolist()) if self.guessing and ask.guess and ask.choices is None else None
        )
        return Running(number, ask, line, tokens[reused:].tolist(), reused, started, np.random.default_rng(ask.sampling.seed), lookup,
                       tokens, ask.matcher)  # fmt: skip

    def _fail(self, one: Running, error: Exception) -> None:
        """End one answer that has a fault; the others go on."""
        self.answer_faults += 1
        if not isinstance(error, FreeholdError):
            traceback.print_exception(error)
            error = StepFailed(
                f"this answer has a fault ({type(error).__name__}: {error})", "see the server's log"
            )
        self._ended.append(Ended(one.number, self._completion(one, "error"), error))
        self._end(one)

    def _usable(self, same: int, whole: int, count: int) -> int:
        """How much of a text that begins with the ``same`` tokens a prompt of ``count`` tokens can take over; ``whole``: see :class:`Line`."""
        return min(same, count - 1)  # the last is always computed, for its logits

    def _whole(self, count: int) -> int:
        """``whole`` of a prompt of ``count`` tokens once it is read."""
        return count

    def _soon(self, tokens: np.ndarray, ask: GenerationRequest) -> int:
        """Tokens that a request which is still read will share with these once it is."""
        reading = (
            [one for one in self._running if not one.answering and _alike(one.line, ask)]
            if self._cuts
            else []
        )
        return max(
            (
                self._usable(shared(one.prompt, tokens), self._whole(len(one.prompt)), len(tokens))
                for one in reading
            ),
            default=0,
        )

    def _nearest(self, tokens: np.ndarray, ask: GenerationRequest) -> tuple[Line | None, int]:
        """The line in memory that most can be taken over from, and how many tokens."""
        held = self._best(((line, line.array) for line in self._held if _alike(line, ask)), tokens)
        running = self._best(
            (
                (one.line, one.prompt[: len(one.line.tokens)])
                for one in self._running
                if _alike(one.line, ask)
            ),
            tokens,
        )
        return running if running[1] > held[1] else held

    def _best(self, lines: Iterable[tuple[Line, np.ndarray]], tokens: np.ndarray) -> tuple[Line | None, int]:
        best, most = None, 0
        for line, own in lines:
            if (
                self._cuts
                and len(own) > most
                and (usable := self._usable(shared(own, tokens), line.whole, len(tokens))) > most
            ):
                best, most = line, usable
        return best, most

    def _line_for(
        self, ask: GenerationRequest, tokens: np.ndarray, source: Line | None, reused: int
    ) -> Line | None:
        """A line that begins with the ``reused`` tokens of another; None where there is no room yet."""
        if self._running and not self._room_for(len(tokens) - reused + ask.max_tokens, source, reused):
            return None
        if not self._sequences:
            self._drop(next(line for line in self._held if line is not source))
        line = Line(self._sequences.pop(), ask.adapter, ask.scope)
        if source is not None and reused:
            self._lib.llama_memory_seq_cp(self._memory, source.sequence, line.sequence, 0, reused)
            line.tokens, line.cells = source.tokens[:reused], self._cells.share(source.cells[:reused])
            self._used(source)
        return line

    def _used(self, line: Line) -> None:
        """Count a held line as used last."""
        if line in self._held:
            self._held.remove(line)
            self._held.append(line)

    def _room_for(self, need: int, source: Line | None, reused: int) -> bool:
        """Whether a request's cells fit beside those that running ones hold and may still take; held lines give way."""
        pinned = np.zeros(self.context_length, dtype=bool)
        pinned[self._pinned()] = True
        for one in self._running:
            pinned[one.line.cells] = True
        if source is not None:
            pinned[source.cells[:reused]] = True
        return int(pinned.sum()) + sum(one.left for one in self._running) + need <= self.context_length

    def _pinned(self) -> list[int]:
        """Cells that no request may take, beside those of requests."""
        return []

    def _drop(self, line: Line) -> None:
        """Forget a held line."""
        self._held.remove(line)
        self._free(line)

    def _free(self, line: Line) -> None:
        self._lib.llama_memory_seq_rm(self._memory, line.sequence, -1, -1)
        self._cells.release(line.cells)
        self._sequences.append(line.sequence)

    def _make_room(self, count: int) -> None:
        """Forget held lines, longest unused first, until ``count`` cells are free."""
        while self._cells.free < count and self._held:
            self._drop(self._held[0])

    def _end(self, one: Running) -> None:
        """Take a request out; its line is held for others that begin alike, and replaces those it goes on from."""
        self._running.remove(one)
        line = one.line
        if not self._cuts or not line.tokens:
            self._free(line)
            return
        line.array = np.asarray(line.tokens, dtype=np.int32)
        for other in [
            other
            for other in self._held
            if (other.adapter, other.scope) == (line.adapter, line.scope)
            and len(other.array) <= len(line.array)
        ]:
            if shared(other.array, line.array) == len(other.array):
                self._drop(other)
        self._held.append(line)

    # -- states on disk -----------------------------------------------------------------------

    def _on_disk(self, tokens: np.ndarray, adapter: str, scope: str) -> tuple[State | None, int]:
        """The state on disk that shares most with a prompt, and how much of it the prompt can take over."""
        if self.states is None or adapter or len(tokens) < LEAST_TOKENS:
            return None, 0
        state, same = self.states.best(tokens, scope)
        return state, self._usable(
            same, self._whole(len(state.tokens)), len(tokens)
        ) if state is not None else 0

    def _from_disk(self, line: Line, tokens: np.ndarray) -> int:
        """Read a state that shares more than what the line has into it; how many tokens it has then."""
        reused = len(line.tokens)
        state, same = self._on_disk(tokens, line.adapter, line.scope)
        if (
            self.states is None
            or state is None
            or same < reused + LEAST_TOKENS // 2
            or not self.states.whole(state)
        ):
            return reused
        self._cut(line, 0)
        self._make_room(len(state.tokens))
        if self._cells.free < len(state.tokens):
            return 0
        out, count = (self._lib.llama_token * len(state.tokens))(), ctypes.c_size_t(0)
        if not self._lib.llama_state_seq_load_file(
            self._context, os.fsencode(state.path), line.sequence, out, len(state.tokens), ctypes.byref(count)
        ):
            return 0
        line.tokens, line.cells, line.whole = (
            state.tokens.tolist(),
            self._cells.take(len(state.tokens)),
            self._whole(len(state.tokens)),
        )
        self._cut(line, same)
        return same

    def _to_disk(self, one: Running) -> None:
        """Keep a prompt that has just been read, where it is long and most of it was not on disk."""
        if self.states is None or one.line.adapter or len(one.ask.tokens) < LEAST_TOKENS:
            return
        tokens, scope = one.prompt, one.line.scope
        if len(tokens) - self.states.best(tokens, scope)[1] < LEAST_TOKENS // 2:
            return
        place = self.states.place(tokens, scope)
        values = (self._lib.llama_token * len(tokens))(*tokens.tolist())
        try:
            if self._lib.llama_state_seq_save_file(
                self._context, os.fsencode(place), one.line.sequence, values, len(tokens)
            ):
                self.states.keep(tokens, place, scope)
            else:
                place.unlink(missing_ok=True)
        except OSError as error:  # a full disk keeps no states, and ends no answer
            self._log(error)

    def _cut(self, line: Line, length: int) -> None:
        """Cut a line back to its first ``length`` tokens."""
        if length < len(line.tokens):
            self._lib.llama_memory_seq_rm(self._memory, line.sequence, length, -1)
            self._cells.release(line.cells[length:])
            del line.tokens[length:], line.cells[length:]
            line.whole = min(line.whole, length)

    # -- steps --------------------------------------------------------------------------------

    def step(self) -> list[tuple[int, Completion]]:
        """One decode call; the requests that ended as they should. Raises the first error of one that did not; the others go on, and
        :meth:`ended` has all of them."""
        over = self.ended()
        for one in over:
            if one.error is not None:
                raise one.error
        return [(one.number, one.completion) for one in over]

    def ended(self) -> list[Ended]:
        """One decode call; the requests that ended, with their faults. Raises where the engine itself has failed: then :meth:`forget` it."""
        self._ready()
        self._admit()
        if self._running:
            self._metered()
        over, self._ended = self._ended, []
        return over

    def _ready(self) -> None:
        """What is to be done once before the first call."""

    def _metered(self) -> None:
        """A call, with its energy shared among its requests by their tokens."""
        span, spent = self._meter.begin() if self._meter is not None else None, 0.0
        plan = self._planned()
        try:
            decoded = self._call(plan)
        finally:
            if self._meter is not None:
                spent = self._meter.end(span)
        count = sum(len(part.tokens) for part in plan if part.one is not None)
        for part in plan:
            if part.one is not None:
                part.one.joules += spent * len(part.tokens) / count
        for one, finish in decoded:
            self._ended.append(Ended(one.number, self._completion(one, finish)))

    def _planned(self) -> list[Part]:
        """What the next call computes."""
        answering = [one for one in self._running if one.answering]
        plan = self._answers(answering, GUESSED if len(answering) == len(self._running) else 0)
        room = self.batch - sum(len(part.tokens) for part in plan)
        room = min(room, PIECE) if answering else room
        for one in self._running:
            if room and not one.answering:
                plan.append(self._piece(one, room))
                room -= len(plan[-1].tokens)
        return plan

    def _answers(self, answering: Sequence[Running], most: int) -> list[Part]:
        """A token of each answer, and guesses as long as there are ``most`` tokens at the most."""
        guesses, plan = max(0, most - len(answering)), list[Part]()
        for one in answering:
            one.guess = self._guess(one, guesses, len(answering))
            guesses -= len(one.guess)
            plan.append(Part(one, one.line, one.pending + one.guess, 1 + len(one.guess)))
        return plan

    def _piece(self, one: Running, most: int) -> Part:
        """The next tokens of a prompt."""
        piece = one.pending[:most]
        return Part(one, one.line, piece, int(len(piece) == len(one.pending)))

    def _call(self, plan: list[Part]) -> list[tuple[Running, str]]:
        """Compute a plan; who ended with it, and why. Where the call fails its texts are computed one by one."""
        try:
            self._decode(plan)
        except Exception as error:
            if not self._cuts:
                raise  # what the call has changed of these texts cannot be taken back
            self._log(error)
            return self._separately(plan, error)
        return self._taken(plan)

    def _separately(self, plan: list[Part], fault: Exception) -> list[tuple[Running, str]]:
        """Compute what a failed call had, each text by itself, and end those that fail again. Raises where all of several do."""
        self.call_faults += 1
        self._undo(plan)
        ended, failed = list[tuple[Running, str]](), list[tuple[Running, Exception]]()
        asked = [part for part in plan if part.one is not None]
        for part in asked:
            alone = self._alone(part)
            try:
                self._decode(alone)
            except Exception as error:
                assert part.one is not None
                self._undo(alone)
                failed.append((part.one, error))
                continue
            ended += self._taken(alone)
        self._failed_calls += len(failed)
        if len(failed) == len(asked) and self._failed_calls >= MOST_FAILED:
            raise fault  # it is not one answer's doing
        for one, error in failed:
            self._fail(one, error)
        return ended

    def _alone(self, part: Part) -> list[Part]:
        """The plan that computes one text by itself."""
        return [part]

    def _undo(self, plan: list[Part]) -> None:
        """Take back what a failed call may have left of its texts in the cache."""
        for part in plan:
            self._lib.llama_memory_seq_rm(self._memory, part.line.sequence, len(part.line.tokens), -1)

    def _log(self, error: Exception) -> None:
        if not isinstance(error, FreeholdError):
            traceback.print_exception(error)

    def _decode(self, plan: list[Part]) -> None:
        """Decode what a plan has."""
        self._make_room(sum(len(part.tokens) for part in plan))
        at, reach = 0, dict[int, int]()
        for part in plan:
            sequence = part.line.sequence
            position = reach.get(sequence, len(part.line.tokens))
            reach[sequence] = position + len(part.tokens)
            self._batch.lay(at, part.tokens, position, sequence, part.wanted)
            at += len(part.tokens)
        reading = any(part.one is not None and not part.one.answering for part in plan)
        self._use([(part.line.adapter, len(part.tokens), part.wanted) for part in plan])
        began = time.perf_counter()
        self._run(self._batch.struct, at)
        if self._mixture is not None and self._mixture.failed is not None:
            fault, self._mixture.failed = self._mixture.failed, None
            raise fault
        self._failed_calls = 0
        if not reading:
            self._timed(at, time.perf_counter() - began)

    def _taken(self, plan: list[Part]) -> list[tuple[Running, str]]:
        """Take in what a call has computed; who ended with it, and why."""
        ended, at = list[tuple[Running, str]](), 0
        for part in plan:
            one, line, tokens = part.one, part.line, part.tokens
            at += len(tokens)
            if one is None:
                self._lib.llama_memory_seq_rm(self._memory, line.sequence, len(line.tokens), -1)
                continue
            line.cells += self._cells.take(len(tokens))
            line.tokens += tokens
            del one.pending[: len(tokens) - len(one.guess)]
            if not one.answering:
                line.whole = min(self._whole(len(one.prompt)), len(line.tokens))
            if not part.wanted:
                continue
            try:
                if not one.answering:
                    self._to_disk(one)
                finish = self._take(one, at - part.wanted)
            except Exception as error:  # whatever it is, it is this answer's alone
                self._fail(one, error)
                continue
            if finish:
                self._end(one)
                ended.append((one, finish))
        return ended

    def _timed(self, count: int, seconds: float) -> None:
        """Learn what a call of so many tokens costs."""
        known = self._times.get(count)
        self._times[count] = seconds if known is None else 0.8 * known + 0.2 * seconds

    def _price(self, answering: int, guessed: int) -> float:
        """What a guessed token costs, as a share of what a token costs without guesses; half where that has not been seen."""
        alone, more = self._times.get(answering), self._times.get(answering + guessed)
        return 0.5 if alone is None or more is None else (more - alone) / guessed / (alone / answering)

    def _guess(self, one: Running, most: int, answering: int) -> list[int]:
        if one.lookup is None or most <= 0:
            return []
        guess = one.lookup.guess(min(most, one.ask.max_tokens - len(one.tokens) - 1))
        if guess and one.matcher is not None:
            guess = guess[: one.matcher.fits(guess)]
        return guess if guess and one.lookup.pays(self._price(answering, len(guess))) else []

    def _take(self, one: Running, row: int) -> str:
        """Draw a token, and one more after each guess that was right; the reason why the answer ends here, or ''."""
        guess, right, finish = one.guess, 0, ""
        before = len(one.line.tokens) - len(guess)
        for place in range(len(guess) + 1):
            finish = self._extend(one, self._logits(row + place))
            if finish or place == len(guess) or one.tokens[-1] != guess[place]:
                break
            right += 1
        self._cut(one.line, before + right)
        if guess and one.lookup is not None:
            one.lookup.judged(len(guess), right)
            one.guessed, one.right, one.guess = one.guessed + len(guess), one.right + right, []
        return finish

    def _extend(self, one: Running, logits: np.ndarray) -> str:
        """Draw the next token; the reason why the answer ends with it, or ''."""
        ask = one.ask
        if not one.first_token_s:
            one.first_token_s = time.perf_counter() - one.started
        if not np.isfinite(logits).all():
            raise StepFailed(
                "the model's numbers for the next token are not finite", "check the model's file"
            )
        changed = ask.sampling.applied(logits, ask.tokens, one.tokens)
        if ask.choices is not None:
            return self._choose(one, ask.choices, logits, changed)
        if one.matcher is not None:
            changed = one.matcher.bound(changed)
        token = ask.sampling.pick(changed, one.random)
        if ask.likelihoods is not None:
            one.likelihoods.append(likelihood(logits, token, ask.likelihoods))
        if one.matcher is not None:
            one.matcher.take(token)
        if self.vocabulary.is_end(token):
            return "stop"
        one.tokens.append(token)
        piece = self.vocabulary.piece(token)
        one.data += piece
        one.pending = [token]
        if one.lookup is not None:
            one.lookup.add(token)
        one.stopped_by = _first_stop(one.data, len(piece), ask.stops)
        if one.stopped_by:
            return "stop"
        if one.matcher is not None and one.matcher.over:
            return "stop"
        return "length" if len(one.tokens) >= ask.max_tokens else ""

    def _choose(self, one: Running, choices: Choices, logits: np.ndarray, changed: np.ndarray) -> str:
        """Draw the next token among those with which one of the choices goes on; the reason why the answer ends, or ''."""
        ask, allowed = one.ask, choices.allowed(one.tokens)
        token = allowed[ask.sampling.pick(changed[allowed], one.random)]
        if ask.likelihoods is not None:
            one.likelihoods.append(likelihood(logits, token, ask.likelihoods))
        one.tokens.append(token)
        one.pending = [token]
        if choices.settled(one.tokens) is not None:
            return "choice"
        return "length" if len(one.tokens) >= ask.max_tokens else ""

    # -- answers ------------------------------------------------------------------------------

    def partial(self, number: int) -> str:
        """Text so far of a running request that nothing later can take back."""
        one = next((one for one in self._running if one.number == number), None)
        return settled(bytes(one.data), one.ask.stops) if one else ""

    def _completion(self, one: Running, finish: str) -> Completion:
        choices = one.ask.choices
        settled_on = choices.settled(one.tokens) if choices is not None else None
        if choices is not None and settled_on is not None:
            text, tokens = choices.answers[settled_on].encode(), choices.tokens[settled_on]
        elif choices is not None:
            text, tokens = self.vocabulary.decode(one.tokens).encode(), tuple(one.tokens)
        else:
            text, tokens = bytes(one.data), tuple(one.tokens)
        if one.stopped_by:
            text = text.partition(one.stopped_by.encode())[0]
        return Completion(
            text.decode("utf-8", "replace"), tokens, finish, one.read, one.first_token_s, time.perf_counter() - one.started,
            one.stopped_by, one.reused, one.guessed, one.right, tuple(one.likelihoods), one.joules if self._meter is not None else None,
        )  # fmt: skip

    def forget(self) -> None:
        """Drop all requests and everything in memory, after the engine has failed."""
        self._waiting.clear()
        self._ended.clear()
        for line in [*(one.line for one in self._running), *self._held]:
            self._sequences.append(line.sequence)
        self._running.clear()
        self._held.clear()
        self._cells = Cells(self.context_length)
        self._lib.llama_memory_clear(self._memory, True)


def _alike(line: Line, ask: GenerationRequest) -> bool:
    """Whether a request may go on from a line: of the same adapter, and of its own scope."""
    return line.adapter == ask.adapter and line.scope == ask.scope


def _first_stop(data: bytes | bytearray, last: int, stops: Sequence[str]) -> str:
    """The stop text that begins first in ``data`` and ends in its ``last`` bytes; '' for none."""
    earliest, at = "", len(data)
    for stop in stops:
        text = stop.encode()
        begins = data.find(text, max(0, len(data) - last - len(text) + 1))
        if 0 <= begins < at:
            earliest, at = stop, begins
    return earliest


def settled(data: bytes, stops: Sequence[str]) -> str:
    """The text of ``data`` short of what may become a stop text, and of a character whose last bytes have not come."""
    end = len(data)
    for stop in stops:
        text = stop.encode()
        at = data.find(text[:1], max(0, len(data) - len(text) + 1), end)
        while at >= 0 and not text.startswith(data[at:]):
            at = data.find(text[:1], at + 1, end)
        end = at if at >= 0 else end
    data = data[:end]
    for back in range(1, min(4, len(data)) + 1):
        first = data[-back]
        if first < 0x80:
            break
        if first >= 0xC0:
            whole = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            if whole > back:
                data = data[:-back]
            break
    return data.decode("utf-8", "replace")
