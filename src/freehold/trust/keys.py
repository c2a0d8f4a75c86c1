"""Keys that sign models and statements: made, trusted, rotated, revoked; all of it files in one folder.

``own/NAME.key`` (PEM, 0600) beside ``own/NAME.pub``; ``trusted/ID.pub`` of others; ``revoked/ID.json`` and ``succession/ID.json`` are
envelopes that the key itself has signed: who trusts a key can check its revocation and its successor without asking anyone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from freehold import durable, settings
from freehold.errors import BadData, NotFound, UsageError
from freehold.trust import envelope

REVOCATION, SUCCESSION = "urn:freehold:revocation:v1", "urn:freehold:succession:v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Key:
    """A public key. ``id``: hex sha256 of its PEM, as model signatures name it; ``own``: its private part is here; ``revoked``: why, or nothing."""

    id: str
    name: str
    path: Path
    own: bool
    revoked: str
    successor_of: str = ""


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def id_of(key: ec.EllipticCurvePublicKey) -> str:
    """Hex sha256 of a key's PEM: the hint that OpenSSF model signatures hold."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def read_public(path: Path) -> ec.EllipticCurvePublicKey:
    """A public key from a PEM file. Raises BadData, NotFound."""
    return _public(_bytes(path), str(path))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"the key file {path} cannot be read ({error.strerror})", "check the path") from error


def _public(data: bytes, where: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadData(
            f"{where} holds no public key in PEM", "give the .pub file that 'freehold signer create' wrote"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadData(
            f"{where} holds a key of another kind than elliptic curve", "use a key on P-256, P-384 or P-521"
        )
    envelope.digest_for(key)
    return key


class Keyring:
    """All keys of one folder; ``keys`` in the home if none is named."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or settings.home() / "keys"

    # -- own keys -------------------------------------------------------------------------------

    def create(self, name: str) -> Key:
        """Make a key pair on P-256. Raises UsageError for a name that is taken or none."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot name a key", "use letters, digits, dot, dash and underscore")
        private, public = self._own(name), self._own(name).with_suffix(".pub")
        if private.exists():
            raise UsageError(
                f"there is a key {name!r} already", f"choose another name, or: freehold signer rotate {name}"
            )
        made = ec.generate_private_key(ec.SECP256R1())
        _secret(
            private,
            made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        durable.write_atomically(public, public_pem(made.public_key()))
        return self.find(name)

    def _own(self, name: str) -> Path:
        return self.folder / "own" / f"{name}.key"

    def private(self, name: str) -> tuple[Key, ec.EllipticCurvePrivateKey]:
        """An own key with its private part; the only one there is for no name. Raises NotFound, UsageError, BadData."""
        own = [key for key in self.all() if key.own and not key.revoked]
        if not name and len(own) != 1:
            told = (
                "there is none" if not own else f"there are {len(own)}: {', '.join(key.name for key in own)}"
            )
            raise UsageError(
                f"it is not clear which key signs; {told}",
                "freehold signer create NAME" if not own else "name one with --key",
            )
        key = self.find(name or own[0].name)
        if not key.own:
            raise UsageError(
                f"of the key {key.name!r} only the public part is here", "sign where its private part is"
            )
        if key.revoked:
            raise UsageError(
                f"the key {key.name!r} is revoked ({key.revoked})", "sign with another: freehold signer list"
            )
        loaded = serialization.load_pem_private_key(_bytes(self._own(key.name)), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise BadData(
                f"the key {key.name!r} is of another kind than elliptic curve",
                "make one: freehold signer create NAME",
            )
        return key, loaded

    def private_path(self, key: Key) -> Path:
        """Where an own key's private part lies."""
        return self._own(key.name)

    def rotate(self, name: str) -> Key:
        """A new key in the old one's place, named by the old one as its successor; the old one is kept as NAME-1, NAME-2 ..."""
        old, private = self.private(name)
        number = next(n for n in range(1, 10**6) if not self._own(f"{old.name}-{n}").exists())
        for suffix in (".key", ".pub"):
            os.replace(
                self._own(old.name).with_suffix(suffix), self._own(f"{old.name}-{number}").with_suffix(suffix)
            )
        durable.sync(self._own(old.name).parent)
        made = self.create(old.name)
        said = envelope.statement(
            {"key": made.id}, SUCCESSION, {"key": made.path.read_text(), "since": time.time()}
        )
        self._put("succession", old.id, envelope.seal(said, private, old.id))
        return self.find(made.name)

    def revoke(self, name: str, reason: str) -> Path:
        """Sign that an own key is not to be believed any more; the file that tells others. Raises NotFound, UsageError."""
        if not reason.strip():
            raise UsageError("no reason was given", "say it with --reason, others will read it")
        key, private = self.private(name)
        said = envelope.statement(
            {"key": key.id}, REVOCATION, {"reason": reason.strip(), "since": time.time()}
        )
        return self._put("revoked", key.id, envelope.seal(said, private, key.id))

    def _put(self, what: str, key_id: str, sealed: dict[str, Any]) -> Path:
        path = self.folder / what / f"{key_id}.json"
        durable.write_atomically(path, json.dumps(sealed, indent=1))
        return path

    # -- others' ----------------------------------------------------------------------------------

    def trust(self, path: Path) -> Key:
        """Believe a public key, or take in a revocation or succession that a trusted key has signed. Raises BadData, BadModel, NotFound."""
        data = _bytes(path)
        if not data.lstrip().startswith(b"{"):
            key = _public(data, str(path))
            name = id_of(key)
            stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)[:64]
            durable.write_atomically(
                self.folder / "trusted" / f"{name}.pub", public_pem(key) + f"# {stem}\n".encode()
            )
            return self.find(name)
        try:
            sealed = json.loads(data)
        except ValueError as error:
            raise BadData(f"{path} is no JSON ({error})", "fetch it again") from error
        value, signer = envelope.unseal(
            sealed, {key.id: read_public(key.path) for key in self.all()}, path.name
        )
        where = {REVOCATION: "revoked", SUCCESSION: "succession"}.get(str(value["predicateType"]))
        if where is None:
            raise BadData(
                f"{path} is neither a key nor a revocation nor a succession",
                "give the file that 'freehold signer' wrote",
            )
        self._put(where, signer, sealed)
        return self.find(signer)

    def distrust(self, name: str) -> Key:
        """Believe another's key no more. Raises NotFound, UsageError."""
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
        """Own keys, then trusted ones, then successors that trusted keys have named."""
        found: dict[str, Key] = {}
        for path in sorted((self.folder / "own").glob("*.pub")):
            name = id_of(read_public(path))
            found[name] = Key(name, path.stem, path, path.with_suffix(".key").exists(), "")
        for path in sorted((self.folder / "trusted").glob("*.pub")):
            if path.stem not in found:
                told = next(
                    (line[2:] for line in path.read_text().splitlines() if line.startswith("# ")),
                    path.stem[:16],
                )
                found[path.stem] = Key(path.stem, told, path, False, "")
        keys = {name: read_public(key.path) for name, key in found.items()}
        waiting = sorted((self.folder / "succession").glob("*.json"))
        while known := [path for path in waiting if path.stem in keys]:
            waiting = [path for path in waiting if path not in known]
            for path in known:
                value, signer = envelope.unseal(
                    json.loads(path.read_text()), {path.stem: keys[path.stem]}, path.name
                )
                successor = _public(str(value["predicate"]["key"]).encode(), path.name)
                name = id_of(successor)
                keys[name] = successor
                if name not in found:
                    place = self.folder / "succession" / f"{name}.pub"
                    if not place.exists():
                        durable.write_atomically(place, public_pem(successor))
                    found[name] = Key(
                        name, f"{found[signer].name}, rotated", place, False, "", found[signer].id
                    )
        return [self._with_revocation(key, keys[key.id]) for key in found.values()]

    def _with_revocation(self, key: Key, public: ec.EllipticCurvePublicKey) -> Key:
        path = self.folder / "revoked" / f"{key.id}.json"
        if not path.exists():
            return key
        value, _ = envelope.unseal(json.loads(path.read_text()), {key.id: public}, path.name)
        return Key(key.id, key.name, key.path, key.own, str(value["predicate"]["reason"]), key.successor_of)

    def find(self, name: str) -> Key:
        """A key by its name, or by its id or the beginning of it (8 or more). Raises NotFound, UsageError."""
        every = self.all()
        found = [key for key in every if key.name == name] or [
            key for key in every if len(name) >= 8 and key.id.startswith(name)
        ]
        if not found:
            raise NotFound(
                f"no key is named {name!r} (here: {', '.join(key.name for key in every) or 'none'})",
                "freehold signer create NAME",
            )
        if len(found) > 1:
            raise UsageError(
                f"{len(found)} keys are named {name!r}",
                f"use their ids: {', '.join(key.id[:16] for key in found)}",
            )
        return found[0]

    def believed(self) -> dict[str, ec.EllipticCurvePublicKey]:
        """Keys by id whose signatures count: own and trusted ones and their successors, none revoked."""
        return {key.id: read_public(key.path) for key in self.all() if not key.revoked}


def _secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    durable.sync(path.parent)
