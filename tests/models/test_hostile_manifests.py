"""Manifests that somebody else wrote into a store's folder: their digests are right, and what they say is
not."""

import json
from pathlib import Path
from typing import Any

import pytest

from freehold.core import atomic_files
from freehold.hub.rebuild import repair
from freehold.models.store import Store
from tests.commands import freehold

CARD = {"card_version": 1, "format": "gguf"}
FILE = {"a.gguf": ["0" * 64, 3]}
HOSTILE: dict[str, dict[str, Any]] = {
    "a name that leads elsewhere": {"name": "../../evil"},
    "a file that leads elsewhere": {"manifest": {"../../x.gguf": ["0" * 64, 3]}},
    "a digest that leads elsewhere": {"manifest": {"a.gguf": ["../../../../etc/passwd", 3]}},
    "a digest that is a number": {"manifest": {"a.gguf": [5, 3]}},
    "a size that is a text": {"manifest": {"a.gguf": ["0" * 64, "3"]}},
    "a huge size": {"manifest": {"a.gguf": ["0" * 64, 2**70]}},
    "a time that is a text": {"created": "never"},
    "a time that is infinite": {"created": 1e400},
    "a card that is a list": {"card": []},
    "a card without a version": {"card": {"format": "gguf"}},
    "another model's place": {"name": "other"},
}


def put(store: Path, changed: dict[str, Any]) -> None:
    value = {"manifest_version": 1, "name": "m", "card": CARD, "manifest": FILE, "created": 1.0} | changed
    value["revision"] = atomic_files.digest_of(value["manifest"])
    path = store / "manifests" / value["revision"] / "m.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(value | {"digest": atomic_files.digest_of(value)}))


@pytest.mark.parametrize("changed", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_manifest_is_named_and_moved_aside(tmp_path: Path, changed: dict[str, Any]) -> None:
    home = tmp_path / "home"
    Store(home)
    put(home, changed)
    assert freehold(home, "store", "check").code == 15
    repair(home)
    assert Store(home).models() == []
    assert len(list((home / "damaged").glob("*m.json*"))) == 1
    assert Store(home).collect(grace_s=0) == (0, 0)
