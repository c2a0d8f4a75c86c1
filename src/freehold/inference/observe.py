"""llama.cpp with its insides in view: the logits at every position of given rows, and what enters each
matrix.

Rows are packed into one decode call, each a sequence of its own, and share nothing.

Source of the tensor's layout: ``struct ggml_tensor`` in ggml.h of the llama.cpp that llama-cpp-python builds;
it is checked on the first tensor seen, and anything else is refused.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.errors import DoesNotFit, Unsupported
from freehold.core.machine import cores
from freehold.inference.llama import library, load_model, put

#: Tokens in a decode call.
BATCH = 512
_MOST_ROWS = 64


class Tensor(ctypes.Structure):
    """``struct ggml_tensor``."""


Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
]

#: Called with a matrix's name and its inputs (tokens, columns), float32.
OnInput = Callable[[str, np.ndarray], None]


class Observer:
    """A GGUF model that is looked into. Raises BadModel, DoesNotFit, Unsupported."""

    def __init__(self, path: Path, *, on_input: OnInput | None = None, threads: int = 0):
        self._lib = lib = library()
        self._model = load_model(path, vocab_only=False)
        self.vocabulary = int(lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model)))
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = BATCH
        params.n_seq_max = _MOST_ROWS
        params.kv_unified = True
        params.swa_full = True
        params.n_threads = params.n_threads_batch = threads or cores()
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self._failed: Exception | None = None
        if on_input is not None:
            self._callback = lib.ggml_backend_sched_eval_callback(self._watch(on_input))
            params.cb_eval = self._callback
        self._context = lib.llama_init_from_model(self._model, params)
        if not self._context:
            raise DoesNotFit(
                f"llama.cpp cannot make room for {BATCH} tokens of {path.name}", "free some memory"
            )
        self._batch = lib.llama_batch_init(BATCH, 0, 1)

    def _watch(self, on_input: OnInput) -> Callable[[int, bool, Any], bool]:
        def seen(address: int, ask: bool, _: Any) -> bool:
            try:
                return _look(address, ask, on_input)
            except Exception as error:  # nothing may pass through llama.cpp's own frames; logits() raises it
                self._failed = error
                return False

        return seen

    def logits(self, rows: Sequence[Sequence[int]]) -> Iterator[list[np.ndarray]]:
        """For each packed group of rows, their logits (tokens, vocabulary). The arrays are valid until the
        next group.
        """
        start = 0
        while start < len(rows):
            end, used = start, 0
            while end < len(rows) and end - start < _MOST_ROWS and used + len(rows[end]) <= BATCH:
                used += len(rows[end])
                end += 1
            if end == start:
                raise DoesNotFit(
                    f"a row of {len(rows[start])} tokens exceeds the {BATCH} that fit into one batch",
                    "shorten the row",
                )
            yield self._group(rows[start:end], used)
            start = end

    def _group(self, rows: Sequence[Sequence[int]], count: int) -> list[np.ndarray]:
        lib, batch = self._lib, self._batch
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        place = 0
        for sequence, row in enumerate(rows):
            for position, token in enumerate(row):
                put(batch, place, token, position, sequence, wanted=True)
                place += 1
        batch.n_tokens = count
        code = lib.llama_decode(self._context, batch)
        if self._failed is not None:
            raise self._failed
        if code:
            raise DoesNotFit(f"llama.cpp could not decode {count} tokens (code {code})", "free some memory")
        whole = np.ctypeslib.as_array(
            lib.llama_get_logits(self._context), shape=(count * self.vocabulary,)
        ).reshape(count, self.vocabulary)
        ends = np.cumsum([len(row) for row in rows])
        return [whole[end - len(row) : end] for row, end in zip(rows, ends, strict=True)]

    def close(self) -> None:
        """Give the memory back."""
        if self._model:
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self._context)
            self._lib.llama_model_free(self._model)
            self._model = None

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _look(address: int, ask: bool, on_input: OnInput) -> bool:
    """Whether the tensor is a product with a weight matrix (``ask``), or hand its input on."""
    tensor = ctypes.cast(address, ctypes.POINTER(Tensor)).contents
    if not tensor.src[0] or not tensor.src[1]:
        return False
    matrix, entered = tensor.src[0].contents, tensor.src[1].contents
    if not all(0 < length < 1 << 40 for length in (*tensor.ne, *matrix.ne)) or not 0 <= tensor.type < 256:
        raise Unsupported(
            "this build of llama.cpp lays its tensors out differently", "install the pinned llama-cpp-python"
        )
    wanted = (
        matrix.name.endswith(b".weight")
        and entered.type == 0
        and matrix.ne[1] > 1
        and entered.ne[0] == matrix.ne[0] == entered.nb[1] // 4
    )
    if ask or not wanted:
        return bool(wanted)
    count = int(entered.ne[1] * entered.ne[2] * entered.ne[3])
    data = ctypes.cast(entered.data, ctypes.POINTER(ctypes.c_float))
    on_input(
        matrix.name.decode(),
        np.ctypeslib.as_array(data, shape=(count * int(entered.ne[0]),)).reshape(count, -1),
    )
    return True
