"""A stored model opened for talking to: its engine, its template, and the system message it was tuned with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from freehold.engines.interface import Engine, Prompting
from freehold.engines.loading import open_engine, prompting
from freehold.errors import Unsupported
from freehold.hub.peft import GGUF_ADAPTER
from freehold.hub.store import Model, Store


@dataclass
class Session:
    """``system``: the system message all rows of its tuning shared, '' if none."""

    model: Model
    engine: Engine
    prompting: Prompting
    system: str

    def close(self) -> None:
        """Give the memory back."""
        self.engine.close()


def tuned_system(store: Store, model: Model) -> str:
    """The system message that every training row of a tuned model shared; '' if there was none."""
    if "task.json" not in model.manifest:
        return ""
    rows = json.loads(store.file(model, "task.json").read_text())["train"]
    found = {row["messages"][0][1] if row["messages"][0][0] == "system" else "" for row in rows}
    return found.pop() if len(found) == 1 else ""


def weights_and_adapter(store: Store, model: Model) -> tuple[Path, Path]:
    """The weights of an adapter's base, and the adapter in the form that the base's engine reads. Raises NotFound, Unsupported."""
    base = store.base_of(model)
    if base.card.format != "gguf":
        return store.weights(base), store.folder_of(model)
    if GGUF_ADAPTER not in model.manifest:
        raise Unsupported(
            f"{model.name} is a DoRA adapter, which llama.cpp cannot load",
            "use its base as safetensors: pull that, then the adapter again",
        )
    return store.weights(base), store.file(model, GGUF_ADAPTER)


def open_session(
    store: Store, name: str, *, context_length: int = 0, parallel: int = 1, adapter: Path | None = None
) -> Session:
    """Open a model by name, an adapter on its base. ``context_length`` 0: up to 4,096 tokens. Raises NotFound, BadModel, DoesNotFit."""
    model = store.find(name)
    length = context_length or min(4096, model.card.context_length or 4096)
    weights = store.weights(model)
    if model.card.format == "adapter":
        weights, adapter = weights_and_adapter(store, model)
    engine = open_engine(weights, context_length=length, parallel=parallel, adapter=adapter)
    return Session(model, engine, prompting(model.card, engine.vocabulary), tuned_system(store, model))
