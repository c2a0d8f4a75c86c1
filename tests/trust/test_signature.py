"""Signatures in the OpenSSF format: made here and read by the library's own command, and the other way round;
damage is found and named.
"""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.core.errors import BadData, BadModel, NotFound, UsageError
from freehold.trust import signature
from freehold.trust.keys import Keyring


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    made = Keyring(tmp_path / "keys")
    made.create("clinic")
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    chance = random.Random(0)
    for name, size in (
        ("model.gguf", 3000),
        ("config.json", 200),
        ("1_Pooling/config.json", 100),
        ("README.md", 50),
    ):
        (folder / name).write_bytes(chance.randbytes(size))
    return folder


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *words], capture_output=True, text=True, check=False
    )


def test_keys_are_secret_and_named_once(ring: Keyring) -> None:
    key = ring.find("clinic")
    assert stat.S_IMODE(os.stat(ring.private_path(key)).st_mode) == 0o600
    assert len(key.id) == 64
    with pytest.raises(UsageError, match="already"):
        ring.create("clinic")
    with pytest.raises(UsageError, match="cannot be the name of a key"):
        ring.create("../x")
    with pytest.raises(NotFound, match="no key is named 'other'"):
        ring.find("other")


def test_the_librarys_command_verifies_ours(ring: Keyring, model: Path) -> None:
    key = signature.sign(model, model / "model.sig", ring, "")
    done = command(
        "verify", "key", str(model), "--signature", str(model / "model.sig"), "--public_key", str(key.path)
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (model / "config.json").write_text("{}")
    done = command(
        "verify", "key", str(model), "--signature", str(model / "model.sig"), "--public_key", str(key.path)
    )
    assert done.returncode != 0


def test_ours_verifies_the_librarys(ring: Keyring, model: Path, tmp_path: Path) -> None:
    key = ring.find("clinic")
    done = command(
        "sign",
        "key",
        str(model),
        "--signature",
        str(tmp_path / "theirs.sig"),
        "--private_key",
        str(ring.private_path(key)),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert signature.verify(model, tmp_path / "theirs.sig", ring).name == "clinic"
    (model / "README.md").write_text("other")
    with pytest.raises(BadModel, match=r"README\.md"):
        signature.verify(model, tmp_path / "theirs.sig", ring)


def test_a_thousand_changed_bytes_are_all_found_and_named(ring: Keyring, model: Path) -> None:
    """In the model's files and in the signature itself; a byte of the signature that says nothing may change
    without harm, and then all still holds.
    """
    target = model / "model.sig"
    signature.sign(model, target, ring, "")
    files = [path for path in sorted(model.rglob("*")) if path.is_file() and path != target]
    chance = random.Random(1)
    for _ in range(1000):
        path = chance.choice(files)
        data = bytearray(path.read_bytes())
        at, before = chance.randrange(len(data)), bytes(data)
        data[at] ^= chance.randrange(1, 256)
        path.write_bytes(data)
        with pytest.raises(BadModel) as caught:
            signature.verify(model, target, ring)
        assert path.relative_to(model).as_posix() in str(caught.value)
        path.write_bytes(before)
    signature.verify(model, target, ring)
    whole = target.read_bytes()
    payload = whole.index(b'"payload"'), whole.index(b'"signatures"')
    for _ in range(200):
        data = bytearray(whole)
        at = chance.randrange(*payload)
        data[at] ^= 1
        target.write_bytes(data)
        with pytest.raises(BadModel):
            signature.verify(model, target, ring)


def test_files_added_lost_and_renamed(ring: Keyring, model: Path) -> None:
    signature.sign(model, model / "model.sig", ring, "")
    (model / "extra.json").write_text("{}")
    with pytest.raises(BadModel, match=r"extra\.json"):
        signature.verify(model, model / "model.sig", ring)
    (model / "extra.json").unlink()
    (model / "config.json").rename(model / "configs.json")
    with pytest.raises(BadModel, match=r"config\.json"):
        signature.verify(model, model / "model.sig", ring)


def test_strangers_revoked_and_rotated_keys(ring: Keyring, model: Path, tmp_path: Path) -> None:
    signature.sign(model, model / "model.sig", ring, "")
    other = Keyring(tmp_path / "others")
    with pytest.raises(BadModel, match="a key that you do not trust"):
        signature.verify(model, model / "model.sig", other)
    other.trust(ring.find("clinic").path)
    assert not other.find(ring.find("clinic").id).own
    signature.verify(model, model / "model.sig", other)

    old = ring.find("clinic")
    ring.rotate("clinic")
    signature.sign(model, model / "model.sig", ring, "clinic")
    with pytest.raises(BadModel, match="a key that you do not trust"):
        signature.verify(model, model / "model.sig", other)
    other.trust(ring.folder / "succession" / f"{old.id}.json")
    assert "rotated" in signature.verify(model, model / "model.sig", other).name

    told = ring.revoke("clinic", "laptop stolen")
    with pytest.raises(BadModel, match="revoked: laptop stolen"):
        signature.verify(model, model / "model.sig", ring)
    other.trust(told)
    with pytest.raises(BadModel, match="revoked: laptop stolen"):
        signature.verify(model, model / "model.sig", other)
    with pytest.raises(UsageError, match="is revoked"):
        ring.private("clinic")


def test_forged_revocations_and_foreign_files(ring: Keyring, tmp_path: Path) -> None:
    stranger = Keyring(tmp_path / "stranger")
    stranger.create("them")
    told = stranger.revoke("them", "none of your business")
    with pytest.raises(BadModel, match="a key that you do not trust"):
        ring.trust(told)
    sealed = json.loads(told.read_text())
    sealed["signatures"][0]["keyid"] = ring.find("clinic").id
    (tmp_path / "forged.json").write_text(json.dumps(sealed))
    with pytest.raises(BadModel, match="was changed after"):
        ring.trust(tmp_path / "forged.json")
    (tmp_path / "rubbish.pub").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(BadData, match="does not hold a public key in PEM"):
        ring.trust(tmp_path / "rubbish.pub")
    with pytest.raises(NotFound, match="cannot be read"):
        ring.trust(tmp_path / "nowhere.pub")
    with pytest.raises(UsageError, match="no reason"):
        ring.revoke("clinic", " ")
