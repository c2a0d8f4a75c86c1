"""Keys over the command line.

Nothing that a revoked key has signed counts, names that look alike are refused, private files are private.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.trust import envelope, keys
from freehold.trust.key_files import id_of, public_pem, read_private
from freehold.trust.keys import Keyring
from tests.commands import freehold
from tests.conftest import FREEHOLD


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """The home of whoever signs."""
    home = tmp_path / "clinic"
    assert freehold(home, "signer", "create", "clinic").code == 0
    return home


@pytest.fixture
def reader(clinic: Path, tmp_path: Path) -> Path:
    """The home of whoever trusts the clinic's key."""
    home = tmp_path / "reader"
    assert freehold(home, "signer", "trust", clinic / "keys" / "own" / "clinic.pub").code == 0
    return home


def listed(home: Path) -> dict[str, dict[str, object]]:
    return {key["id"]: key for key in json.loads(freehold(home, "signer", "list", "--json").out)}


def key_id(home: Path, name: str) -> str:
    return Keyring(home / "keys").find(name).id


def names_as_successor(home: Path, signer: str, successor_of: Path, successor: str) -> Path:
    """A succession file that ``signer`` signs: its key is followed by another home's key."""
    ring = Keyring(home / "keys")
    key = ring.find(signer)
    private = read_private(ring.private_path(key))
    public = public_pem(read_private(Keyring(successor_of / "keys")._own(successor)).public_key())
    following = Keyring(successor_of / "keys").find(successor).id
    said = envelope.statement({"key": following}, keys.SUCCESSION, {"key": public.decode(), "since": 1e9})
    path = home / f"{signer}-names-{successor}.json"
    path.write_text(json.dumps(envelope.seal(said, private, key.id)))
    return path


def home_of(tmp_path: Path, name: str) -> Path:
    assert freehold(tmp_path / name, "signer", "create", name).code == 0
    return tmp_path / name


def test_a_successor_counts_until_the_key_that_named_it_is_revoked(clinic: Path, reader: Path) -> None:
    old = key_id(clinic, "clinic")
    assert freehold(clinic, "signer", "rotate", "clinic").code == 0
    new = key_id(clinic, "clinic")
    assert freehold(reader, "signer", "trust", clinic / "keys" / "succession" / f"{old}.json").code == 0
    assert listed(reader)[new]["revoked"] == ""
    told = freehold(clinic, "signer", "revoke", "clinic-1", "--reason", "laptop stolen")
    assert told.code == 0, told.err
    assert "give them its own public file" in told.out
    assert freehold(reader, "signer", "trust", clinic / "keys" / "revoked" / f"{old}.json").code == 0
    state = listed(reader)
    assert state[old]["revoked"] == "laptop stolen"
    assert "only 'clinic' has named it, and that key is revoked: laptop stolen" in str(state[new]["revoked"])
    table = freehold(reader, "signer", "list").out
    assert "revoked: laptop stolen" in table
    assert "revoked: only 'clinic' has named it" in table
    # its owner still has it, and whoever takes it by its own file trusts it again
    assert listed(clinic)[new]["revoked"] == ""
    public = clinic / "keys" / "own" / "clinic.pub"
    assert freehold(reader, "signer", "trust", public, "--as", "clinic-anew").code == 0
    assert listed(reader)[new]["revoked"] == ""


def test_a_revocation_tells_of_the_successors_and_of_no_other_key(clinic: Path) -> None:
    for words in (("create", "laboratory"), ("rotate", "clinic"), ("rotate", "clinic")):
        assert freehold(clinic, "signer", *words).code == 0
    told = freehold(clinic, "signer", "revoke", "clinic-1", "--reason", "laptop stolen").out
    said = [line for line in told.splitlines() if line.startswith("others knew ")]
    assert [line.split()[2] for line in said] == ["clinic-2", "clinic"]


def test_a_thief_of_a_revoked_key_cannot_name_a_successor(clinic: Path, reader: Path, tmp_path: Path) -> None:
    thief = home_of(tmp_path, "thief")
    theirs = names_as_successor(clinic, "clinic", thief, "thief")
    freehold(clinic, "signer", "revoke", "clinic", "--reason", "stolen")
    revocation = clinic / "keys" / "revoked" / f"{key_id(clinic, 'clinic')}.json"
    # whichever comes first, and though the thief dates it long before the revocation
    for order in ((theirs, revocation), (revocation, theirs)):
        home = Path(shutil.copytree(reader, tmp_path / f"reader-{order[0].name}"))
        codes = [freehold(home, "signer", "trust", path).code for path in order]
        assert codes == ([0, 0] if order[0] is theirs else [0, 6])
        assert listed(home).get(key_id(thief, "thief"), {"revoked": "absent"})["revoked"] != ""
        assert key_id(thief, "thief") not in Keyring(home / "keys").valid_keys()


def test_a_key_names_one_successor(clinic: Path, reader: Path, tmp_path: Path) -> None:
    first, second = home_of(tmp_path, "first"), home_of(tmp_path, "second")
    assert freehold(reader, "signer", "trust", names_as_successor(clinic, "clinic", first, "first")).code == 0
    done = freehold(reader, "signer", "trust", names_as_successor(clinic, "clinic", second, "second"))
    assert done.code == 6
    assert "has named another successor before" in done.err
    assert key_id(second, "second") not in listed(reader)


def test_successions_in_a_loop_end_and_fall_with_their_first_key(
    clinic: Path, reader: Path, tmp_path: Path
) -> None:
    first, second = home_of(tmp_path, "first"), home_of(tmp_path, "second")
    for path in (
        names_as_successor(clinic, "clinic", first, "first"),
        names_as_successor(first, "first", second, "second"),
        names_as_successor(second, "second", first, "first"),
    ):
        assert freehold(reader, "signer", "trust", path).code == 0
    assert len(Keyring(reader / "keys").valid_keys()) == 3
    freehold(clinic, "signer", "revoke", "clinic", "--reason", "stolen")
    freehold(reader, "signer", "trust", clinic / "keys" / "revoked" / f"{key_id(clinic, 'clinic')}.json")
    assert not Keyring(reader / "keys").valid_keys()
    assert all(key["revoked"] for key in listed(reader).values())


def test_only_a_key_itself_is_revoked_by_what_it_signs(clinic: Path, reader: Path, tmp_path: Path) -> None:
    other = home_of(tmp_path, "other")
    freehold(reader, "signer", "trust", other / "keys" / "own" / "other.pub")
    key, private = Keyring(other / "keys").private("other")
    said = envelope.statement(
        {"key": key_id(clinic, "clinic")}, keys.REVOCATION, {"reason": "I say so", "since": 1e9}
    )
    path = tmp_path / "revocation.json"
    path.write_text(json.dumps(envelope.seal(said, private, key.id)))
    done = freehold(reader, "signer", "trust", path)
    assert done.code == 5
    assert "only its owner can revoke a key" in done.err
    assert not any(one["revoked"] for one in listed(reader).values())
    # nor does a file that is merely put there
    shutil.copyfile(path, reader / "keys" / "revoked.json")
    (reader / "keys" / "revoked").mkdir()
    shutil.copyfile(path, reader / "keys" / "revoked" / f"{key.id}.json")
    assert freehold(reader, "signer", "list").code == 5


def test_the_first_reason_stays(clinic: Path, reader: Path) -> None:
    freehold(clinic, "signer", "revoke", "clinic", "--reason", "stolen")
    path = clinic / "keys" / "revoked" / f"{key_id(clinic, 'clinic')}.json"
    freehold(reader, "signer", "trust", path)
    again = freehold(clinic, "signer", "revoke", "clinic", "--reason", "it was nothing")
    assert again.code == 2
    assert "is revoked" in again.err
    private = read_private(clinic / "keys" / "own" / "clinic.key")
    signer = key_id(clinic, "clinic")
    said = envelope.statement({"key": signer}, keys.REVOCATION, {"reason": "it was nothing", "since": 1e9})
    path.write_text(json.dumps(envelope.seal(said, private, signer)))
    freehold(reader, "signer", "trust", path)
    assert listed(reader)[signer]["revoked"] == "stolen"


def test_a_replaced_key_signs_no_more(clinic: Path) -> None:
    freehold(clinic, "signer", "rotate", "clinic")
    with pytest.raises(Exception, match="was replaced on"):
        Keyring(clinic / "keys").private("clinic-1")
    assert Keyring(clinic / "keys").private("")[0].name == "clinic"  # it is clear which signs
    done = freehold(clinic, "signer", "rotate", "clinic-1")
    assert (done.code, "was replaced on" in done.err) == (2, True)
    assert "replaced on" in freehold(clinic, "signer", "list").out


@pytest.mark.parametrize(
    "name", ["clinic", "CLINIC", "cIinic", "c1inic", "cl1nic", "clinic\u200b", "cl\u0456nic"]
)
def test_names_that_look_alike_are_refused(reader: Path, tmp_path: Path, name: str) -> None:
    """The last two become names with a dash in them, which nobody takes for the clinic's."""
    thief = home_of(tmp_path, "thief")
    shutil.copyfile(thief / "keys" / "own" / "thief.pub", tmp_path / f"{name}.pub")
    done = freehold(reader, "signer", "trust", tmp_path / f"{name}.pub")
    if name.isascii():
        assert done.code == 2, done.out
        assert "could be taken for 'clinic'" in done.err
        assert freehold(reader, "signer", "create", name).code == 2
    else:
        assert (done.code, "-" in done.out) == (0, True)
    assert freehold(reader, "signer", "trust", tmp_path / f"{name}.pub", "--as", "thief").code == 0


def test_ids_are_those_of_what_files_hold_and_their_beginnings_are_not_taken_for_names(
    clinic: Path, reader: Path, tmp_path: Path
) -> None:
    thief = home_of(tmp_path, "thief")
    wanted, theirs = key_id(clinic, "clinic"), key_id(thief, "thief")
    # a file whose name claims to be another key
    shutil.copyfile(thief / "keys" / "own" / "thief.pub", reader / "keys" / "trusted" / f"{'0' * 64}.pub")
    assert set(listed(reader)) == {wanted, theirs}
    (reader / "keys" / "trusted" / f"{'0' * 64}.pub").unlink()
    # a key whose name is the beginning of another's id
    named = freehold(reader, "signer", "trust", thief / "keys" / "own" / "thief.pub", "--as", wanted[:16])
    assert named.code == 0
    done = freehold(reader, "signer", "distrust", wanted[:16])
    assert done.code == 2
    assert "2 keys are named" in done.err
    assert freehold(reader, "signer", "distrust", wanted).code == 0
    assert set(listed(reader)) == {theirs}


def _readable(path: Path) -> str:
    path.chmod(0o640)
    return "can be read or written by others (mode 0640)"


def _link(path: Path) -> str:
    path.rename(path.with_suffix(".aside"))
    path.symlink_to(path.with_suffix(".aside"))
    return "is not a plain file"


def _garbage(path: Path) -> str:
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    return "does not hold a private key in PEM"


def _another(path: Path) -> str:
    home = path.parent.parent.parent
    freehold(home, "signer", "create", "unlike")
    shutil.copyfile(path.with_name("unlike.key"), path)
    return "is not the public part of"


@pytest.mark.parametrize("change", [_readable, _link, _garbage, _another])
def test_a_private_file_is_its_owners_alone_and_what_it_says(
    clinic: Path, change: Callable[[Path], str]
) -> None:
    sentence = change(clinic / "keys" / "own" / "clinic.key")
    done = freehold(clinic, "signer", "rotate", "clinic")
    assert done.code == 5, done.out
    assert sentence in done.err


def test_two_that_create_one_name_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")}
    running = [
        subprocess.Popen(
            [*FREEHOLD, "signer", "create", "clinic"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    outcomes = [process.communicate(timeout=120) for process in running]
    assert sorted(process.returncode for process in running) == [0, 2, 2]
    shown = next(out for out, _ in outcomes if out).split()[1].decode()
    assert Keyring(tmp_path / "home" / "keys").private("clinic")[0].id.startswith(shown)


# -- stopped at any point ---------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def killed_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Let ``writes`` files be put in their place, and no more."""
    count, replace = [0], os.replace

    def counted(*names: object, **more: object) -> None:
        if count[0] == writes:
            raise Killed
        count[0] += 1
        replace(*names, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", counted)


@pytest.mark.parametrize("writes", range(3))
def test_create_stopped_at_any_write_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    with monkeypatch.context() as patch:
        killed_after(patch, writes)
        with pytest.raises(Killed) if writes < 2 else _nothing():
            Keyring(tmp_path / "keys").create("clinic")
    made = Keyring(tmp_path / "keys")
    if writes < 2:
        made.create("clinic")
    key, private = made.private("clinic")
    assert id_of(private.public_key()) == key.id


def _nothing() -> object:
    import contextlib

    return contextlib.nullcontext()


@pytest.mark.parametrize("writes", range(7))
def test_rotate_stopped_at_any_write_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    ring = Keyring(tmp_path / "keys")
    old = ring.create("clinic")
    with monkeypatch.context() as patch:
        killed_after(patch, writes)
        if writes < 6:
            with pytest.raises(Killed):
                ring.rotate("clinic")
        else:
            ring.rotate("clinic")
    if writes < 6:
        ring.rotate("clinic")
    key, private = ring.private("clinic")
    assert key.id == id_of(private.public_key()) != old.id
    assert ring.find("clinic-1").id == old.id
    assert ring.find("clinic-1").own
    assert [one.name for one in ring.all()] == ["clinic-1", "clinic"]
