"""Libraries that only some verbs need, and the extra that installs each."""

from __future__ import annotations

import importlib.util

from freehold.core.errors import MissingPart

#: module -> the extra that brings it
MODULES = {
    "torch": "tune",
    "boto3": "s3",
    "psycopg": "postgresql",
    "ray": "ray",
    "opentelemetry": "traces",
}


def missing(module: str, what: str = "this") -> MissingPart:
    """The sentence for a library that is not installed. ``what`` needs it."""
    return MissingPart(
        f"{what} needs {module}, which is not installed", f"pip install 'freehold[{MODULES[module]}]'"
    )


def need(module: str, what: str) -> None:
    """Raises MissingPart where a library that ``what`` needs is not installed; imports nothing."""
    if importlib.util.find_spec(module) is None:
        raise missing(module, what)
