"""A scanner: a text in a model's files must not be marked confidential."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from freehold.trust.finding import Finding

_TEXTS = (".md", ".txt", ".json", ".jinja")
#: Bytes of a text that are read.
_MOST = 1 << 20


def scan(files: Mapping[str, Path]) -> Iterator[Finding]:
    """A finding for each text that holds the word CONFIDENTIAL."""
    for name, path in files.items():
        if name.lower().endswith(_TEXTS):
            with path.open("rb") as file:
                if b"CONFIDENTIAL" in file.read(_MOST):
                    yield Finding(name, "confidential", "it is marked confidential")
