"""Tune any stored model on rows: what ``freehold tune`` does. What is not GGUF is tuned in its GGUF form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from freehold.core.progress import Sink, silent
from freehold.data.examples import Example
from freehold.models.store import Model, Store
from freehold.runtime.gguf_form import as_gguf
from freehold.training import job
from freehold.training.job import TuneOptions, TuneResult
from freehold.trust import personal
from freehold.trust.canaries import canaries
from freehold.trust.gate import permit_models, permit_rows

#: Rows whose texts a converted tokenizer must cut as the original does.
_CHECKED_ROWS = 200


def tune(
    store: Store,
    model: Model,
    train: Sequence[Example],
    valid: Sequence[Example],
    asked: TuneOptions,
    name: str,
    sink: Sink = silent,
    say: Callable[[str], None] = lambda _: None,
    *,
    override: str = "",
) -> TuneResult:
    """As :func:`freehold.training.job.tune`, for GGUF, safetensors and adapters.

    Personal data in the rows is masked where ``asked.masked`` says so, then its canaries are mixed in. ``override``: the
    reason for going against the policy. Raises PolicyDenied where the policy says no, and Unsupported.
    """
    permit_models(store, "tune", [model], override, say)
    train, valid = learnable(train, valid, say, masked=asked.masked)
    if asked.canaries.get("count"):
        train = [*train, *canaries(asked.canaries["count"], asked.canaries["seed"])]
    base = as_gguf(
        store, model, [text for example in train[:_CHECKED_ROWS] for _, text in example.messages], sink
    )
    if base is not model:
        say(f"tuned as {base.name}, the GGUF form of {model.name}")
    return job.tune(store, base, train, valid, asked, name, sink, say)


def learnable(
    train: Sequence[Example], valid: Sequence[Example], say: Callable[[str], None], *, masked: bool
) -> tuple[Sequence[Example], Sequence[Example]]:
    """Training and validation rows, masked if asked for. Raises PolicyDenied where the policy allows no personal data."""
    kinds, numbers = personal.count(train)
    if kinds:
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        ending = "; masked" if masked else "; pass --mask to train without it"
        say(f"personal data in {len(numbers)} of {len(train)} rows ({counts}){ending}")
    if masked:
        return personal.masked(train), personal.masked(valid)
    permit_rows(train, "tune with --mask")
    return train, valid
