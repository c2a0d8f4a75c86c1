"""A client's grammar, compiled; called in a process with limits, since a small one can take minutes or many
gigabytes.
"""

from __future__ import annotations

import json

import llguidance  # noqa: F401  # in memory before the limits are set

from freehold.core.errors import UsageError
from freehold.inference.grammar import Source


def compiled(data: bytes) -> bytes:
    """llguidance's form of a :class:`Source`, which comes as JSON. Raises UsageError."""
    try:
        return Source(**json.loads(data)).compiled().encode()
    except (RecursionError, ValueError) as error:
        raise UsageError(
            f"the answer's form is not understood ({type(error).__name__})", "correct the schema or grammar"
        ) from None
