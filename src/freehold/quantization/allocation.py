"""Give each matrix the type that costs the model least, within a budget of bytes.

1. What enters every matrix over the user's rows (:mod:`freehold.quantization.sensitivity`).
2. For every matrix and type the error of its output over those inputs, by ggml's own rounding; the file is
   then written with rounding that makes up for its errors (:mod:`freehold.quantization.gptq`). The error of
   the weights alone would not do: rounding that
   happens to undo what tuning added is small in the weights and large in the output.
3. For every group of matrices the divergence that a measured error causes, with all else unquantized.
   Divergence grows with the square of a small error, so a group's measured divergence over its error is
   what an error in it costs.
4. Types by dynamic programming: the least sum of costs within the bytes.

The result is plain GGUF in ggml's own blocks.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core import atomic_files
from freehold.core.errors import DoesNotFit
from freehold.core.progress import Sink, silent, task
from freehold.inference import ggml
from freehold.models.formats import gguf
from freehold.models.formats.decoders import plain_bytes, read_pieces, read_tensor
from freehold.quantization import gptq
from freehold.quantization.sensitivity import ActivationStatistics, Reference

#: Types offered, with the coarsest first. Which a matrix can take depends on its columns.
OFFERED = ("Q2_K", "Q3_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_K", "Q4_1", "Q5_0", "Q5_K", "Q5_1", "Q6_K", "Q8_0")
#: Bits at which a group's cost is probed: coarse enough to be seen, fine enough to be small.
PROBE_BITS = 4.5
#: Of a matrix with twice as many rows or more, about this many are tried in every type.
TRIED_ROWS = 256
#: The copy that errors are probed in.
PROBED_FILE = "probed.gguf"
#: ``general.file_type`` of a file whose matrices have different types: llama.cpp's mark for a type that is to
#: be guessed.
MIXED = 1024


@dataclass(frozen=True)
class Option:
    """A matrix in a type: bytes, and the mean square error of its output."""

    kind: str
    size: int
    error: float


@dataclass
class Matrix:
    """A quantizable tensor, its group, and what it can become."""

    tensor: gguf.Tensor
    group: str
    options: list[Option]

    def probe(self) -> Option:
        """The option nearest to :data:`PROBE_BITS`; of two, the one that is made faster."""
        return min(
            self.options,
            key=lambda option: (
                abs(8 * option.size / self.tensor.elements - PROBE_BITS),
                option.kind.startswith("IQ"),
            ),
        )


@dataclass(frozen=True)
class Sensitivity:
    """All that a budget is solved from. ``cost``: nats per unit of error, by group."""

    matrices: list[Matrix]
    cost: dict[str, float]


def group_of(name: str, bands: int, layers: int) -> str:
    """Matrices of one kind in neighbouring layers are probed together; ``bands`` of them over the depth."""
    if not name.startswith("blk."):
        return name
    _, layer, stem, _ = name.split(".", 3)
    kind = {
        "attn_q": "attn_in",
        "attn_k": "attn_in",
        "attn_v": "attn_v",
        "ffn_gate": "ffn_in",
        "ffn_up": "ffn_in",
    }.get(stem, stem)
    return f"{kind}.{int(layer) * bands // layers}"


def measure(
    source: Path,
    inputs: ActivationStatistics,
    reference: Reference,
    work: Path,
    *,
    seconds: float = 600.0,
    bands: int = 0,
    sink: Sink = silent,
) -> Sensitivity:
    """Errors of every matrix in every type, and the cost of an error in every group.

    ``source``: 16-bit GGUF; ``inputs``: what enters its matrices; ``work``: a folder for one copy of it.
    ``bands``: groups of neighbouring layers; 0: as many as can be probed in about ``seconds``, which differs
    with the machine's speed.
    """
    header = gguf.read_header(source)
    layers = 1 + max(
        (int(t.name.split(".")[1]) for t in header.tensors if t.name.startswith("blk.")), default=0
    )
    copy = work / PROBED_FILE
    atomic_files.need_disk(work, source.stat().st_size, "measuring sensitivity")
    shutil.copyfile(source, copy)
    wide = [tensor for tensor in header.tensors if len(tensor.shape) > 1]
    rounder = Rounder(inputs)
    matrices: list[Matrix] = []
    with task(sink, "trying every type on every matrix", len(wide), "matrices") as progress:
        for tensor in wide:
            matrices.append(Matrix(tensor, "", _options(source, tensor, rounder)))
            progress.more(1)
    bands = min(bands, layers) or _bands_in(seconds, reference, copy, wide, layers)
    for matrix in matrices:
        matrix.group = group_of(matrix.tensor.name, bands, layers)
    groups: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        groups.setdefault(matrix.group, []).append(matrix)
    cost: dict[str, float] = {}
    with task(sink, "measuring what an error costs", len(groups), "groups") as progress:
        for name, members in groups.items():
            for matrix in members:
                _patch(copy, matrix.tensor, _coarse(source, matrix, rounder))
            error = sum(matrix.probe().error for matrix in members)
            cost[name] = max(reference.loss_of(copy).kl_mean, 1e-9) / max(error, 1e-30)
            for matrix in members:
                _patch(copy, matrix.tensor, read_tensor(source, matrix.tensor))
            progress.more(1)
    copy.unlink()
    return Sensitivity(matrices, cost)


def _bands_in(
    seconds: float, reference: Reference, copy: Path, wide: Sequence[gguf.Tensor], layers: int
) -> int:
    """How many groups of layers can be probed in ``seconds``, by the time that one probe takes."""
    started = time.monotonic()
    reference.loss_of(copy)
    loss_s = time.monotonic() - started
    kinds = len({group_of(tensor.name, 1, layers) for tensor in wide})
    return int(max(1, min(layers, seconds / (1.3 * loss_s) / kinds)))


def _rows(source: Path, tensor: gguf.Tensor) -> np.ndarray:
    return read_tensor(source, tensor).reshape(-1, tensor.shape[0])


class Rounder:
    """Quantizes matrices by what enters them."""

    def __init__(self, inputs: ActivationStatistics):
        self.inputs = inputs
        self._last: tuple[int, Any] = (0, None)

    def product(self, name: str) -> np.ndarray | None:
        """Mean outer product of a matrix's inputs, if it was kept."""
        return self.inputs.product.get(name)

    def blocks(self, rows: np.ndarray, name: str, kind: str) -> np.ndarray:
        """ggml blocks of a matrix (rows, bytes per row)."""
        weight, product = self.inputs.mean_square.get(name), self.product(name)
        # an embedding is read row by row as well, and there nothing makes up for anything
        if weight is None or product is None or name.startswith("token_embd"):
            return ggml.quantize(rows, kind, weight)
        if self._last[0] != id(product):
            self._last = (id(product), gptq.feedback(product))
        return gptq.compensated(rows, kind, weight, self._last[1])

    def error(self, difference: np.ndarray, name: str) -> float:
        """What an error of the weights does to the output, mean square over inputs."""
        product, weight = self.product(name), self.inputs.mean_square.get(name)
        if product is not None:
            return gptq.output_error(difference, product)
        squares = np.square(difference).sum(0, dtype=np.float64)
        return float((squares if weight is None else squares * weight).sum())


def _options(source: Path, tensor: gguf.Tensor, rounder: Rounder) -> list[Option]:
    """What every type costs a matrix; a tall one is sampled, rows at equal distances."""
    every, columns = _rows(source, tensor), tensor.shape[0]
    rows = every[:: max(1, len(every) // TRIED_ROWS)]
    share = len(rows) / len(every)
    options = [Option("F16", 2 * tensor.elements, 0.0)]
    for kind in OFFERED:
        if columns % ggml.row_type(kind).block == 0:
            blocks = ggml.quantize(rows, kind, rounder.inputs.mean_square.get(tensor.name))
            error = rounder.error(ggml.dequantize(blocks, kind, columns) - rows, tensor.name) / share
            options.append(Option(kind, blocks.nbytes // len(rows) * len(every), error))
    return options


def _coarse(source: Path, matrix: Matrix, rounder: Rounder) -> np.ndarray:
    kind, tensor = matrix.probe().kind, matrix.tensor
    return ggml.dequantize(
        ggml.quantize(_rows(source, tensor), kind, rounder.inputs.mean_square.get(tensor.name)),
        kind,
        tensor.shape[0],
    )


def _patch(file: Path, tensor: gguf.Tensor, values: np.ndarray) -> None:
    """Overwrite a 16-bit tensor's data in place."""
    with file.open("r+b") as opened:
        opened.seek(tensor.offset)
        opened.write(plain_bytes(values, tensor.kind))


def solve(sensitivity: Sensitivity, budget: int, steps: int = 20000) -> dict[str, str]:
    """Matrix name -> type, of least cost within ``budget`` bytes of matrices. Raises DoesNotFit.

    Exact but for sizes being rounded up to ``budget / steps`` bytes.
    """
    _need(sum(min(option.size for option in matrix.options) for matrix in sensitivity.matrices), budget)
    unit = budget / steps
    best = np.zeros(steps + 1)
    choices: list[np.ndarray] = []
    for matrix in sensitivity.matrices:
        cost = sensitivity.cost[matrix.group]
        total = np.full(steps + 1, np.inf)
        chosen = np.zeros(steps + 1, dtype=np.int16)
        for number, option in enumerate(matrix.options):
            width = int(np.ceil(option.size / unit))
            if width > steps:
                continue
            shifted = np.full(steps + 1, np.inf)
            shifted[width:] = best[: steps + 1 - width] + cost * option.error
            better = shifted < total
            total[better], chosen[better] = shifted[better], number
        best = total
        choices.append(chosen)
    if not np.isfinite(best[steps]):
        raise DoesNotFit(
            f"{budget / 1e6:.1f} MB are too few by rounding", "raise --memory or --bits a little"
        )
    kinds: dict[str, str] = {}
    room = steps
    for matrix, chosen in zip(reversed(sensitivity.matrices), reversed(choices), strict=True):
        option = matrix.options[chosen[room]]
        kinds[matrix.tensor.name] = option.kind
        room -= int(np.ceil(option.size / unit))
    return kinds


def check_room(source: Path, budget: int) -> None:
    """Raises DoesNotFit where the matrices of ``source`` take more than ``budget`` bytes in the coarsest
    types. Needs no measurement.
    """
    least = 0
    for tensor in gguf.read_header(source).tensors:
        if len(tensor.shape) > 1:
            columns, kinds = tensor.shape[0], (ggml.row_type(kind) for kind in OFFERED)
            rows = tensor.elements // columns
            sizes = [rows * kind.row_bytes(columns) for kind in kinds if columns % kind.block == 0]
            least += min([2 * tensor.elements, *sizes])
    _need(least, budget)


def _need(least: int, budget: int) -> None:
    """Raises DoesNotFit where ``budget`` is less than the ``least`` bytes that matrices can have."""
    if least > budget:
        raise DoesNotFit(
            f"the matrices need at least {least / 1e6:.1f} MB in the coarsest types, but only "
            f"{budget / 1e6:.1f} MB are allowed",
            "raise --memory or --bits, or choose a smaller model",
        )


def overhead(source: Path) -> int:
    """Bytes of a file beside its matrices: metadata, tensor table, norms."""
    header = gguf.read_header(source)
    return source.stat().st_size - sum(tensor.size for tensor in header.tensors if len(tensor.shape) > 1)


def write(
    source: Path,
    target: Path,
    kinds: dict[str, str],
    inputs: ActivationStatistics,
    on_tensor: Callable[[], None] | None = None,
) -> None:
    """Write ``source`` with each matrix in its type, everything else as it is."""
    header = gguf.read_header(source)
    rounder = Rounder(inputs)
    every = {tensor.name: kinds.get(tensor.name, tensor.kind) for tensor in header.tensors}

    def data_of(tensor: gguf.Tensor) -> list[bytes]:
        if on_tensor and len(tensor.shape) > 1:
            on_tensor()
        kind = every[tensor.name]
        if kind in ("F32", "F16", "BF16"):
            return [plain_bytes(rows, kind) for _, rows in read_pieces(source, tensor)]
        return [rounder.blocks(_rows(source, tensor), tensor.name, kind).tobytes()]

    with atomic_files.replacing(target) as temporary:
        gguf.write_like(source, header, temporary, every, MIXED, data_of)


def kinds_used(kinds: dict[str, str], matrices: Sequence[Matrix]) -> dict[str, float]:
    """Share of the weights that each type holds."""
    total = sum(matrix.tensor.elements for matrix in matrices)
    shares: dict[str, float] = {}
    for matrix in matrices:
        kind = kinds[matrix.tensor.name]
        shares[kind] = shares.get(kind, 0.0) + matrix.tensor.elements / total
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))
