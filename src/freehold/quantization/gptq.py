"""Quantize a matrix block by block; each block compensates for the errors of those before it.

What matters is the error of the matrix's output over the inputs it really meets. When a block of columns has
been rounded, its error can be compensated in part by the columns not yet rounded, since inputs of different
columns move together. The update that leaves the least output error is known in closed form.

Source: Frantar et al. 2022, "GPTQ" (arXiv 2210.17323), there for single columns with a grid of its own; here
a step is a block of ggml's, rounded by ggml itself, so the result is plain GGUF.
"""

from __future__ import annotations

import numpy as np
import torch

from freehold.inference import ggml

#: Share of the mean square added to the diagonal, so that directions never seen do not count as free.
DAMPING = 0.01


def feedback(product: np.ndarray) -> torch.Tensor:
    """Upper factor U of the inverse input product, ``inverse = U^T U``, from the mean outer product of the
    inputs (columns, columns).
    """
    wide = torch.from_numpy(product).double()
    diagonal = wide.diagonal()
    floor = DAMPING * float(diagonal.mean()) + 1e-12
    wide = wide + torch.eye(len(wide), dtype=wide.dtype) * floor
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(wide))
    return torch.linalg.cholesky(inverse, upper=True).float()


def compensated(weights: np.ndarray, kind: str, importance: np.ndarray, factor: torch.Tensor) -> np.ndarray:
    """Like :func:`freehold.inference.ggml.quantize`, with errors compensated.

    ``factor``: of :func:`feedback`.
    """
    block = ggml.row_type(kind).block
    rows = weights.shape[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch's threads would spin beside those that ggml's blocks are rounded in
    try:
        return _rounded(
            torch.from_numpy(np.array(weights, dtype=np.float32)), kind, block, importance, factor
        ).reshape(rows, -1)
    finally:
        torch.set_num_threads(threads)


def _rounded(
    left: torch.Tensor, kind: str, block: int, importance: np.ndarray, factor: torch.Tensor
) -> np.ndarray:
    columns = left.shape[1]
    parts: list[np.ndarray] = []
    for start in range(0, columns, block):
        end = start + block
        part = left[:, start:end].contiguous()
        parts.append(ggml.quantize(part.numpy(), kind, importance[start:end]))
        if end < columns:
            error = part - torch.from_numpy(ggml.dequantize(parts[-1], kind, block))
            scaled = torch.linalg.solve_triangular(
                factor[start:end, start:end], error, upper=True, left=False
            )
            left[:, end:].addmm_(scaled, factor[start:end, end:], alpha=-1.0)
    return np.concatenate(parts, axis=1)


def output_error(difference: np.ndarray, product: np.ndarray) -> float:
    """Mean square of what an error of the weights (rows, columns) adds to the output, summed over outputs."""
    wrong = torch.from_numpy(np.ascontiguousarray(difference, dtype=np.float32))
    return float(((wrong @ torch.from_numpy(product)) * wrong).sum(dtype=torch.float64))
