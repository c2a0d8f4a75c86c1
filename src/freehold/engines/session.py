"""A stored model opened for talking to: its engine, its template, and the system message it was tuned with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from freehold.engines.interface import Engine, Prompting
from freehold.engines.loading import open_engine, prompting
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


def open_session(store: Store, name: str, *, context_length: int = 0, parallel: int = 1, adapter: Path | None = None) -> Session:
    """Open a model by name. ``context_length`` 0: up to 4,096 tokens. Raises NotFound, BadModel, DoesNotFit."""
    model = store.find(name)
    length = context_length or min(4096, model.card.context_length or 4096)
    engine = open_engine(store.weights(model), context_length=length, parallel=parallel, adapter=adapter)
    return Session(model, engine, prompting(model.card, engine.vocabulary), tuned_system(store, model))
