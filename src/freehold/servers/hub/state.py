"""The parts behind every request to a hub: what is stored, who may do what, and the key that signs links."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from freehold.core import atomic_files
from freehold.hub.blob_store import BlobStore
from freehold.hub.commit_check import CommitGate
from freehold.hub.commits import File, Repository
from freehold.hub.discussions import Discussions
from freehold.hub.permissions import Permissions
from freehold.hub.repositories import Repositories
from freehold.hub.scans import Danger, Scans
from freehold.hub.signed_links import SignedLinks
from freehold.hub.uploads import Uploads
from freehold.hub.users import User, Users
from freehold.models.store import Store
from freehold.trust import gate, scan


class Hub:
    """One hub over a store; every request shares it.

    ``public``: anyone may read repositories that are not private, without a token. ``strict``: a commit that
    brings unsafe files to a model is refused.
    """

    def __init__(self, store: Store, *, public: bool, strict: bool = False):
        self.store, self.public = store, public
        self.blobs = BlobStore(store)
        self.scans = Scans(self.blobs, scan.dangers, scan.rules())
        commit_gate = CommitGate(self.scans, gate.allows_push(store), strict=strict)
        self.repositories = Repositories(store, self.blobs, commit_gate)
        self.users = Users(store)
        self.discussions = Discussions(store.engine)
        self.uploads = Uploads(store.engine)
        #: every question of who may read which bytes goes here
        self.permissions = Permissions(self.repositories, self.users, self.uploads)
        self._key = _read_key(store.folder / "keys" / "hub.key")
        self.links = SignedLinks(self._key, self.repositories, self.users, self.permissions, public=public)
        #: the folder for uploads that are not complete yet
        self.incoming = store.incoming / "hub"
        atomic_files.make_folder(self.incoming)

    def dangers(self, repository: Repository, files: Mapping[str, File]) -> dict[str, list[Danger]]:
        """What is dangerous in files of a model, by path; nothing for other kinds of repository."""
        return self.scans.of(files) if repository.kind == "model" else {}

    def chunk_store_path(self, actor: User) -> str:
        """The path of the chunk store for a user.

        Clients remember by its address which chunks they have sent, and the chunks of one user are of no use
        to another.
        """
        name = hmac.new(self._key, f"store\x1f{actor.name}".encode(), "sha256").hexdigest()[:16]
        return f"/xet/{name}"

    @asynccontextmanager
    async def incoming_file(self) -> AsyncIterator[Path]:
        """A path for an upload; the file is removed afterwards unless it was moved away."""
        path = self.incoming / f"{secrets.token_hex(8)}.part"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _read_key(path: Path) -> bytes:
    """The hub's secret key; created once, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_files.locked(path.with_suffix(".lock"), "the hub's key", wait=True):
        if not path.exists():
            atomic_files.write_atomically(path, secrets.token_bytes(32))
            os.chmod(path, 0o600)
        return path.read_bytes()
