"""Rights that a link or a token carries: bound to what was asked for, looked at again when used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from freehold.hub.commits import Repository
from freehold.hub.permissions import Permissions
from freehold.hub.repositories import Repositories
from freehold.hub.signed_links import OPEN, Grant, SignedLinks, Void
from freehold.hub.uploads import Uploads
from freehold.hub.users import KEEPER, Users, digest_of
from freehold.models.store import Store


class Hub:
    """Links of a hub with two people and one private repository."""

    def __init__(self, folder: Path):
        store = Store(folder)
        self.repositories, self.accounts = Repositories(store), Users(store)
        self.permissions = Permissions(self.repositories, self.accounts, Uploads(store.engine))
        self.repository = self.repositories.create("model", "ada/model")

    def links(self, key: bytes = b"key", *, public: bool = True) -> SignedLinks:
        return SignedLinks(key, self.repositories, self.accounts, self.permissions, public=public)

    def person(self, name: str, role: str = "write") -> str:
        """A new person; the digest of their token."""
        return digest_of(self.accounts.create_token(name, role=role))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def query(links: SignedLinks, grant: Grant) -> tuple[Grant, str]:
    """A grant as it comes back from a link's query."""
    values = {name: texts[0] for name, texts in parse_qs(links.query(grant), keep_blank_values=True).items()}
    return (
        Grant(
            grant.right,
            values["who"],
            int(values["repository"]),
            int(values["created"]),
            grant.subject,
            int(values["expires"]),
        ),
        values["signature"],
    )


def token(links: SignedLinks, grant: Grant) -> tuple[Grant, str]:
    return links.read_token(links.token(grant))


FORMS = pytest.mark.parametrize("form", [query, token])
Form = Callable[[SignedLinks, Grant], tuple[Grant, str]]


@FORMS
def test_a_grant_comes_back_as_it_was_given_and_is_redeemed(hub: Hub, form: Form) -> None:
    links, ada = hub.links(), hub.person("ada")
    grant = links.give("read", ada, hub.repository, "a" * 64, 60)
    back, signature = form(links, grant)
    assert back == grant
    user, repository = links.redeem(back, signature)
    assert (user.name, repository.name) == ("ada", "ada/model")


@FORMS
@pytest.mark.parametrize(
    "changed",
    [
        {"right": "write"},
        {"subject": "b" * 64},
        {"who": ""},
        {"repository": 2},
        {"created": 1},
        {"expires": 2**40},
    ],
)
def test_a_grant_that_says_something_else_is_void(hub: Hub, form: Form, changed: dict[str, object]) -> None:
    links, ada = hub.links(), hub.person("ada")
    hub.repositories.create("model", "ada/other")
    grant, signature = form(links, links.give("read", ada, hub.repository, "a" * 64, 60))
    with pytest.raises(Void):
        links.redeem(replace(grant, **changed), signature)  # type: ignore[arg-type]


def test_parts_cannot_move_between_fields(hub: Hub) -> None:
    links = hub.links()
    one = Grant("read", "", 1, 2, "3", 4)
    other = Grant("read", "", 1, 23, "", 4)
    assert links.token(one).split(".")[-1] != links.token(other).split(".")[-1]


def test_a_grant_of_another_hub_is_void(hub: Hub) -> None:
    ada = hub.person("ada")
    grant, signature = token(hub.links(b"other"), hub.links().give("read", ada, hub.repository, "a", 60))
    with pytest.raises(Void):
        hub.links().redeem(grant, signature)


def test_a_grant_ends(hub: Hub) -> None:
    links, ada = hub.links(), hub.person("ada")
    grant, signature = token(links, links.give("read", ada, hub.repository, "a", -1))
    with pytest.raises(Void):
        links.redeem(grant, signature)


def test_who_has_lost_access_since_opens_nothing(hub: Hub) -> None:
    links, bob = hub.links(), hub.person("bob")
    hub.person("ada")
    grant, signature = token(links, links.give("read", bob, hub.repository, "a", 60))
    assert links.redeem(grant, signature)[0].name == "bob"
    hub.repositories.settings(hub.repository, private=True)
    with pytest.raises(Void):
        links.redeem(grant, signature)


def test_a_token_that_was_revoked_opens_nothing(hub: Hub) -> None:
    links, ada = hub.links(), hub.person("ada")
    grant, signature = token(links, links.give("read", ada, hub.repository, "a", 60))
    hub.accounts.revoke(ada[:12])
    with pytest.raises(Void):
        links.redeem(grant, signature)


def test_a_repository_that_was_made_again_under_its_number_is_another(hub: Hub) -> None:
    links, ada = hub.links(), hub.person("ada")
    grant, signature = token(links, links.give("read", ada, hub.repository, "a", 60))
    hub.repositories.delete(hub.repository)
    with pytest.raises(Void):
        links.redeem(grant, signature)


@pytest.mark.parametrize("right", ["write", "upload"])
def test_who_may_only_read_uploads_nothing(hub: Hub, right: str) -> None:
    links, reader = hub.links(), hub.person("bob", "read")
    grant, signature = token(links, links.give(right, reader, hub.repository, "a", 60))
    with pytest.raises(Void):
        links.redeem(grant, signature)
    assert links.redeem(*token(links, links.give("read", reader, hub.repository, "a", 60)))


def test_nobody_reads_where_the_hub_is_public(hub: Hub) -> None:
    hub.person("ada")
    grant, signature = token(hub.links(), hub.links().give("read", "", hub.repository, "a", 60))
    assert hub.links().redeem(grant, signature)[0].name == ""
    with pytest.raises(Void):
        hub.links(public=False).redeem(grant, signature)


def test_on_an_open_hub_its_keeper_acts_until_there_are_people(hub: Hub) -> None:
    links = hub.links()
    grant, signature = token(links, links.give("write", OPEN, hub.repository, "a", 60))
    assert links.redeem(grant, signature)[0].name == KEEPER
    hub.person("ada")
    with pytest.raises(Void):
        links.redeem(grant, signature)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "r.1.w.2.3.s",
        "r.x.w.2.3.s.sig",
        "r.1.w.2.-3.s.sig",
        f"r.{'9' * 20}.w.2.3.s.sig",
        "r.\u0661.w.2.3.s",
    ],
)
def test_a_text_that_is_no_token_is_void(hub: Hub, text: str) -> None:
    with pytest.raises(Void):
        hub.links().read_token(text)


def test_a_signature_of_any_characters_is_only_wrong(hub: Hub) -> None:
    links = hub.links()
    repository: Repository = hub.repository
    with pytest.raises(Void):
        links.redeem(links.give("read", "", repository, "a", 60), "\u00e9\U0001f600")
