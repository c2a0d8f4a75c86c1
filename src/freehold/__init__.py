"""Freehold: own your AI.

The verbs of the command line as a small Python API; each lives in its own room and is imported when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.core.errors import FreeholdError
    from freehold.models.store import Model, Store
    from freehold.runtime.loading import load
    from freehold.trial.run import Options, Trial
    from freehold.workflows.export import export
    from freehold.workflows.pull import pull
    from freehold.workflows.restore import restore

__all__ = ["FreeholdError", "Model", "Options", "Store", "Trial", "export", "load", "pull", "restore"]

_HOMES = {
    "FreeholdError": "freehold.core.errors",
    "Model": "freehold.models.store",
    "Options": "freehold.trial.run",
    "Store": "freehold.models.store",
    "Trial": "freehold.trial.run",
    "export": "freehold.workflows.export",
    "load": "freehold.runtime.loading",
    "pull": "freehold.workflows.pull",
    "restore": "freehold.workflows.restore",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'freehold' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
