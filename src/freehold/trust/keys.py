"""Keys that sign models and statements: made, trusted, rotated, revoked; all of it files in one folder.

``own/NAME.key`` (PEM, 0600) beside ``own/NAME.pub``; ``trusted/ID.pub`` of others; ``revoked/ID.json`` and
``succession/ID.json`` are envelopes that the key itself has signed: who trusts a key can check its revocation
and its successor without asking anyone.

Nothing that a revoked key has ever signed counts: not its models, not its certificates, and not its successor
either. A signature bears no date that could be trusted, so a revocation holds from the beginning. A successor
whose own file is trusted counts by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from freehold.core import atomic_files, settings
from freehold.core.errors import BadData, BadModel, NotFound, UsageError
from freehold.trust import envelope
from freehold.trust.key_files import (
    id_of,
    parse_public,
    public_pem,
    read_bytes,
    read_private,
    read_public,
    write_private,
)

REVOCATION, SUCCESSION = "urn:freehold:revocation:v1", "urn:freehold:succession:v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: Letters that look like another one in many typefaces.
_LOOKS_LIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "_": "-", ".": "-"})


@dataclass(frozen=True)
class Key:
    """A public key. ``id``: hex sha256 of its PEM, as model signatures name it; ``own``: whether its
    private part is here.

    ``revoked``: why nothing it signs counts, or nothing. ``replaced``: seconds since 1970 at which it named
    its successor; 0: never. ``successor_of``: the id of the key through which alone it is known.
    """

    id: str
    name: str
    path: Path
    own: bool
    revoked: str
    successor_of: str = ""
    replaced: float = 0.0


@dataclass(frozen=True)
class _Succession:
    """What a key said of its successor."""

    key: ec.EllipticCurvePublicKey
    since: float


def look_alike(first: str, other: str) -> bool:
    """Whether two names of keys can be taken for each other: by case, or by letters such as l, I and 1."""
    return _skeleton(first) == _skeleton(other)


def _skeleton(name: str) -> str:
    return name.lower().translate(_LOOKS_LIKE).replace("rn", "m").replace("vv", "w")


class Keyring:
    """All keys of one folder; ``keys`` in the home if none is named."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or settings.home() / "keys"

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the folder, so that two processes do not make one name at once."""
        with atomic_files.locked(self.folder / ".lock", "the keys", wait=True):
            yield

    # -- own keys -------------------------------------------------------------------------------

    def create(self, name: str) -> Key:
        """Make a key pair on P-256.

        Raises UsageError for a name that is taken, looks like another key's, or cannot be one.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of a key", "use letters, digits, dot, dash and underscore"
            )
        with self._changing():
            self._finish_rotation(name)
            private, public = self._own(name), self._own(name).with_suffix(".pub")
            if private.exists() and not public.exists():  # it was stopped before anybody saw the key
                atomic_files.write_atomically(public, public_pem(read_private(private).public_key()))
                return self.find(name)
            if private.exists():
                raise UsageError(
                    f"there is a key {name!r} already",
                    f"choose another name, or: freehold signer rotate {name}",
                )
            self._refuse_look_alike(name, "")
            self._write_pair(name, ec.generate_private_key(ec.SECP256R1()))
            return self.find(name)

    def _write_pair(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        write_private(self._own(name), key)
        atomic_files.write_atomically(self._own(name).with_suffix(".pub"), public_pem(key.public_key()))

    def _own(self, name: str) -> Path:
        return self.folder / "own" / f"{name}.key"

    def _refuse_look_alike(self, name: str, key_id: str) -> None:
        """Raises UsageError where another key than ``key_id`` has a name that could be taken for ``name``."""
        for key in self.all():
            if key.id != key_id and look_alike(key.name, name):
                raise UsageError(
                    f"the name {name!r} could be taken for {key.name!r}, the name of the key {key.id[:16]}",
                    "choose another name; 'freehold signer trust FILE --as NAME' names another's key",
                )

    def private(self, name: str) -> tuple[Key, ec.EllipticCurvePrivateKey]:
        """An own key with its private part, to sign with; the only one there is for no name.

        Raises NotFound, UsageError, BadData.
        """
        usable = [key for key in self.all() if key.own and not key.revoked and not key.replaced]
        if not name and len(usable) != 1:
            names = ", ".join(key.name for key in usable)
            raise UsageError(
                "it is not clear which key signs; "
                + (f"there are {len(usable)}: {names}" if usable else "there is none"),
                "name one with --key" if usable else "freehold signer create NAME",
            )
        key, private = self._pair(name or usable[0].name)
        if key.replaced:
            stopped = self._next(key.name).exists()
            raise UsageError(
                f"the key {key.name!r} was replaced on {_day(key.replaced)}",
                f"finish the rotation: freehold signer rotate {key.name}"
                if stopped
                else "sign with its successor: freehold signer list",
            )
        return key, private

    def _pair(self, name: str) -> tuple[Key, ec.EllipticCurvePrivateKey]:
        key = self.find(name)
        if not key.own:
            raise UsageError(
                f"only the public part of the key {key.name!r} is here", "sign where its private part is"
            )
        if key.revoked:
            raise UsageError(
                f"the key {key.name!r} is revoked ({key.revoked})", "sign with another: freehold signer list"
            )
        private = read_private(self._own(key.name))
        if id_of(private.public_key()) != key.id:
            raise BadData(
                f"{key.path} is not the public part of {self._own(key.name).name}",
                "restore both from a backup, or make a new key: freehold signer create NAME",
            )
        return key, private

    def private_path(self, key: Key) -> Path:
        """Where an own key's private part lies."""
        return self._own(key.name)

    def rotate(self, name: str) -> Key:
        """A new key in the old one's place, named by the old one as its successor.

        The old one is kept as NAME-1, NAME-2 ...

        Stopped at any point, the same call goes on from there. Raises NotFound, UsageError, BadData.
        """
        with self._changing():
            if self._finish_rotation(name):
                return self.find(name)
            old, private = self._pair(name)
            if old.replaced and not self._next(old.name).exists():
                raise UsageError(
                    f"the key {name!r} was replaced on {_day(old.replaced)}",
                    "rotate its successor: freehold signer list",
                )
            if not self._next(old.name).exists():
                write_private(self._next(old.name), ec.generate_private_key(ec.SECP256R1()))
            successor = read_private(self._next(old.name)).public_key()
            said = {"key": public_pem(successor).decode(), "since": time.time()}
            sealed = envelope.seal(
                envelope.statement({"key": id_of(successor)}, SUCCESSION, said), private, old.id
            )
            self._put("succession", old.id, sealed)
            number = next(n for n in range(1, 10**6) if not self._own(f"{old.name}-{n}").exists())
            for suffix in (".pub", ".key"):
                os.replace(
                    self._own(old.name).with_suffix(suffix),
                    self._own(f"{old.name}-{number}").with_suffix(suffix),
                )
            atomic_files.sync(self._own(old.name).parent)
            self._finish_rotation(old.name)
            return self.find(old.name)

    def _next(self, name: str) -> Path:
        """Where a rotation keeps the new private part until the old one has moved away."""
        return self.folder / "own" / f".{name}.next"

    def _finish_rotation(self, name: str) -> bool:
        """Put the new key in its place where a rotation has moved the old one away; whether it did."""
        waiting = self._next(name)
        if not waiting.exists():
            return False
        if self._own(name).exists():
            return self._finish_moving(name)
        private = read_private(waiting)
        atomic_files.write_atomically(self._own(name).with_suffix(".pub"), public_pem(private.public_key()))
        os.replace(waiting, self._own(name))
        atomic_files.sync(waiting.parent)
        return True

    def _finish_moving(self, name: str) -> bool:
        """Whether a rotation was stopped between moving the public and the private part; then the rest is
        done.
        """
        if self._own(name).with_suffix(".pub").exists():
            return False
        key_id = id_of(read_private(self._own(name)).public_key())
        aside = sorted((self.folder / "own").glob(f"{name}-*.pub"))
        moved = next((path for path in aside if id_of(read_public(path)) == key_id), None)
        if moved is None:
            return False
        os.replace(self._own(name), moved.with_suffix(".key"))
        atomic_files.sync(moved.parent)
        return self._finish_rotation(name)

    def revoke(self, name: str, reason: str) -> Path:
        """Sign that nothing an own key has signed counts; the file that tells others.

        Raises NotFound, UsageError.
        """
        if not reason.strip():
            raise UsageError("no reason was given", "give one with --reason; others will read it")
        with self._changing():
            key, private = self._pair(name)
            said = envelope.statement(
                {"key": key.id}, REVOCATION, {"reason": reason.strip(), "since": time.time()}
            )
            return self._put("revoked", key.id, envelope.seal(said, private, key.id))

    def _put(self, what: str, key_id: str, sealed: envelope.Envelope) -> Path:
        path = self.folder / what / f"{key_id}.json"
        atomic_files.write_atomically(path, json.dumps(sealed, indent=1))
        return path

    # -- others' ----------------------------------------------------------------------------------

    def trust(self, path: Path, name: str = "") -> Key:
        """Trust a public key, as ``name`` or by its file's; or take in a known key's revocation or
        succession.

        Raises BadData, BadModel, NotFound, and UsageError for a name that could be taken for another key's.
        """
        data = read_bytes(path)
        with self._changing():
            if data.lstrip().startswith(b"{"):
                return self._take_in(data, path)
            return self._trust_key(parse_public(data, str(path)), name or path.stem)

    def _trust_key(self, key: ec.EllipticCurvePublicKey, name: str) -> Key:
        stem, key_id = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:64], id_of(key)
        self._refuse_look_alike(stem, key_id)
        atomic_files.write_atomically(
            self.folder / "trusted" / f"{key_id}.pub", public_pem(key) + f"# {stem}\n".encode()
        )
        return self.find(key_id)

    def _take_in(self, data: bytes, path: Path) -> Key:
        """Take in what a key says of itself: that it is revoked, or who follows it."""
        sealed, every = envelope.read_json(data, path.name), self.all()
        value, signer = envelope.unseal(sealed, {key.id: read_public(key.path) for key in every}, path.name)
        kind = value["predicateType"]
        if kind == REVOCATION:
            _reason_in(value, signer, path.name)
            if not (self.folder / "revoked" / f"{signer}.json").exists():  # the first reason stays
                self._put("revoked", signer, sealed)
        elif kind == SUCCESSION:
            said = _succession_in(value, path.name)
            self._refuse_successor(next(key for key in every if key.id == signer), said)
            self._put("succession", signer, sealed)
        else:
            raise BadData(
                f"{path} is neither a key nor a revocation nor a succession",
                "give the file that 'freehold signer' wrote",
            )
        return self.find(signer)

    def _refuse_successor(self, signer: Key, said: _Succession) -> None:
        if signer.revoked:
            raise BadModel(
                f"{signer.name!r} names a successor, but the key is revoked ({signer.revoked}), "
                "so nothing it signs counts",
                "ask for the public file of the new key, and trust that: freehold signer trust FILE",
            )
        before = self._succession(signer)
        if before is not None and id_of(before.key) != id_of(said.key):
            raise BadModel(
                f"{signer.name!r} has named another successor before ({id_of(before.key)[:16]}); "
                "a key has one",
                "ask the owner which one is right: somebody else may have the old key",
            )

    def distrust(self, name: str) -> Key:
        """Trust another's key no more. Raises NotFound, UsageError."""
        with self._changing():
            key = self.find(name)
            if key.own or key.successor_of:
                raise UsageError(
                    f"{key.name!r} is {'your own' if key.own else 'a successor of a trusted key'}",
                    "revoke it, or distrust the key before it",
                )
            key.path.unlink()
            return key

    # -- reading ----------------------------------------------------------------------------------

    def all(self) -> list[Key]:
        """Own keys, then trusted ones, then successors they have named.

        Those that only a revoked key has named are revoked too.
        """
        keys = {key.id: key for key in self._held()}
        self._follow(keys, lambda key: not key.revoked)
        self._follow(keys, lambda _: True)
        return list(keys.values())

    def _held(self) -> Iterator[Key]:
        """Keys whose own files are here, by what the files hold and not by what they are called."""
        own_ids: set[str] = set()
        for path in sorted((self.folder / "own").glob("*.pub")):
            key_id = id_of(read_public(path))
            own_ids.add(key_id)
            yield self._judged(Key(key_id, path.stem, path, path.with_suffix(".key").exists(), ""))
        for path in sorted((self.folder / "trusted").glob("*.pub")):
            key_id = id_of(read_public(path))
            if key_id not in own_ids:
                named = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
                yield self._judged(Key(key_id, next(iter(named), key_id[:16]), path, False, ""))

    def _follow(self, keys: dict[str, Key], counts: Callable[[Key], bool]) -> None:
        """Add to ``keys`` the successors of those that ``counts``, and theirs.

        Each is looked at once, so a loop ends.
        """
        waiting = [key for key in keys.values() if counts(key)]
        while waiting:
            signer = waiting.pop(0)
            said = self._succession(signer)
            if said is None or id_of(said.key) in keys:
                continue
            key = self._successor(signer, said.key)
            keys[key.id] = key
            if counts(key):
                waiting.append(key)

    def _successor(self, signer: Key, public: ec.EllipticCurvePublicKey) -> Key:
        key_id = id_of(public)
        path = self.folder / "succession" / f"{key_id}.pub"
        if not path.exists() or id_of(read_public(path)) != key_id:
            atomic_files.write_atomically(path, public_pem(public))
        key = self._judged(Key(key_id, f"{signer.name}, rotated", path, False, "", signer.id))
        if signer.revoked and not key.revoked:
            why = f"only {signer.name!r} has named it, and that key is revoked: {signer.revoked}"
            return replace(key, revoked=why)
        return key

    def _judged(self, key: Key) -> Key:
        """The key with what it has said of itself: revoked, replaced."""
        said, revocation = self._succession(key), self._said("revoked", key)
        reason = "" if revocation is None else _reason_in(revocation, key.id, f"{key.id}.json")
        return replace(key, revoked=reason, replaced=said.since if said else 0.0)

    def _succession(self, key: Key) -> _Succession | None:
        value = self._said("succession", key)
        return None if value is None else _succession_in(value, f"{key.id}.json")

    def _said(self, what: str, key: Key) -> envelope.Statement | None:
        """What a key has signed of itself in the folder ``what``; None where it has not. Raises BadModel."""
        path = self.folder / what / f"{key.id}.json"
        if not path.exists():
            return None
        sealed = envelope.read_json(path.read_bytes(), path.name)
        return envelope.unseal(sealed, {key.id: read_public(key.path)}, path.name)[0]

    def successors(self, key: Key) -> list[Key]:
        """The keys that a key has named, directly or through one that it named, in this order."""
        keys = {each.id: each for each in self.all()}
        named_keys: dict[str, Key] = {}
        while (said := self._succession(key)) is not None and (named := id_of(said.key)) not in named_keys:
            key = named_keys[named] = keys[named]
        return list(named_keys.values())

    def find(self, name: str) -> Key:
        """A key by its name, or by its id or the beginning of it (8 or more).

        Raises NotFound, UsageError for one that fits several.
        """
        every = self.all()
        fitting = [key for key in every if key.id == name] or [
            key for key in every if key.name == name or (len(name) >= 8 and key.id.startswith(name))
        ]
        if not fitting:
            raise NotFound(
                f"no key is named {name!r} (here: {', '.join(key.name for key in every) or 'none'})",
                "freehold signer create NAME",
            )
        if len(fitting) > 1:
            raise UsageError(
                f"{len(fitting)} keys are named {name!r}, or have an id that begins so",
                f"use their ids: {', '.join(key.id[:24] for key in fitting)}",
            )
        return fitting[0]

    def valid_keys(self) -> dict[str, ec.EllipticCurvePublicKey]:
        """Keys by id whose signatures count: own and trusted ones and their successors, none revoked."""
        return {key.id: read_public(key.path) for key in self.all() if not key.revoked}


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _reason_in(value: envelope.Statement, signer: str, what: str) -> str:
    """Why a key revokes itself. Raises BadData for a revocation of another key: only its owner can revoke
    one.
    """
    if value["predicateType"] != REVOCATION or envelope.subjects_of(value, what) != {"key": signer}:
        raise BadData(
            f"{what} does not revoke the key that has signed it ({signer[:16]}); "
            "only its owner can revoke a key",
            "ask the key's owner for a revocation",
        )
    return str(value["predicate"].get("reason") or "no reason given")


def _succession_in(value: envelope.Statement, what: str) -> _Succession:
    key = parse_public(str(value["predicate"].get("key", "")).encode(), what)
    if value["predicateType"] != SUCCESSION or envelope.subjects_of(value, what) != {"key": id_of(key)}:
        raise BadData(f"{what} does not name one successor", "ask the key's owner for it again")
    since = value["predicate"].get("since")
    if isinstance(since, bool) or not isinstance(since, int | float) or not 0 < since < 1e11:
        raise BadData(f"{what} does not say since when", "ask the key's owner for it again")
    return _Succession(key, float(since))
