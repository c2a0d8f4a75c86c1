"""Tune any stored model on rows: what ``freehold tune`` does. What is not GGUF is tuned in its GGUF form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from freehold.core.progress import Sink, silent
from freehold.data.examples import Example
from freehold.models.store import Model, Store
from freehold.runtime.gguf_form import as_gguf
from freehold.training import job
from freehold.training.job import TuneOptions, TuneResult

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
) -> TuneResult:
    """As :func:`freehold.training.job.tune`, for GGUF, safetensors and adapters. Raises Unsupported too."""
    base = as_gguf(
        store, model, [text for example in train[:_CHECKED_ROWS] for _, text in example.messages], sink
    )
    if base is not model:
        say(f"tuned as {base.name}, the GGUF form of {model.name}")
    return job.tune(store, base, train, valid, asked, name, sink, say)
