"""Models from a shared folder: ``freehold pull shelf:NAME`` takes the folder NAME in ``FREEHOLD_SHELF``."""

from __future__ import annotations

import os
from pathlib import Path

from freehold.core.errors import NotFound, UsageError
from freehold.core.progress import Sink
from freehold.models.store import Store
from freehold.sources.source import Delivery


def deliver(store: Store, reference: str, folder: Path, sink: Sink) -> Delivery:
    """The files of the folder that ``reference`` names. Raises UsageError, NotFound."""
    shelf = os.environ.get("FREEHOLD_SHELF", "")
    if not shelf:
        raise UsageError("FREEHOLD_SHELF is not set", "set it to the folder that holds your models")
    model = Path(shelf) / Path(reference).name  # never above the shared folder
    if not model.is_dir():
        raise NotFound(f"there is no folder {model}", f"use one of the folders in {shelf}")
    files = {path.name: path for path in sorted(model.iterdir()) if path.is_file()}
    return Delivery(files, {"shelf": shelf, "folder": model.name})
