"""Rotary positions that are scaled for a longer context: linear, Llama 3, YaRN and LongRoPE.

Each comes down to a divisor for every rotary frequency and one factor on the cosines and sines.

Sources: the architectures' published configurations; Peng et al. 2023, "YaRN" (arXiv 2309.00071); Ding et al.
2024, "LongRoPE" (arXiv 2402.13753).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.core.errors import Unsupported


@dataclass(frozen=True)
class RotaryScaling:
    """What changes in rotary positions."""

    #: what each frequency is divided by, half of the turned dimensions of them; () where none is
    factors: tuple[float, ...] = ()
    #: what cosines and sines are multiplied with
    magnitude: float = 1.0


def scaling_of(rope: Mapping[str, Any], theta: float, dimensions: int, context: int) -> RotaryScaling:
    """Scaling that ``rope`` of a ``config.json`` describes, for ``dimensions`` turned dimensions of a head.

    ``context``: longest context of the model in tokens. Raises Unsupported.
    """
    kind = str(rope.get("rope_type", rope.get("type", "default")))
    if kind in ("default", "none"):
        return RotaryScaling()
    if kind == "linear":
        return RotaryScaling((float(rope["factor"]),) * (dimensions // 2))
    if kind == "llama3":
        return RotaryScaling(llama3_factors(rope, theta, dimensions))
    if kind == "yarn":
        return _yarn(rope, theta, dimensions, context)
    if kind == "longrope":
        return _longrope(rope, dimensions, context)
    raise Unsupported(f"the rotary scaling {kind!r} is not known", "choose a model without it")


def llama3_factors(rope: Mapping[str, Any], theta: float, dimensions: int) -> tuple[float, ...]:
    """Divisors that leave short wavelengths alone, divide long ones by ``factor`` and blend between (Llama
    3.1's published configuration).
    """
    context = float(rope["original_max_position_embeddings"])
    factor, low, high = float(rope["factor"]), float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    factors: list[float] = []
    for pair in range(dimensions // 2):
        # full turns of this pair within the first context
        turns = context / (2 * math.pi * theta ** (2 * pair / dimensions))
        blend = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1.0 / ((1.0 - blend) / factor + blend))
    return tuple(factors)


def _yarn(rope: Mapping[str, Any], theta: float, dimensions: int, context: int) -> RotaryScaling:
    original = float(rope.get("original_max_position_embeddings") or context)
    factor = float(rope.get("factor") or context / original)
    fast, slow = float(rope.get("beta_fast") or 32.0), float(rope.get("beta_slow") or 1.0)

    def dimension(turns: float) -> float:
        """Which pair makes so many full turns within the first context."""
        return dimensions * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = dimension(fast), dimension(slow)
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dimensions - 1)
    width = last - first if last != first else 0.001
    factors: list[float] = []
    for pair in range(dimensions // 2):
        scaled = min(max((pair - first) / width, 0.0), 1.0)
        factors.append(1.0 / (scaled / factor + 1.0 - scaled))
    return RotaryScaling(tuple(factors), _yarn_magnitude(rope, factor))


def _yarn_magnitude(rope: Mapping[str, Any], factor: float) -> float:
    def magnitude(by: float) -> float:
        return 0.1 * by * math.log(factor) + 1.0 if factor > 1 else 1.0

    stated = rope.get("attention_factor")
    if stated is not None:
        return float(stated)
    by, by_all = rope.get("mscale"), rope.get("mscale_all_dim")
    return magnitude(float(by)) / magnitude(float(by_all)) if by and by_all else magnitude(1.0)


def _longrope(rope: Mapping[str, Any], dimensions: int, context: int) -> RotaryScaling:
    """The factors of short texts: training rows are shorter than the context the model was made for."""
    factors = tuple(float(factor) for factor in rope["short_factor"])
    if len(factors) != dimensions // 2:
        raise Unsupported(
            f"the model has {len(factors)} rotary factors for {dimensions // 2} pairs of dimensions",
            "fetch it again",
        )
    return RotaryScaling(factors, longrope_magnitude(rope, context))


def longrope_magnitude(rope: Mapping[str, Any], context: int) -> float:
    """Factor on cosines and sines of a context that was stretched."""
    if rope.get("attention_factor"):
        return float(rope["attention_factor"])
    original = float(rope.get("original_max_position_embeddings") or context)
    factor = context / original
    return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0


def gguf_rope(
    fields: Mapping[str, object], architecture: str, short_factors: Sequence[float]
) -> dict[str, Any]:
    """The same description from a GGUF's metadata. ``short_factors``: its tensor of them, if it has one."""

    def value(key: str) -> Any:
        return fields.get(f"{architecture}.rope.scaling.{key}")

    kind = str(value("type") or "none")
    if short_factors:
        kind = "longrope"
    rope = {
        "rope_type": kind,
        "factor": value("factor"),
        "original_max_position_embeddings": value("original_context_length"),
        "beta_fast": value("yarn_beta_fast"),
        "beta_slow": value("yarn_beta_slow"),
        "attention_factor": None,
        "short_factor": list(short_factors),
    }
    attention = value("attn_factor")
    if kind == "longrope":
        rope["attention_factor"] = attention
    return rope
