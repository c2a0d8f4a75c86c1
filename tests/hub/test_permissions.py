"""Who may know of, read, change and speak in a repository, and which bytes that opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from freehold.hub.commits import Change, Repository, lfs_file
from freehold.hub.permissions import Permissions
from freehold.hub.repositories import Repositories
from freehold.hub.uploads import Uploads
from freehold.hub.users import User, Users
from freehold.models.store import Store

ADA = User("ada", "write", {})
READER = User("ada", "read", {})
BOB = User("bob", "write", {})
MEMBER = User("cleo", "write", {"ada": "read"})
ADMIN = User("root", "admin", {})
NOBODY = User("", "read", {})


@dataclass
class Hub:
    """Permissions and what they rest on."""

    repositories: Repositories
    accounts: Users
    uploads: Uploads
    permissions: Permissions

    def put(self, repository: Repository, data: bytes, branch: str = "main") -> str:
        """Commit a file; its digest."""
        digest = self.repositories.contents.put(data)
        change = Change("put", put={f"{digest[:8]}.bin": lfs_file(digest, len(data))})
        self.repositories.apply(repository, branch, change, "ada")
        return digest

    def make(self, name: str, **settings: object) -> Repository:
        repository = self.repositories.create("model", name)
        return replace(repository, **settings)  # type: ignore[arg-type]


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    store = Store(tmp_path)
    repositories, accounts, uploads = Repositories(store), Users(store), Uploads(store.engine)
    return Hub(repositories, accounts, uploads, Permissions(repositories, accounts, uploads))


@pytest.mark.parametrize(
    ("actor", "plain", "private", "gated"),
    [
        (ADA, "sees opens proposes speaks", "sees opens proposes speaks", "sees opens proposes speaks"),
        (READER, "sees opens", "sees opens", "sees opens"),
        (MEMBER, "sees opens proposes speaks", "sees opens proposes speaks", "sees opens proposes speaks"),
        (ADMIN, "sees opens proposes speaks", "sees opens proposes speaks", "sees opens proposes speaks"),
        (BOB, "sees opens proposes speaks", "", "sees speaks"),
        (NOBODY, "sees opens", "", "sees"),
    ],
    ids=["owner", "owner who reads", "member", "admin", "other", "nobody"],
)
def test_what_each_may_do_with_each_kind_of_repository(
    hub: Hub, actor: User, plain: str, private: str, gated: str
) -> None:
    repository = hub.make("ada/model")
    for settings, expected in (
        ({}, plain),
        ({"private": True}, private),
        ({"gated": "manual"}, gated),
    ):
        asked = replace(repository, **settings)  # type: ignore[arg-type]
        may = [
            right
            for right in ("sees", "opens", "proposes", "speaks")
            if getattr(hub.permissions, right)(actor, asked)
        ]
        assert " ".join(may) == expected, settings


def test_who_was_let_into_a_gated_repository_may_read_it(hub: Hub) -> None:
    repository = hub.make("ada/model", gated="manual")
    for status in ("pending", "rejected"):
        hub.accounts.decide(repository.id, "bob", status)
        assert not hub.permissions.opens(BOB, repository)
    hub.accounts.decide(repository.id, "bob", "accepted")
    assert hub.permissions.opens(BOB, repository)
    assert not hub.permissions.opens(BOB, replace(repository, private=True))


def test_bytes_are_read_by_whoever_reads_a_repository_that_holds_them(hub: Hub) -> None:
    open_one, closed = hub.make("ada/open"), hub.make("ada/closed")
    hub.repositories.settings(closed, private=True)
    shown, hidden = hub.put(open_one, b"shown"), hub.put(closed, b"hidden")
    assert hub.permissions.readable(BOB, [shown, hidden]) == {shown}
    assert hub.permissions.readable(NOBODY, [shown, hidden]) == {shown}
    for actor in (ADA, MEMBER, ADMIN):
        assert hub.permissions.readable(actor, [shown, hidden]) == {shown, hidden}
    both = hub.put(open_one, b"hidden")
    assert both == hidden
    assert hub.permissions.readable(BOB, [hidden]) == {hidden}


def test_a_digest_that_no_repository_holds_opens_nothing_to_anybody(hub: Hub) -> None:
    digest = hub.repositories.contents.put(b"uploaded, not committed")
    assert hub.permissions.readable(ADMIN, [digest]) == set()


def test_what_only_a_removed_branch_held_is_read_by_nobody(hub: Hub) -> None:
    repository = hub.make("ada/model")
    main = hub.repositories.resolve(repository, "main")
    hub.repositories.add_ref(repository, "branch", "draft", main)
    digest = hub.put(repository, b"draft", "draft")
    tip = hub.repositories.resolve(repository, "draft")
    assert hub.permissions.readable(BOB, [digest]) == {digest}
    assert hub.permissions.of_revision(repository, tip, digest)
    assert not hub.permissions.of_revision(repository, main, digest)
    hub.repositories.remove_ref(repository, "branch", "draft")
    assert hub.permissions.readable(ADA, [digest]) == set()
    assert not hub.permissions.of_revision(repository, tip, digest)


def test_what_a_later_commit_removed_is_still_read_in_its_revision(hub: Hub) -> None:
    repository = hub.make("ada/model")
    digest = hub.put(repository, b"first")
    before = hub.repositories.resolve(repository, "main")
    path = f"{digest[:8]}.bin"
    hub.repositories.apply(repository, "main", Change("remove", removed=[path]), "ada")
    now = hub.repositories.resolve(repository, "main")
    assert hub.permissions.held(repository, [digest]) == {digest}
    assert hub.permissions.of_revision(repository, before, digest)
    assert not hub.permissions.of_revision(repository, now, digest)


def test_a_commit_may_name_what_its_author_uploaded_for_it_or_may_read(hub: Hub) -> None:
    mine, theirs, open_one = hub.make("bob/mine"), hub.make("ada/theirs"), hub.make("ada/open")
    hub.repositories.settings(theirs, private=True)
    uploaded = hub.repositories.contents.put(b"uploaded")
    hub.uploads.content("bob", mine.id, uploaded)
    secret, shown = hub.put(theirs, b"secret"), hub.put(open_one, b"shown")
    digests = [uploaded, secret, shown]
    assert hub.permissions.nameable(BOB, mine, digests) == {uploaded, shown}
    # an upload proves the bytes for its own repository and its own person
    other = hub.make("bob/other")
    assert hub.permissions.nameable(BOB, other, digests) == {shown}
    assert hub.permissions.nameable(ADA, mine, digests) == {secret, shown}
