"""What one key has asked is not told to another by what was computed before: in memory, on disk, or by a
grammar.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.models.store import Store
from freehold.servers.inference.api_keys import Keys, Limits, scope_of
from tests.servers.inference.asking import cached, complete
from tests.servers.inference.conftest import TINY
from tests.servers.inference.serving import server

MORE = ("--context", "4096", "--parallel", "2")
#: Long enough to be kept on disk.
PROMPT = [40 + number % 300 for number in range(600)]


@pytest.fixture
def keys(tiny_home: Path) -> dict[str, str]:
    made = Keys(Store(tiny_home))
    groups = {"a": "", "b": "", "c": "team", "d": "team", "e": "other"}
    return {name: made.create(name, limits=Limits(group=group)) for name, group in groups.items()}


def asked(address: str, keys: dict[str, str], names: str) -> list[bool]:
    """Whether each in turn is told that its prompt was known."""
    return [cached(complete(address, PROMPT, keys[name])) > 0 for name in names]


@pytest.mark.slow
def test_keys_know_their_own_prompts_and_their_groups_alone(tiny_home: Path, keys: dict[str, str]) -> None:
    with server(tiny_home, *MORE, names=(TINY,)) as address:
        assert asked(address, keys, "aabbcde") == [False, True, False, True, False, True, False]
    assert len(list((tiny_home / "states").glob("*/*.state"))) == 4  # of a, b, the team, and e
    with server(tiny_home, *MORE, names=(TINY,)) as address:  # and so it is with what the disk kept
        assert asked(address, keys, "abcd") == [True, True, True, True]
    made = Keys(Store(tiny_home))
    made.revoke("a")
    keys["a"] = made.create("a")
    keys["f"] = made.create("f")
    with server(tiny_home, *MORE, names=(TINY,)) as address:
        assert asked(address, keys, "fa") == [False, False]  # who has the name now is another


@pytest.mark.slow
def test_the_operator_may_bind_it_to_keys_or_let_all_share(tiny_home: Path, keys: dict[str, str]) -> None:
    with server(tiny_home, *MORE, "--states", "0B", "--share-prompts", "key", names=(TINY,)) as address:
        assert asked(address, keys, "ccd") == [False, True, False]
    with server(tiny_home, *MORE, "--states", "0B", "--share-prompts", "all", names=(TINY,)) as address:
        assert asked(address, keys, "abc") == [False, True, True]


def test_a_server_without_keys_shares(tiny_home: Path) -> None:
    with server(tiny_home, *MORE, names=(TINY,)) as address:
        assert [cached(complete(address, PROMPT)) > 0 for _ in range(2)] == [False, True]


def test_a_key_made_again_is_another_and_one_without_a_name_is_everybody(tmp_path: Path) -> None:
    made = Keys(Store(tmp_path))
    made.create("a")
    (first,) = made.list()
    made.revoke("a")
    made.create("a")
    (second,) = made.list()
    assert scope_of(first, "key") != scope_of(second, "key")
    assert scope_of(first, "all") == scope_of(second, "all") == ""
