"""Text engine on llama.cpp's low-level bindings.

One decode call carries one token of every running answer and as much of the waiting prompts as the
batch holds. What all prompts of a call begin with is computed once, in sequence 0, and its cells are
shared. Every :meth:`LlamaEngine.generate` starts from empty memory, so the same requests give the
same answers whatever ran before.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.errors import BadModel, Busy, DoesNotFit, Unsupported, UsageError
from freehold.core.machine import require_engine
from freehold.inference import grammar
from freehold.inference.interface import Completion, Request, common_prefix
from freehold.inference.sampling import draw
from freehold.inference.shortest_tokens import Shortest

_GGML_TYPE_F32 = 0
#: Kinds of vocabularies (SentencePiece's and byte-level pairs) whose tokens hold all of a text.
_LOSSLESS = (1, 2)
_log: deque[str] = deque(maxlen=40)
_keep: list[Any] = []
#: Whoever wants to hear what llama.cpp says, each line as it comes.
_listening: list[Callable[[str], None]] = []


def library() -> Any:
    """The bindings, with llama.cpp's log kept in memory instead of on the screen."""
    require_engine()
    import llama_cpp

    if not _keep:

        @llama_cpp.llama_log_callback
        def collect(level: int, text: bytes, _: Any) -> None:
            if level >= 3:
                _log.append(text.decode("utf-8", "replace").strip())
            for hear in _listening:
                hear(text.decode("utf-8", "replace"))

        _keep.append(collect)
        llama_cpp.llama_log_set(collect, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


@contextlib.contextmanager
def heard(hear: Callable[[str], None]) -> Iterator[None]:
    """Tell ``hear`` every line that llama.cpp logs meanwhile, from whatever thread."""
    library()
    _listening.append(hear)
    try:
        yield
    finally:
        _listening.remove(hear)


def load_model(path: Path, *, vocab_only: bool) -> Any:
    """llama.cpp's model, which the caller frees. Raises BadModel."""
    lib = library()
    params = lib.llama_model_default_params()
    params.vocab_only = vocab_only
    params.load_mode = (
        lib.LLAMA_LOAD_MODE_NONE
    )  # weights are repacked for this processor; mapping the file too would double them
    if vocab_only:
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    _log.clear()
    model = lib.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise BadModel(
            f"llama.cpp cannot load {path.name} ({next(iter(_log), 'no reason given')})",
            "fetch it again, or choose another model",
        )
    return model


def put(batch: Any, place: int, token: int, position: int, sequence: int, *, wanted: bool) -> None:
    """Lay a token into llama.cpp's batch; ``wanted``: its logits are to be computed."""
    batch.token[place] = token
    batch.pos[place] = position
    batch.n_seq_id[place] = 1
    batch.seq_id[place][0] = sequence
    batch.logits[place] = wanted


class LlamaTokenizer:
    """Tokens of a GGUF model. Loads the vocabulary only, unless given a loaded model."""

    def __init__(self, path: Path | None = None, *, model: Any = None):
        self._lib = library()
        self._owned = load_model(path, vocab_only=True) if path is not None else None
        self._vocab = self._lib.llama_model_get_vocab(model or self._owned)
        self.size = int(self._lib.llama_vocab_n_tokens(self._vocab))
        self.bos_token = (
            self._text(self._lib.llama_vocab_bos(self._vocab))
            if self._lib.llama_vocab_get_add_bos(self._vocab)
            else ""
        )
        self.eos_token = self._text(self._lib.llama_vocab_eos(self._vocab))
        self._pieces: dict[int, bytes] = {}
        self._shortest: Shortest | None = None
        #: Whether its model is gone.
        self.closed = False

    def _text(self, token: int) -> str:
        return (
            self._lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")
            if token >= 0
            else ""
        )

    def encode(self, text: str, *, start: bool) -> list[int]:
        """See :class:`freehold.inference.interface.Vocabulary`. Raises Unsupported for half characters (lone surrogates)."""
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise Unsupported(
                f"the text has half a character (a lone surrogate) at position {error.start}",
                "send valid Unicode",
            ) from None
        room = 3 * len(data) + 8  # a space can become three tokens, the bytes of SentencePiece's mark for it
        buffer = (self._lib.llama_token * room)()
        count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, room, start, True)
        if count < 0:
            raise Unsupported("the text could not be turned into tokens", "shorten it")
        return list(buffer[:count])

    def least(self, text: str) -> int:
        """See :class:`freehold.inference.interface.Vocabulary`."""
        if self._shortest is None:
            lossless = self._lib.llama_vocab_type(self._vocab) in _LOSSLESS
            written = (self._bytes(token, control=True) for token in range(self.size))
            self._shortest = Shortest(written, spaces=lossless)
        return self._shortest.tokens(text.encode("utf-8", "replace"))

    def _bytes(self, token: int, *, control: bool) -> bytes:
        """Bytes that a token stands for in a text; those of control tokens only where ``control`` says so."""
        room = 256
        buffer = ctypes.create_string_buffer(room)
        size = self._lib.llama_token_to_piece(self._vocab, token, buffer, room, 0, control)
        if size < -room:
            room = -size
            buffer = ctypes.create_string_buffer(room)
            size = self._lib.llama_token_to_piece(self._vocab, token, buffer, room, 0, control)
        return buffer.raw[: max(size, 0)]

    def piece(self, token: int) -> bytes:
        """Bytes of one token; empty for control tokens. Raises UsageError for a number that is no token."""
        if token not in self._pieces:
            if self.closed:  # llama.cpp's vocabulary went with its model
                raise Busy("the model was closed meanwhile", "ask again")
            if not 0 <= token < self.size:  # llama.cpp ends the process for these
                raise UsageError(f"{token} is not a token", f"tokens are numbers from 0 to {self.size - 1}")
            self._pieces[token] = self._bytes(token, control=False)
        return self._pieces[token]

    def decode(self, tokens: Sequence[int]) -> str:
        """See :class:`freehold.inference.interface.Vocabulary`."""
        return b"".join(self.piece(token) for token in tokens).decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """See :class:`freehold.inference.interface.Vocabulary`."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    @property
    def end(self) -> int:
        """See :class:`freehold.inference.interface.Vocabulary`."""
        turn = self._lib.llama_vocab_eot(self._vocab)
        return turn if turn >= 0 else self._lib.llama_vocab_eos(self._vocab)

    def close(self) -> None:
        """Give the memory back."""
        if self._owned:
            self._lib.llama_model_free(self._owned)
            self._owned = None


@dataclass
class _Slot:
    """A running request: ``pending`` tokens still to be fed, ``position`` of the next one."""

    index: int
    request: Request
    sequence: int
    pending: list[int]
    position: int
    started: float
    prompt_tokens: int
    tokens: list[int] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    first_token_s: float = 0.0
    matcher: Any = None
    random: np.random.Generator | None = None


class LlamaContext:
    """A loaded model with room for ``context_length`` tokens of up to ``sequences`` texts. Raises BadModel, DoesNotFit.

    ``exact`` keeps the cache in 32 bit and leaves out flash attention: slower, for comparing with other engines. ``apart``: each text has
    ``context_length / sequences`` cells of its own, so that sums do not depend on where others lie. ``on_result``: llama.cpp's
    ``cb_eval``, which may look at the result of any operation.
    """

    def __init__(self, path: Path, *, context_length: int, sequences: int, threads: int, batch: int, exact: bool = False, apart: bool = False,
                 on_result: Callable[[int, bool, Any], bool] | None = None):  # fmt: skip
        self._lib = lib = library()
        started = time.perf_counter()
        self._model = load_model(path, vocab_only=False)
        self.vocabulary = LlamaTokenizer(model=self._model)
        params = lib.llama_context_default_params()
        params.n_ctx = context_length
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = sequences
        params.kv_unified = not apart
        params.swa_full = True  # the shared prefix must stay whole for layers with a sliding window
        params.n_threads = params.n_threads_batch = threads or len(os.sched_getaffinity(0))
        params.flash_attn_type = (
            lib.LLAMA_FLASH_ATTN_TYPE_DISABLED if exact else lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        )
        if exact:
            params.type_k = params.type_v = _GGML_TYPE_F32
        params.no_perf = True
        self._on_result = lib.ggml_backend_sched_eval_callback(on_result) if on_result is not None else None
        if self._on_result is not None:
            params.cb_eval = self._on_result
        self._context = lib.llama_init_from_model(self._model, params)
        if not self._context:
            raise DoesNotFit(
                f"llama.cpp cannot make room for {context_length} tokens of {path.name} ({next(iter(_log), 'no reason given')})",
                "lower the context length or the number of parallel answers",
            )
        self._memory = lib.llama_get_memory(self._context)
        self.batch = batch
        self.context_length = int(lib.llama_n_ctx(self._context))
        self.load_s = time.perf_counter() - started

    def _adapter_of(self, adapter: Path) -> Any:
        loaded = self._lib.llama_adapter_lora_init(self._model, os.fsencode(adapter))
        if not loaded:
            raise BadModel(
                f"llama.cpp cannot load the adapter {adapter.name} ({next(iter(_log), 'no reason given')})",
                "check that it was tuned on this model",
            )
        return loaded

    def _set_adapter(self, loaded: Any) -> Any:
        """Use an adapter from the next decode call on; what must be kept alive meanwhile."""
        kept = (self._lib.llama_adapter_lora_p_ctypes * 1)(loaded)
        self._lib.llama_set_adapters_lora(self._context, kept, 1 if loaded else 0, (ctypes.c_float * 1)(1.0))
        return kept

    def _run(self, batch: Any, count: int) -> None:
        """One decode call."""
        if not count:
            return
        batch.n_tokens = count
        code = self._lib.llama_decode(self._context, batch)
        if code:
            raise DoesNotFit(
                f"llama.cpp could not decode a batch of {count} tokens (code {code}: {next(iter(_log), 'no room in the context')})",
                "lower the number of parallel answers or raise the context length",
            )

    def _logits(self, row: int) -> np.ndarray:
        pointer = self._lib.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary.size,))

    def close(self) -> None:
        """Give the memory back."""
        if self._model:
            self.vocabulary.closed = True
            self._lib.llama_free(self._context)
            self._lib.llama_model_free(self._model)
            self._model = None


class LlamaEngine(LlamaContext):
    """A GGUF model loaded for ``parallel`` answers at once over ``context_length`` tokens in all.

    ``adapter`` is a LoRA in GGUF form. Raises BadModel, DoesNotFit.
    """

    def __init__(self, path: Path, *, context_length: int = 4096, parallel: int = 1, threads: int = 0, batch: int = 512,
                 adapter: Path | None = None, exact: bool = False):  # fmt: skip
        super().__init__(
            path,
            context_length=context_length,
            sequences=parallel + 1,
            threads=threads,
            batch=batch,
            exact=exact,
        )
        self._adapter = self._set_adapter(self._adapter_of(adapter)) if adapter else None
        self._batch = self._lib.llama_batch_init(batch, 0, 1)
        self.parallel = parallel
        self._idle = list(range(parallel, 0, -1))
        self._waiting: deque[tuple[int, Request]] = deque()
        self._running: list[_Slot] = []
        self._prefix: list[int] = []
        self._reserved = 0

    # -- requests ---------------------------------------------------------------------------

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """See :class:`freehold.inference.interface.Engine`."""
        self.reset(_common_prefix([request.tokens for request in requests]))
        for index, request in enumerate(requests):
            self.submit(index, request)
        while self.busy:
            yield from self.step()

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self._waiting or self._running)

    def reset(self, prefix: Sequence[int] = ()) -> None:
        """Empty the memory and compute ``prefix``, which later prompts may begin with."""
        self._waiting.clear()
        self._running.clear()
        self._idle = list(range(self.parallel, 0, -1))
        self._lib.llama_memory_clear(self._memory, True)
        self._prefix = list(prefix)
        self._reserved = len(prefix)
        for start in range(0, len(prefix), self.batch):
            part = prefix[start : start + self.batch]
            for place, token in enumerate(part):
                self._put(place, token, start + place, 0, wanted=False)
            self._decode(len(part))

    def submit(self, index: int, request: Request) -> None:
        """Queue a request. Raises DoesNotFit if it can never fit."""
        need = len(request.tokens) + request.max_tokens
        if (
            need
            > self.context_length - (len(self._prefix) if self._own(request) == list(request.tokens) else 0)
            or not request.tokens
        ):
            raise DoesNotFit(
                f"a prompt of {len(request.tokens)} tokens and an answer of up to {request.max_tokens} exceed the context of "
                f"{self.context_length} tokens"
                if request.tokens
                else "the prompt is empty",
                "raise the context length or shorten the prompt"
                if request.tokens
                else "give it at least one token",
            )
        self._waiting.append((index, request))

    def cancel(self, index: int) -> None:
        """Forget a waiting or running request."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] != index)
        for slot in [slot for slot in self._running if slot.index == index]:
            self._release(slot)

    def _own(self, request: Request) -> list[int]:
        """The prompt's tokens after the shared prefix, or all of them if it begins otherwise."""
        size = len(self._prefix)
        shares = size and list(request.tokens[:size]) == self._prefix and len(request.tokens) > size
        return list(request.tokens[size:]) if shares else list(request.tokens)

    def _admit(self) -> None:
        while self._waiting and self._idle:
            index, request = self._waiting[0]
            own = self._own(request)
            need = len(own) + request.max_tokens
            if self._running and self._reserved + need > self.context_length:
                return
            self._waiting.popleft()
            self._reserved += need
            slot = _Slot(
                index,
                request,
                self._idle.pop(),
                own,
                len(request.tokens) - len(own),
                time.perf_counter(),
                len(request.tokens),
            )
            if slot.position:
                self._lib.llama_memory_seq_cp(self._memory, 0, slot.sequence, 0, slot.position)
            if request.schema:
                slot.matcher = grammar.matcher(self, grammar.of_schema(json.loads(request.schema)))
            elif request.grammar:
                slot.matcher = grammar.matcher(self, grammar.of_gbnf(request.grammar))
            if request.temperature > 0:
                slot.random = np.random.default_rng(request.seed)
            self._running.append(slot)

    def step(self) -> list[tuple[int, Completion]]:
        """One decode call; the requests it ended."""
        self._admit()
        used = 0
        asked: list[tuple[int, _Slot]] = []
        for slot in sorted(
            self._running, key=lambda slot: len(slot.pending)
        ):  # one-token continuations first
            take = min(len(slot.pending), self.batch - used)
            last = take == len(slot.pending)
            for offset in range(take):
                wanted = last and offset == take - 1
                self._put(
                    used + offset, slot.pending[offset], slot.position + offset, slot.sequence, wanted=wanted
                )
            if take and last:
                asked.append((used + take - 1, slot))
            del slot.pending[:take]
            slot.position += take
            used += take
            if used == self.batch:
                break
        self._decode(used)
        ended: list[tuple[int, Completion]] = []
        for row, slot in asked:
            finish = self._extend(slot, self._logits(row))
            if finish:
                ended.append((slot.index, self._completion(slot, finish)))
                self._release(slot)
        return ended

    def _extend(self, slot: _Slot, logits: np.ndarray) -> str:
        """Choose the next token; the reason why the answer ends here, or ''."""
        request = slot.request
        if not slot.first_token_s:
            slot.first_token_s = time.perf_counter() - slot.started
        if request.choices is not None:
            allowed = request.choices.allowed(slot.tokens)
            slot.tokens.append(allowed[int(np.argmax(logits[allowed]))])
            slot.pending = [slot.tokens[-1]]
            return "choice" if request.choices.settled(slot.tokens) is not None else ""
        token = self._sample(slot, logits)
        if self.vocabulary.is_end(token):
            return "stop"
        slot.tokens.append(token)
        slot.data += self.vocabulary.piece(token)
        slot.pending = [token]
        if any(stop.encode() in slot.data for stop in request.stops):
            return "stop"
        return "length" if len(slot.tokens) >= request.max_tokens else ""

    def _sample(self, slot: _Slot, logits: np.ndarray) -> int:
        if slot.matcher is not None:
            logits = slot.matcher.bound(logits)
        request, random = slot.request, slot.random
        token = (
            int(np.argmax(logits))
            if random is None
            else draw(logits, request.temperature, request.top_p, random)
        )
        if slot.matcher is not None:
            slot.matcher.take(token)
        return token

    def _completion(self, slot: _Slot, finish: str) -> Completion:
        request, tokens = slot.request, tuple(slot.tokens)
        if request.choices is not None:
            settled = request.choices.settled(slot.tokens)
            assert settled is not None
            text = request.choices.answers[settled]
            tokens = request.choices.tokens[
                settled
            ]  # whole, though decoding stopped where no other answer was left
        else:
            text = bytes(slot.data).decode("utf-8", "replace")
            for stop in request.stops:
                text = text.partition(stop)[0]
        elapsed = time.perf_counter() - slot.started
        return Completion(text, tokens, finish, slot.prompt_tokens, slot.first_token_s, elapsed)

    def _release(self, slot: _Slot) -> None:
        self._running.remove(slot)
        self._idle.append(slot.sequence)
        self._reserved -= len(self._own(slot.request)) + slot.request.max_tokens
        self._lib.llama_memory_seq_rm(self._memory, slot.sequence, -1, -1)

    def partial(self, index: int) -> str:
        """Text so far of a running request."""
        slot = next((slot for slot in self._running if slot.index == index), None)
        return bytes(slot.data).decode("utf-8", "ignore") if slot else ""

    # -- scoring ----------------------------------------------------------------------------

    def score(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """See :class:`freehold.inference.interface.Engine`."""
        scores: list[list[float]] = []
        for prompt, answer in rows:
            tokens = [*prompt, *answer]
            if len(tokens) > self.context_length:
                raise DoesNotFit(
                    f"a row of {len(tokens)} tokens exceeds the context of {self.context_length}",
                    "raise the context length",
                )
            self.reset()
            found: list[float] = []
            for start in range(0, len(tokens), self.batch):
                part = tokens[start : start + self.batch]
                wanted = [len(prompt) - 1 <= start + place < len(tokens) - 1 for place in range(len(part))]
                for place, token in enumerate(part):
                    self._put(place, token, start + place, 1, wanted=wanted[place])
                self._decode(len(part))
                for place in (place for place, is_wanted in enumerate(wanted) if is_wanted):
                    logits = self._logits(place).astype(np.float64)
                    top = logits.max()
                    found.append(
                        float(logits[tokens[start + place + 1]] - top - np.log(np.exp(logits - top).sum()))
                    )
            scores.append(found)
        return scores

    # -- the batch --------------------------------------------------------------------------

    def _put(self, place: int, token: int, position: int, sequence: int, *, wanted: bool) -> None:
        put(self._batch, place, token, position, sequence, wanted=wanted)

    def _decode(self, count: int) -> None:
        self._run(self._batch, count)

    def close(self) -> None:
        """See :class:`LlamaContext`."""
        if self._model:
            self._lib.llama_batch_free(self._batch)
        super().close()

    def __enter__(self) -> LlamaEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _common_prefix(prompts: list[tuple[int, ...]]) -> list[int]:
    """What all prompts begin with, short of any whole prompt; nothing for a single one."""
    return common_prefix(prompts)[: min(map(len, prompts)) - 1] if len(prompts) > 1 else []


@contextlib.contextmanager
def vocabulary(path: Path) -> Iterator[LlamaTokenizer]:
    """The vocabulary of a GGUF file for the length of a block."""
    loaded = LlamaTokenizer(path)
    try:
        yield loaded
    finally:
        loaded.close()
