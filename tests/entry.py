"""Ways in for tests whose subject is something else: the gate of the command line, without the engine's
try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from freehold.core.progress import Sink, silent
from freehold.models import archive
from freehold.models.store import Model, Store
from freehold.sources import fetch
from freehold.trust.gate import Gate


class Quick(Gate):
    """Looks at names, dangers and the policy as everywhere; no engine is started to load the model."""

    def try_out(self, files: Mapping[str, Path], folder: Path) -> None:
        """Nothing."""


def pull(
    store: Store,
    source: str,
    name: str,
    sink: Sink = silent,
    *,
    base: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Model:
    """As ``freehold pull``, quicker."""
    return fetch.pull(store, source, name, Quick(store), sink, base=base, say=say)


def restore(store: Store, file: Path, name: str = "") -> Model:
    """As ``freehold restore``, quicker."""
    return archive.restore(store, file, Quick(store), name)
