"""Rows that lie in a hub: ``hub:`` is the one of this home, ``hf:`` any server of the Hugging Face protocol
(HF_ENDPOINT).

The files are brought to a folder under the home, one for each commit, and read there as any folder is.
Nothing is sent but the request for them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from freehold.core import atomic_files
from freehold.core.errors import BadData, NotFound, UsageError
from freehold.core.progress import Sink, silent, task
from freehold.data.folders import choose_paths
from freehold.hub import client
from freehold.hub.repositories import Repositories
from freehold.models.store import Store

_SCHEMES = ("hub:", "hf:")


@dataclass(frozen=True)
class _Address:
    """``part``: a folder or file of the repository, nothing for all of it."""

    scheme: str
    name: str
    revision: str
    part: str

    def __str__(self) -> str:
        return f"{self.scheme}{self.name}"


@dataclass(frozen=True)
class _Listing:
    """A commit and its files with their sizes in bytes."""

    commit: str
    sizes: dict[str, int]


def local_source(source: str, store: Store | None = None, sink: Sink = silent) -> str:
    """Where rows of ``source`` can be read on this machine: itself, or the folder that a hub's dataset was
    brought to.

    Written ``hub:ORG/NAME[@REVISION][:FOLDER]`` or ``hf:...``. Raises NotFound, UsageError, BadData,
    DoesNotFit.
    """
    if not source.startswith(_SCHEMES) or os.path.exists(source):
        return source
    address, store = _read_address(source), store or Store()
    if address.scheme == "hub:":
        repositories = Repositories(store)
        commit = repositories.commit(repositories.find("dataset", address.name), address.revision or "main")
        listing = _Listing(commit.id, {path: file.size for path, file in commit.files.items()})

        def lay(paths: list[str], folder: Path) -> None:
            _lay(repositories, address, {path: commit.files[path].sha256 for path in paths}, folder)

        return str(_brought(store, address, listing, lay, "home", sink))
    return str(_from_server(store, address, sink))


def _read_address(source: str) -> _Address:
    scheme, _, rest = source.partition(":")
    where, _, part = rest.removeprefix("datasets/").partition(":")
    name, _, revision = where.partition("@")
    if not name or name.count("/") > 1:
        raise UsageError(
            f"{source!r} does not name a dataset", f"Write {scheme}:ORG/NAME or {scheme}:ORG/NAME@REVISION"
        )
    return _Address(f"{scheme}:", name, revision, part.strip("/"))


def _chosen(address: _Address, listing: _Listing) -> list[str]:
    """The files to bring: those of the splits, of the named part alone where one is named. Raises BadData,
    NotFound.
    """
    prefix = f"{address.part}/" if address.part else ""
    if address.part in listing.sizes:
        return [address.part]
    inside = [path.removeprefix(prefix) for path in listing.sizes if path.startswith(prefix)]
    if not inside:
        raise NotFound(f"{address} has no folder or file {address.part!r}", "Check the names of its files")
    choice = choose_paths(
        f"{address}{f':{address.part}' if address.part else ''}", [Path(path) for path in inside]
    )
    return [prefix + path.as_posix() for paths in choice.files.values() for path in paths]


def _brought(
    store: Store,
    address: _Address,
    listing: _Listing,
    lay: Callable[[list[str], Path], None],
    server: str,
    sink: Sink,
) -> Path:
    """The folder, or the one file, once ``lay`` has put the chosen files into it; a commit's files are
    brought once.
    """
    paths = _chosen(address, listing)
    key = atomic_files.digest_of([server, address.scheme, address.name, listing.commit, paths])[:16]
    folder = store.folder / "datasets" / f"{address.name.replace('/', '-')}-{key}"
    if not folder.is_dir():
        landing = store.incoming / f"dataset-{key}"
        with atomic_files.locked(store.incoming / f"{landing.name}.lock", f"fetching {address}", wait=True):
            if not folder.is_dir():
                _fill(address, listing, paths, landing, lay, sink)
                folder.parent.mkdir(mode=0o700, exist_ok=True)  # rows are nobody else's business
                os.replace(landing, folder)
    inner = folder / PurePosixPath(address.part) if address.part else folder
    return inner


def _fill(
    address: _Address,
    listing: _Listing,
    paths: list[str],
    landing: Path,
    lay: Callable[[list[str], Path], None],
    sink: Sink,
) -> None:
    total = sum(listing.sizes[path] for path in paths)
    landing.mkdir(parents=True, exist_ok=True)
    with (
        atomic_files.disk_full_explained(landing),
        task(sink, f"fetching {address}", total, "bytes") as progress,
    ):
        atomic_files.need_disk(landing, total, f"fetching {address}")
        with client.watched(landing, progress):
            lay(paths, landing)
        progress.at(total)
    shutil.rmtree(landing / ".cache", ignore_errors=True)


def _lay(repositories: Repositories, address: _Address, digests: dict[str, str], folder: Path) -> None:
    """Files of this home's hub."""
    for path, digest in digests.items():
        content = repositories.contents.find(digest)
        if content is None:
            raise BadData(f"the content of {path} in {address} is missing", "See 'freehold hub check'")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        repositories.contents.lay(content, target)


def _from_server(store: Store, address: _Address, sink: Sink) -> Path:
    """Files of the server that HF_ENDPOINT names, or of the Hugging Face Hub."""
    api = client.client()
    with client.explained(str(address)):
        info: Any = api.dataset_info(address.name, revision=address.revision or None, files_metadata=True)
    listing = _Listing(info.sha, {file.rfilename: file.size or 0 for file in info.siblings or []})

    def lay(paths: list[str], folder: Path) -> None:
        with client.explained(str(address)):
            api.snapshot_download(
                address.name,
                repo_type="dataset",
                revision=info.sha,
                local_dir=folder,
                allow_patterns=[_literal(path) for path in paths],
            )
        missing = next((path for path in paths if not (folder / path).is_file()), None)
        if missing:
            raise NotFound(f"{missing} of {address} was not downloaded", "Run the same command again")

    return _brought(store, address, listing, lay, api.endpoint, sink)


def _literal(path: str) -> str:
    """A pattern that matches this path alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)
