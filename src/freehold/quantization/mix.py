"""Our own mix of types for a model: what the rows say about its matrices, and the file within a size.

``freehold shrink`` and a trial both make their files here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freehold.core.progress import Sink, silent, task
from freehold.models.formats import gguf
from freehold.quantization import allocation
from freehold.quantization.sensitivity import (
    PRODUCT_BYTES,
    REFERENCE_BYTES,
    Reference,
    activation_statistics,
    choose_rows,
    positions_in_memory,
)

#: Tokens that the statistics of activations are gathered from.
IMPORTANCE_TOKENS = 16384
#: Bytes of the table of tensors that a matrix may add to a file by padding.
_PADDING = 32


#: Bytes of the process before any model.
_PROCESS_BYTES = 500_000_000


def mix_memory(parameters: int) -> int:
    """Bytes of memory that making a mix takes at most: the model in 16 bit, the statistics, two sets of
    distributions.
    """
    return _PROCESS_BYTES + 2 * parameters + PRODUCT_BYTES + 2 * REFERENCE_BYTES


class Mixer:
    """Mixes of types for one model, calibrated on ``rows``.

    ``source``: its weights as 16-bit GGUF. ``rows``: calibration rows as tokens. ``vocabulary``: number of
    its tokens. ``work``: a folder for one copy of the weights. ``tokens``: of ``rows``, for the statistics
    of activations; ``positions``: of ``rows``, at which a loss is measured, at most. ``probing_s``: seconds
    for measuring what errors cost; ``bands``: groups of layers that are probed one by one, 0 for as many as
    the seconds allow.
    """

    def __init__(
        self,
        source: Path,
        rows: Sequence[Sequence[int]],
        vocabulary: int,
        work: Path,
        sink: Sink = silent,
        *,
        tokens: int = IMPORTANCE_TOKENS,
        positions: int = 1 << 30,
        probing_s: float = 600.0,
        bands: int = 0,
    ):
        self._source, self._work, self._sink = source, work, sink
        self._probing_s, self._bands = probing_s, bands
        self.inputs = activation_statistics(source, choose_rows(rows, tokens=tokens), sink)
        positions = min(positions, positions_in_memory(vocabulary))
        self.reference = Reference(source, choose_rows(rows, positions=positions), sink)
        self._sensitivity: allocation.Sensitivity | None = None

    @property
    def sensitivity(self) -> allocation.Sensitivity:
        """What errors cost in each matrix; measured once, when it is first needed."""
        if self._sensitivity is None:
            self._sensitivity = allocation.measure(
                self._source,
                self.inputs,
                self.reference,
                self._work,
                seconds=self._probing_s,
                bands=self._bands,
                sink=self._sink,
            )
        return self._sensitivity

    def within(self, size_bytes: int, target: Path) -> dict[str, float]:
        """Write the best mix of at most ``size_bytes`` to ``target``; type -> its share of the weights.

        Raises DoesNotFit where even the coarsest types take more.
        """
        wide = [tensor for tensor in gguf.read_header(self._source).tensors if len(tensor.shape) > 1]
        room = size_bytes - allocation.overhead(self._source) - _PADDING * len(wide)
        allocation.check_room(self._source, room)  # before anything is measured
        matrices = self.sensitivity.matrices
        kinds = allocation.solve(self.sensitivity, room)
        with task(self._sink, f"writing {target.stem}", len(matrices), "matrices") as progress:
            allocation.write(self._source, target, kinds, self.inputs, lambda: progress.more(1))
        return allocation.kinds_used(kinds, matrices)
