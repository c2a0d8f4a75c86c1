"""Another hub of the Hugging Face protocol, asked only because the user named it in the command.

A repository there is written ``hf:org/name``, ``hf:datasets/org/name`` or with a hub's address,
``http://hub:8600/org/name``; each may end in ``@REVISION``. ``hf:`` is the public hub, or the one that
HF_ENDPOINT names.
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

from freehold.core import settings
from freehold.core.errors import AccessDenied, FreeholdError, NotFound, UsageError
from freehold.core.progress import Task

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

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
        start = (
            next(plural for plural, kind in _PLURALS.items() if kind == self.kind)
            if self.kind != "model"
            else ""
        )
        return (f"{self.endpoint}/" if self.endpoint else "hf:") + start + self.name


def read_address(text: str) -> Address:
    """Raises UsageError for text that names no repository elsewhere."""
    match = _WHERE.fullmatch(text)
    rest = match["rest"] if match else ""
    plural = next((start for start in _PLURALS if rest.startswith(start) and rest.count("/") > 1), "")
    name = rest.removeprefix(plural)
    if match is None or name.count("/") > 1:
        raise UsageError(
            f"{text[:200]!r} names no repository of a hub",
            "write hf:org/name, hf:datasets/org/name or http://hub:8600/org/name",
        )
    endpoint = "" if match["hub"] == "hf:" else match["hub"].rstrip("/")
    return Address(endpoint, _PLURALS.get(plural, "model"), name, match["revision"] or "")


def client(endpoint: str = "", token: str = "") -> HfApi:
    """The client of a hub. Without ``token`` a hub that is named by its address is asked without any: the
    public hub's is not shown to it.

    Raises NotFound when it does not answer, UsageError for an address with a password in it.
    """
    settings.plain_address(endpoint)
    for switch in (key for key in settings.QUIET if key.endswith("OFFLINE")):
        os.environ.pop(switch, None)
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import disable_progress_bars, set_client_factory

    from freehold.core import net

    constants.HF_HUB_OFFLINE = False
    disable_progress_bars()
    api = HfApi(endpoint=endpoint or None, token=token or (False if endpoint else None))
    _knock(api.endpoint)
    set_client_factory(net.client_of(api.endpoint))
    return api


def _knock(endpoint: str) -> None:
    """Raises NotFound where nobody answers at all: the client would try again for half a minute."""
    import httpx2

    try:
        httpx2.head(endpoint, timeout=15)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NotFound(f"{endpoint} does not answer ({error})", "check the address and the network") from None


@contextlib.contextmanager
def explained(what: str, done: str = "fetched") -> Iterator[None]:
    """Turn the client's failures into one sentence: ``what`` could not be ``done``, and the server's words.

    Raises AccessDenied where the server does not allow it (401, 403), UsageError where it finds the request
    wrong (400, 409, 413, 422), NotFound else. Failures of this machine's disk stay what they are.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise _of_status(what, done, error) from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        sentence = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotFound(
            f"{what} could not be {done} ({sentence})",
            "check the name, the network, the token and HF_ENDPOINT",
        ) from error


def _of_status(what: str, done: str, error: HfHubHTTPError) -> FreeholdError:
    """The failure that a server's answer means, in the server's own sentence; the request's id comes last."""
    status = error.response.status_code if error.response is not None else 0
    said = (error.server_message or _own_sentence(str(error))).strip().rstrip(".")
    request = f"; request {error.request_id}" if error.request_id else ""
    message = f'{what} could not be {done}: the hub says "{said}" (status {status}{request})'
    if status == 401:
        return AccessDenied(
            message,
            "put a valid token of this hub in the environment variable HF_TOKEN, or in the one that "
            "--token-env names",
        )
    if status == 403:
        return AccessDenied(
            message,
            "use a token with this permission, ask the owner of the namespace, or choose your own namespace",
        )
    if status == 404:
        return NotFound(
            message,
            "check the name; a private repository needs a token that may read it (HF_TOKEN)",
        )
    if status in (400, 409, 413, 422):
        return UsageError(message, "change what the hub objects to, and run the same command again")
    return NotFound(
        message,
        "wait a little and run the same command again; if it fails again, ask the people who run the hub",
    )


def _own_sentence(text: str) -> str:
    """The client's first line that is more than a request's id."""
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith("(Request ID")
    ]
    return lines[0] if lines else "nothing"


@contextlib.contextmanager
def watched(folder: Path, progress: Task, before: float = 0.0) -> Iterator[None]:
    """Report the bytes that arrive in ``folder`` while the client fills it, on top of those that came
    ``before`` and lie elsewhere.
    """

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
