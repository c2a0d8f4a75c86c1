"""Freehold: own your AI.

The verbs of the command line as a small Python API; each lives in its own room and is imported when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.errors import FreeholdError
    from freehold.hub.store import Model, Store
    from freehold.trial.export import export
    from freehold.trial.loading import load
    from freehold.trial.trial import Options, Trial
    from freehold.trust.gate import pull

__all__ = ["FreeholdError", "Model", "Options", "Store", "Trial", "export", "load", "pull"]

_HOMES = {
    "FreeholdError": "freehold.errors",
    "Model": "freehold.hub.store",
    "Options": "freehold.trial.trial",
    "Store": "freehold.hub.store",
    "Trial": "freehold.trial.trial",
    "export": "freehold.trial.export",
    "load": "freehold.trial.loading",
    "pull": "freehold.trust.gate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'freehold' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
