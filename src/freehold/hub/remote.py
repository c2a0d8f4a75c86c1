"""Another hub of the Hugging Face protocol, asked only because the user named it in the command.

A repository there is written ``hf:org/name``, ``hf:datasets/org/name`` or with a hub's address, ``http://hub:8600/org/name``; each may
end in ``@REVISION``. ``hf:`` is the public hub, or the one that HF_ENDPOINT names.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold import settings
from freehold.errors import NotFound, UsageError
from freehold.progress import Task

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: How a kind of repository begins in an address; models have none.
_PLURALS = {"models/": "model", "datasets/": "dataset", "spaces/": "space"}
_WHERE = re.compile(r"(?P<hub>hf:|https?://[^/@\s]+/)(?P<rest>[^@\s]+?)/?(?:@(?P<revision>[^\s@]+))?")


@dataclass(frozen=True)
class Address:
    """A repository elsewhere. ``endpoint`` is nothing for ``hf:``."""

    endpoint: str
    kind: str
    name: str
    revision: str

    def __str__(self) -> str:
        start = next(plural for plural, kind in _PLURALS.items() if kind == self.kind) if self.kind != "model" else ""
        return (f"{self.endpoint}/" if self.endpoint else "hf:") + start + self.name


def read_address(text: str) -> Address:
    """Raises UsageError for text that names no repository elsewhere."""
    found = _WHERE.fullmatch(text)
    rest = found["rest"] if found else ""
    plural = next((start for start in _PLURALS if rest.startswith(start) and rest.count("/") > 1), "")
    name = rest.removeprefix(plural)
    if found is None or name.count("/") > 1:
        raise UsageError(f"{text[:200]!r} names no repository of a hub", "write hf:org/name, hf:datasets/org/name or http://hub:8600/org/name")
    endpoint = "" if found["hub"] == "hf:" else found["hub"].rstrip("/")
    return Address(endpoint, _PLURALS.get(plural, "model"), name, found["revision"] or "")


def client(endpoint: str = "", token: str = "") -> HfApi:
    """The client of a hub. Without ``token`` a hub that is named by its address is asked without any: the public hub's is not shown to it.

    Raises NotFound when it does not answer.
    """
    for switch in (key for key in settings.QUIET if key.endswith("OFFLINE")):
        os.environ.pop(switch, None)
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import disable_progress_bars

    constants.HF_HUB_OFFLINE = False
    disable_progress_bars()
    api = HfApi(endpoint=endpoint or None, token=token or (False if endpoint else None))
    _knock(api.endpoint)
    return api


def _knock(endpoint: str) -> None:
    """Raises NotFound where nobody answers at all: the client would try again for half a minute."""
    import httpx2

    try:
        httpx2.head(endpoint, timeout=15)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NotFound(f"{endpoint} does not answer ({error})", "check the address and the network") from None


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the client's failures into NotFound with one sentence; those of this machine's disk stay what they are."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        sentence = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotFound(f"{what} could not be fetched ({sentence})", "check the name, the network, the token and HF_ENDPOINT") from error


@contextlib.contextmanager
def watched(folder: Path, progress: Task, before: float = 0.0) -> Iterator[None]:
    """Report the bytes that arrive in ``folder`` while the client fills it, on top of those that came ``before`` and lie elsewhere."""

    def arrived() -> int:
        sizes = 0
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # renamed between the listing and the look
                sizes += path.stat().st_size if path.is_file() else 0
        return sizes

    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            progress.at(min(before + arrived(), progress.total))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
