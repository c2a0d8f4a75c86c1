"""Freehold: own your AI.

The verbs of the command line as a small Python API. Each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.api import (
        Certificate,
        Quantized,
        certify,
        export,
        load,
        pull,
        quantize,
        restore,
        serve,
        trial,
        tune,
    )
    from freehold.core.errors import FreeholdError
    from freehold.models.store import Model, Store
    from freehold.runtime.loading import Loaded
    from freehold.runtime.server_process import Server
    from freehold.trial.report_record import Report
    from freehold.workflows.tune import StoredTuning

    __version__: str

__all__ = [
    "Certificate",
    "FreeholdError",
    "Loaded",
    "Model",
    "Quantized",
    "Report",
    "Server",
    "Store",
    "StoredTuning",
    "__version__",
    "certify",
    "export",
    "load",
    "pull",
    "quantize",
    "restore",
    "serve",
    "trial",
    "tune",
]

_ROOMS = {
    "FreeholdError": "freehold.core.errors",
    "Loaded": "freehold.runtime.loading",
    "Model": "freehold.models.store",
    "Report": "freehold.trial.report_record",
    "Server": "freehold.runtime.server_process",
    "Store": "freehold.models.store",
    "StoredTuning": "freehold.workflows.tune",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        import importlib.metadata

        return importlib.metadata.version("freehold")
    if name == "trial":  # the package, which can be called
        return importlib.import_module("freehold.trial")
    if name not in __all__:
        raise AttributeError(f"module 'freehold' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS.get(name, "freehold.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
