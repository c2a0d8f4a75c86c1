"""llama.cpp: its log, a loaded model, its tokens, and a context in which texts are
computed.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core import engine_build
from freehold.core.errors import BadModel, Busy, DoesNotFit, Unsupported, UsageError
from freehold.core.machine import cores
from freehold.inference import offload
from freehold.inference.llama_api import (
    LLAMA_TOKEN_ATTR_CONTROL,
    LLAMA_TOKEN_ATTR_USER_DEFINED,
    LlamaLibrary,
    llama_log_callback,
)
from freehold.inference.shortest_tokens import Shortest

_GGML_TYPE_F32 = 0
#: Kinds of vocabularies (SentencePiece's and byte-level pairs) whose tokens hold all of a text.
_LOSSLESS = (1, 2)
_log: deque[str] = deque(maxlen=40)
_keep: list[Any] = []
#: Whoever wants to hear what llama.cpp says, each line as it comes.
_listening: list[Callable[[str], None]] = []


@functools.cache
def library() -> LlamaLibrary:
    """llama.cpp, loaded once in a process, with its log kept in memory instead of on the screen.

    Raises MissingPart, Unsupported, UsageError; see :mod:`freehold.core.engine_build`.
    """
    loaded = LlamaLibrary(engine_build.choose())
    engine_build.hold(
        loaded.build
    )  # another may be installed meanwhile: what is said and kept is of this one

    @llama_log_callback
    def collect(level: int, text: bytes, _: Any) -> None:
        if level >= 3:
            _log.append(text.decode("utf-8", "replace").strip())
        for hear in _listening:
            hear(text.decode("utf-8", "replace"))

    _keep.append(collect)
    loaded.llama_log_set(collect, ctypes.c_void_p(0))
    loaded.llama_backend_init()
    return loaded


@contextlib.contextmanager
def heard(hear: Callable[[str], None]) -> Iterator[None]:
    """Tell ``hear`` every line that llama.cpp logs meanwhile, from whatever thread."""
    library()
    _listening.append(hear)
    try:
        yield
    finally:
        _listening.remove(hear)


def load_model(path: Path, *, vocab_only: bool, gpu_layers: int = 0) -> Any:
    """llama.cpp's model, which the caller frees. ``gpu_layers``: layers on graphics cards, see
    :mod:`freehold.inference.offload`. Raises BadModel.
    """
    lib = library()
    params = lib.llama_model_default_params()
    params.vocab_only = vocab_only
    params.n_gpu_layers = gpu_layers
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
        """See :class:`freehold.inference.interface.Tokenizer`.

        Raises Unsupported for half characters (lone surrogates).
        """
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
        """See :class:`freehold.inference.interface.Tokenizer`."""
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

    def marked_pieces(self, mark: bytes) -> list[bytes]:
        """Bytes of every token; ``mark`` stands before those that control the model, or look like it."""
        pieces = [self._bytes(token, control=True) for token in range(self.size)]
        for token, piece in enumerate(pieces):
            attributes = self._lib.llama_vocab_get_attr(self._vocab, token)
            looks = attributes & LLAMA_TOKEN_ATTR_USER_DEFINED and piece[:1] + piece[-1:] == b"<>"
            if attributes & LLAMA_TOKEN_ATTR_CONTROL or looks:
                pieces[token] = mark + piece
        return pieces

    @property
    def address(self) -> int:
        """Where llama.cpp's vocabulary is in memory, until the model is closed."""
        return int(self._vocab)

    @property
    def tokenize_address(self) -> int:
        """Where llama.cpp's function is that turns a text into tokens."""
        return ctypes.cast(self._lib.llama_tokenize, ctypes.c_void_p).value or 0

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
        """See :class:`freehold.inference.interface.Tokenizer`."""
        return b"".join(self.piece(token) for token in tokens).decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """See :class:`freehold.inference.interface.Tokenizer`."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    @property
    def end(self) -> int:
        """See :class:`freehold.inference.interface.Tokenizer`."""
        turn = self._lib.llama_vocab_eot(self._vocab)
        return turn if turn >= 0 else self._lib.llama_vocab_eos(self._vocab)

    def close(self) -> None:
        """Give the memory back."""
        if self._owned:
            self._lib.llama_model_free(self._owned)
            self._owned = None


class LlamaContext:
    """A loaded model with room for ``context_length`` tokens of up to ``sequences`` texts.

    Raises BadModel, DoesNotFit.

    ``exact``, ``separate_cells``, ``gpu_layers``: see
    :class:`freehold.inference.engine_options.EngineOptions`.
    ``on_result``: llama.cpp's ``cb_eval``, which may look at the result of any operation.
    """

    def __init__(
        self,
        path: Path,
        *,
        context_length: int,
        sequences: int,
        threads: int,
        batch: int,
        exact: bool = False,
        separate_cells: bool = False,
        gpu_layers: int | None = None,
        on_result: Callable[[int, bool, Any], bool] | None = None,
    ):
        self._lib = lib = library()
        started = time.perf_counter()
        #: What is computed on graphics cards, and why.
        read_sizes = functools.partial(
            offload.layer_sizes,
            path,
            context_length=context_length,
            batch=batch,
            outputs=sequences,
            cache_bytes=4 if exact else 2,
        )
        self.offload = offload.plan(read_sizes, offload.cards(lib), gpu_layers)
        self._model = load_model(path, vocab_only=False, gpu_layers=self.offload.gpu_layers)
        self.vocabulary = LlamaTokenizer(model=self._model)
        params = lib.llama_context_default_params()
        params.n_ctx = context_length
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = sequences
        params.kv_unified = not separate_cells
        params.swa_full = True  # the shared prefix must stay whole for layers with a sliding window
        params.n_threads = params.n_threads_batch = threads or cores()
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
                f"llama.cpp cannot make room for {context_length} tokens of {path.name} "
                f"({next(iter(_log), 'no reason given')})",
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
        adapters = (self._lib.llama_adapter_lora_p_ctypes * 1)(loaded)
        count = 1 if loaded else 0
        self._lib.llama_set_adapters_lora(self._context, adapters, count, (ctypes.c_float * 1)(1.0))
        return adapters

    def _run(self, batch: Any, count: int) -> None:
        """One decode call."""
        if not count:
            return
        batch.n_tokens = count
        code = self._lib.llama_decode(self._context, batch)
        if code:
            raise DoesNotFit(
                f"llama.cpp could not decode a batch of {count} tokens "
                f"(code {code}: {next(iter(_log), 'no room in the context')})",
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


@contextlib.contextmanager
def vocabulary(path: Path) -> Iterator[LlamaTokenizer]:
    """The vocabulary of a GGUF file for the length of a block."""
    loaded = LlamaTokenizer(path)
    try:
        yield loaded
    finally:
        loaded.close()
