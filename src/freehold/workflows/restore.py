"""Take a model in from an archive: what ``freehold restore`` does."""

from __future__ import annotations

from pathlib import Path

from freehold.core.progress import Sink, silent
from freehold.models import archive
from freehold.models.store import Model, Store
from freehold.trust.gate import Gate, Say, quiet


def restore(
    store: Store, file: Path, name: str = "", sink: Sink = silent, *, override: str = "", say: Say = quiet
) -> Model:
    """The model in an archive, stored as ``name`` or under its own.

    It is scanned, and the policy in force is asked, as for a model that is pulled. Raises FreeholdError; then
    the store is unchanged.
    """
    return archive.restore(store, file, Gate(store, override, say), name, sink)
