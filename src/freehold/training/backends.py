"""Which code trains a model: ours, or the libraries' (transformers and PEFT)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from freehold.core.errors import Unsupported, UsageError
from freehold.models.formats import architectures, gguf
from freehold.models.formats.families import ARCHITECTURES, SAFETENSORS_TYPES

OURS, LIBRARIES = "ours", "transformers"
#: What ``--trainer`` takes; "" chooses.
TRAINERS = (OURS, LIBRARIES)


@dataclass(frozen=True)
class Backend:
    """The choice."""

    #: "ours" or "transformers"
    name: str
    #: why, in a sentence
    reason: str


def choose(weights: Path, trainer: str = "") -> Backend:
    """What trains ``weights``, a GGUF file or a safetensors folder. Raises UsageError, Unsupported."""
    if trainer not in ("", *TRAINERS):
        raise UsageError(
            f"the trainer must be {' or '.join(TRAINERS)}, not {trainer!r}", "leave it out to choose"
        )
    kind, known = _architecture(weights)
    if trainer == OURS and not known:
        raise Unsupported(
            f"Freehold's own trainer does not know the architecture {kind!r}; it knows "
            f"{', '.join(ARCHITECTURES)}",
            "pass --trainer transformers",
        )
    if trainer:
        return Backend(trainer, f"trainer: {trainer}, as requested")
    if known:
        return Backend(OURS, f"trainer: ours, which knows {kind} and is faster")
    if not weights.is_dir() or not architectures.causal_class(kind):
        raise Unsupported(
            f"neither Freehold's own trainer nor transformers can tune {kind!r} from this file",
            "tune the safetensors model that it was made of, or choose another model",
        )
    return Backend(LIBRARIES, f"trainer: transformers, as Freehold's own does not know {kind}")


def knows(weights: Path) -> bool:
    """Whether our own trainer knows the architecture of a GGUF file or a safetensors folder."""
    return _architecture(weights)[1]


def _architecture(weights: Path) -> tuple[str, bool]:
    """The architecture's name, and whether our own trainer knows it."""
    if weights.is_dir():
        kind = str(json.loads((weights / "config.json").read_text()).get("model_type"))
        return kind, kind in SAFETENSORS_TYPES
    fields = gguf.read_header(weights).fields
    kind = str(fields.get("general.architecture"))
    if fields.get(f"{kind}.expert_count"):
        return f"{kind} with experts", False
    return kind, kind in ARCHITECTURES
