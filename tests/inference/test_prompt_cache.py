"""States of long prompts on disk: found by what they share, kept within a limit, for their scope alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from freehold.inference.prompt_cache import PromptCache, State, shared


def tokens(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int32)


def keep(cache: PromptCache, text: np.ndarray, data: bytes = b"state", scope: str = "") -> State:
    written = cache.path_for(text, scope)
    written.write_bytes(data)
    cache.keep(text, written, scope)
    state, _ = cache.best(text, scope)
    assert state is not None
    return state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "states"


def test_how_many_tokens_two_texts_begin_alike_with() -> None:
    assert shared(tokens(1, 2, 3), tokens(1, 2, 4)) == 2
    assert shared(tokens(1, 2), tokens(1, 2, 3)) == 2
    assert shared(tokens(2), tokens(1)) == 0
    assert shared(tokens(), tokens(1)) == 0


def test_the_state_that_shares_most_is_found_with_how_much(folder: Path) -> None:
    cache = PromptCache(folder, 1 << 20)
    keep(cache, tokens(1, 2, 3))
    longer = keep(cache, tokens(1, 2, 3, 4, 9))
    assert cache.best(tokens(1, 2, 3, 4, 5)) == (longer, 4)
    assert cache.best(tokens(7)) == (None, 0)


def test_a_state_is_found_again_after_a_restart(folder: Path) -> None:
    keep(PromptCache(folder, 1 << 20), tokens(1, 2, 3), b"bytes")
    state, count = PromptCache(folder, 1 << 20).best(tokens(1, 2, 3, 4))
    assert state is not None
    assert (count, state.path.read_bytes(), state.tokens.tolist()) == (3, b"bytes", [1, 2, 3])


def test_a_state_is_given_to_nobody_of_another_scope(folder: Path) -> None:
    cache = PromptCache(folder, 1 << 20)
    keep(cache, tokens(1, 2, 3), scope="key ada")
    for scope in ("", "key bob", "key ada 2"):
        assert cache.best(tokens(1, 2, 3), scope) == (None, 0)
        assert PromptCache(folder, 1 << 20).best(tokens(1, 2, 3), scope) == (None, 0)
    assert cache.path_for(tokens(1), "key ada") != cache.path_for(tokens(1), "key bob")


def test_states_without_a_scope_of_an_earlier_version_are_deleted(folder: Path) -> None:
    state = keep(PromptCache(folder, 1 << 20), tokens(1, 2, 3))
    record = state.path.with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 1}))
    assert PromptCache(folder, 1 << 20).best(tokens(1, 2, 3)) == (None, 0)
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_deleted(folder: Path) -> None:
    whole = keep(PromptCache(folder, 1 << 20), tokens(1, 2, 3))
    (folder / "a.state.part").write_bytes(b"half")
    (folder / "b.state").write_bytes(b"without a record")
    (folder / "c.json").write_text(json.dumps({"format": 2, "tokens": [1], "scope": "", "sha256": ""}))
    PromptCache(folder, 1 << 20)
    assert {path.name for path in folder.iterdir()} == {whole.path.name, whole.path.with_suffix(".json").name}


def test_a_state_that_was_changed_is_forgotten_and_not_used(folder: Path) -> None:
    cache = PromptCache(folder, 1 << 20)
    state = keep(cache, tokens(1, 2, 3))
    state.path.write_bytes(b"STATE")
    assert not cache.whole(state)
    assert cache.best(tokens(1, 2, 3)) == (None, 0)
    assert list(folder.iterdir()) == []


def test_beyond_their_room_the_states_used_least_recently_go(folder: Path) -> None:
    cache = PromptCache(folder, 25)
    first, second = keep(cache, tokens(1), b"x" * 10), keep(cache, tokens(2), b"x" * 10)
    assert cache.whole(first)  # used again
    keep(cache, tokens(3), b"x" * 10)
    assert cache.best(tokens(2)) == (None, 0)
    assert not second.path.exists()
    assert cache.best(tokens(1)) == (first, 1)


def test_the_order_of_use_survives_a_restart(folder: Path) -> None:
    cache = PromptCache(folder, 1 << 20)
    states = [keep(cache, tokens(number), b"x" * 10) for number in (1, 2, 3)]
    for at, state in enumerate((states[1], states[0], states[2])):
        os.utime(state.path.with_suffix(".json"), (1000 + at, 1000 + at))
    again = PromptCache(folder, 25)
    keep(again, tokens(4), b"x" * 10)
    assert [again.best(tokens(number))[1] for number in (1, 2, 3, 4)] == [0, 0, 1, 1]


def test_one_state_stays_however_large_it_is(folder: Path) -> None:
    cache = PromptCache(folder, 5)
    keep(cache, tokens(1), b"x" * 10)
    assert cache.best(tokens(1))[1] == 1
    keep(cache, tokens(2), b"x" * 10)
    assert [cache.best(tokens(number))[1] for number in (1, 2)] == [0, 1]


def test_a_prompt_that_is_kept_twice_is_one_state(folder: Path) -> None:
    cache = PromptCache(folder, 25)
    keep(cache, tokens(1), b"x" * 10)
    keep(cache, tokens(1), b"y" * 10)
    keep(cache, tokens(2), b"x" * 10)
    assert cache.best(tokens(1))[1] == 1
