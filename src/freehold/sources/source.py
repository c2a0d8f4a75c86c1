"""What every source of models is: a function that brings files into a folder, registered under the word
before the colon.

Sources are found through the entry points ``freehold.sources``; ours are registered in the same way as those
of other packages. A source only brings files: names, dangers, licence and policy are checked afterwards,
whatever it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from freehold.core import plugins
from freehold.core.plugins import Plugin
from freehold.core.progress import Sink
from freehold.models import file_selection
from freehold.models.store import Store

GROUP = "freehold.sources"


@dataclass
class Delivery:
    """What a source brings."""

    #: The files by the name under which they are stored.
    files: dict[str, Path]
    #: Where they came from, as JSON; each source has its own keys.
    provenance: dict[str, Any]
    #: The licence that the source states; '' for none.
    licence: str = ""
    #: Where it states it.
    licence_from: str = ""
    #: Whether the files may be moved: they were made for this pull, and are not the user's own.
    move: bool = False
    #: What was left out and why, a sentence each.
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """A kind of place that models come from."""

    def __call__(self, store: Store, reference: str, folder: Path, sink: Sink, /) -> Delivery:
        """The files that ``reference`` (what follows the colon) names.

        ``folder``: for what is downloaded; it stays until a pull has ended well, so that a later one can
        continue. Raises FreeholdError.
        """
        ...


def registered() -> Mapping[str, Plugin]:
    """The plugin for each kind of source. Raises MissingPart and UsageError as
    :func:`freehold.core.plugins.registered` does.
    """
    return plugins.registered(GROUP)


def find_source(kind: str) -> Source | None:
    """The source of a kind; None where no package registers one. Raises MissingPart where it cannot be
    loaded.
    """
    plugin = registered().get(kind)
    if plugin is None:
        return None
    source: Source = plugin.load()
    return source if plugin.ours else _named_in_errors(source, plugin)


def _named_in_errors(source: Source, plugin: Plugin) -> Source:
    """The same source, with errors that name its package."""

    def deliver(store: Store, reference: str, folder: Path, sink: Sink, /) -> Delivery:
        with plugin.named_in_errors():
            delivery = source(store, reference, folder, sink)
            if not isinstance(delivery, Delivery):
                raise TypeError(f"it returned a {type(delivery).__name__} instead of a Delivery")
            return delivery

    return deliver


def flat_name(name: str) -> str:
    """The name under which a file of a folder is stored."""
    return name if file_selection.MODULE.fullmatch(name) else PurePosixPath(name).name
