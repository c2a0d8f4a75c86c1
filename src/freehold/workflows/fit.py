"""Which models and sizes a device of given memory runs, with how much context and how fast: what ``freehold
fit`` does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from freehold.core import atomic_files, machine, settings, yaml_text
from freehold.data.templates import PLAIN
from freehold.inference.loading import context_that_fits, open_engine, predict_memory, prompting
from freehold.inference.request import GenerationRequest
from freehold.models.info import ModelInfo
from freehold.models.store import Model, Store
from freehold.trial.jobs import token_speeds

#: Bits per weight, scales included, that a model of ordinary row lengths has in llama.cpp's mixtures (its
#: quantize tool's own table for 8B models).
BITS = {"Q8_0": 8.5, "Q4_K_M": 4.9, "Q2_K": 3.2}
#: Up to this share of the memory a variant leaves the rest of the device room to breathe.
IDEAL = 0.7


@dataclass(frozen=True)
class Fit:
    """A variant on a device. ``tokens_per_second`` None where nothing was measured to estimate from."""

    name: str
    kind: str
    size_bytes: int
    in_store: bool
    need_bytes: int
    context: int
    verdict: str
    reason: str
    tokens_per_second: float | None
    licence: str


def known() -> list[tuple[str, ModelInfo]]:
    """Published shapes of models that are not in the store."""
    rows = yaml_text.load((Path(__file__).parent / "known.yaml").read_text(), "known.yaml")
    return [
        (
            row["name"],
            ModelInfo(
                format="gguf",
                architecture="",
                parameters=int(row["parameters"] * 1e6),
                context_length=row["context"],
                quantization="",
                chat_template=None,
                licence=row["licence"],
                licence_from="known.yaml",
                size_bytes=0,
                layers=row["layers"],
                hidden=row["hidden"],
                kv_width=row["kv_width"],
                vocabulary=row["vocabulary"],
            ),
        )
        for row in rows
    ]


def variants(store: Store, memory_bytes: int, context: int) -> tuple[list[Fit], str]:
    """Every variant, those that fit first and larger ones before smaller; and where the speeds come from."""
    models = [model for model in store.newest() if model.info.format == "gguf"]
    rate, how = _rate(store, models)
    fits = [
        fit(m.name, m.info.quantization, m.info, m.info.size_bytes, memory_bytes, context, rate, stored=True)
        for m in models
    ]
    for name, card in known():
        for kind, bits in BITS.items():
            fits.append(
                fit(
                    name,
                    kind,
                    card,
                    int(card.parameters * bits / 8),
                    memory_bytes,
                    context,
                    rate,
                    stored=False,
                )
            )
    order = {"ideal": 0, "tight": 1, "won't fit": 2}
    return sorted(fits, key=lambda f: (order[f.verdict], -f.size_bytes)), how


def fit(
    name: str,
    kind: str,
    card: ModelInfo,
    size: int,
    memory: int,
    context: int,
    rate: float | None,
    *,
    stored: bool,
) -> Fit:
    """How a variant of ``size`` bytes does in ``memory`` bytes with ``context`` tokens.

    ``rate``: bytes of weights read per second, if measured.
    """
    tokens = min(context, card.context_length or context)
    need = predict_memory(replace(card, size_bytes=size), tokens, 1).total
    most = context_that_fits(card, size, memory)
    if need <= IDEAL * memory:
        verdict, reason = "ideal", f"{need / 2**30:.2f} GiB with {tokens} tokens of context; up to {most} fit"
    elif need <= memory:
        verdict, reason = (
            "tight",
            f"{need / 2**30:.2f} GiB leave {(memory - need) / 2**30:.2f} GiB for everything else",
        )
    elif most:
        verdict, reason = (
            "won't fit",
            f"{tokens} tokens of context need {need / 2**30:.2f} GiB; {most} would fit",
        )
    else:
        verdict, reason = "won't fit", f"the weights alone take {size / 2**30:.2f} GiB"
    return Fit(
        name, kind, size, stored, need, most, verdict, reason, rate / size if rate else None, card.licence
    )


def measured(store: Store, model: Model) -> float:
    """Answer tokens per second of a stored model on this machine, measured now."""
    engine = open_engine(store.weights(model), context_length=512, parallel=1)
    asking = prompting(replace(model.info, chat_template=PLAIN), engine.vocabulary, plain=True)
    try:
        return token_speeds(engine, asking, GenerationRequest((1,), 1))[1]
    finally:
        engine.close()


def _rate(store: Store, models: list[Model]) -> tuple[float | None, str]:
    """Bytes of weights read per second while answering, from the largest stored model's measured speed, kept
    per machine.
    """
    if not models:
        return None, "no speed: the store holds no model to measure this machine with; pull one"
    model = max(models, key=lambda m: m.info.size_bytes)
    stored = settings.home() / "speed.json"
    key = atomic_files.digest_of([machine.look().as_dict()["processor"], machine.look().cores, model.digest])
    values: dict[str, float] = json.loads(stored.read_text()) if stored.exists() else {}
    if key not in values:
        values[key] = measured(store, model)
        atomic_files.write_atomically(stored, json.dumps(values))
    how = (
        f"speeds scale by file size from {model.name} ({model.info.quantization}), measured here at "
        f"{values[key]:.0f} tokens/s"
    )
    return values[key] * model.info.size_bytes, how


@dataclass(frozen=True)
class CheckedFit:
    """The estimate for a stored model beside what was measured, tokens per second."""

    fit: Fit
    estimated: float
    measured: float

    @property
    def error(self) -> float:
        """Share by which the estimate is too high."""
        return self.estimated / self.measured - 1

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return {**asdict(self.fit), "measured_tokens_per_second": self.measured, "error": self.error}


def checked(store: Store, fits: list[Fit]) -> list[CheckedFit]:
    """Estimate and measurement of every stored model."""
    checks: list[CheckedFit] = []
    for estimate in fits:
        if estimate.in_store and estimate.tokens_per_second:
            speed = measured(store, store.find(estimate.name))
            checks.append(CheckedFit(estimate, estimate.tokens_per_second, speed))
    return checks
