"""Quantization to llama.cpp's usual mixes, by its own quantizer where the engine has it; the result is plain
GGUF."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core import atomic_files, machine
from freehold.core.errors import StepFailed, UsageError
from freehold.inference.llama import heard, library
from freehold.models.formats import gguf
from freehold.quantization import mixes

#: What the trial makes: 8, 4 and 2 bit.
TYPES = ("Q8_0", "Q4_K_M", "Q2_K")
#: What llama.cpp says when it begins with a tensor: "[  12/ 272] blk.1.attn_q.weight - ...".
_TENSOR = re.compile(r"\[ *(\d+)/ *\d+\]")


@dataclass(frozen=True)
class Quantized:
    """Digest and size of a quantized file, and the share of its weights that could not take the asked type's
    own blocks.
    """

    type: str
    digest: str
    size_bytes: int
    bits_per_weight: float
    fallback_share: float


def quantize(
    source: Path,
    target: Path,
    kind: str,
    *,
    importance: dict[str, np.ndarray] | None = None,
    threads: int = 0,
    begun: Callable[[int], None] | None = None,
) -> Quantized:
    """Write ``source`` (16- or 32-bit GGUF) as ``kind``. Raises UsageError, DoesNotFit, StepFailed.

    ``importance``: matrix name -> weight of an error in each column (columns,), float32. ``begun`` is told
    the number of each tensor, from 1, when its turn has come.

    Rows whose length is not a multiple of 256 cannot take K-quant blocks; llama.cpp gives them the next
    larger type, and ``fallback_share`` says for what share of the weights.
    """
    llama_cpp = library()
    numbers = {name: number for number, name in gguf.FILE_TYPES.items()}
    if kind not in numbers:
        raise UsageError(f"{kind!r} is not a quantization type", f"use one of {', '.join(sorted(numbers))}")
    atomic_files.need_disk(target.parent, source.stat().st_size, f"writing {kind}")
    if llama_cpp.holds("llama_model_quantize"):
        _with_llama_cpp(source, target, numbers[kind], importance, threads, begun)
    else:
        mixes.write(source, target, kind, importance=importance, begun=begun)
    return describe(target, kind)


def _with_llama_cpp(
    source: Path,
    target: Path,
    file_type: int,
    importance: dict[str, np.ndarray] | None,
    threads: int,
    begun: Callable[[int], None] | None,
) -> None:
    llama_cpp = library()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type
    params.nthread = threads or machine.cores()
    params.allow_requantize = True
    imatrix = _importance_data(importance) if importance else None
    if imatrix is not None:
        params.imatrix = imatrix

    def hear(line: str) -> None:
        if begun is not None and (match := _TENSOR.match(line)):
            begun(int(match[1]))

    with atomic_files.replacing(target) as temporary, heard(hear):
        code = llama_cpp.llama_model_quantize(
            os.fsencode(source), os.fsencode(temporary), ctypes.pointer(params)
        )
        if code:
            raise StepFailed(
                f"llama.cpp could not quantize {source.name} to {gguf.FILE_TYPES[file_type]} (code {code})",
                "check the disk and the source file",
            )


def _importance_data(importance: dict[str, np.ndarray]) -> Any:
    """llama.cpp's array of (name, values, count), ended by an entry without a name."""
    llama_cpp = library()
    array = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
    for entry, (name, values) in zip(array, importance.items(), strict=False):
        entry.name, entry.size = name.encode(), len(values)
        entry.data = np.ascontiguousarray(values, dtype=np.float32).ctypes.data_as(
            ctypes.POINTER(ctypes.c_float)
        )  # which keeps the values alive
    return array


def describe(path: Path, kind: str) -> Quantized:
    """Measure a quantized file from its header."""
    header = gguf.read_header(path)
    matrices = [tensor for tensor in header.tensors if len(tensor.shape) > 1]
    weights = sum(tensor.elements for tensor in matrices)
    misfit = sum(tensor.elements for tensor in matrices if "_K" in kind and tensor.shape[0] % 256)
    bits = 8 * sum(tensor.size for tensor in matrices) / weights
    return Quantized(
        kind, atomic_files.sha256_file(path), path.stat().st_size, round(bits, 3), round(misfit / weights, 4)
    )
