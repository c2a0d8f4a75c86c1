"""Files that hold one key: public ones in PEM, private ones that nobody but their owner may read."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from freehold.core import atomic_files
from freehold.core.errors import BadData, NotFound
from freehold.trust import envelope

_NEW = "make a new key: freehold signer create NAME"


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def id_of(key: ec.EllipticCurvePublicKey) -> str:
    """Hex sha256 of a key's PEM: the hint that OpenSSF model signatures hold."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def read_bytes(path: Path) -> bytes:
    """A key file's bytes. Raises NotFound."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"the key file {path} cannot be read ({error.strerror})", "check the path") from error


def read_public(path: Path) -> ec.EllipticCurvePublicKey:
    """A public key from a PEM file. Raises BadData, NotFound."""
    return parse_public(read_bytes(path), str(path))


def parse_public(data: bytes, where: str) -> ec.EllipticCurvePublicKey:
    """A public key from PEM. Raises BadData."""
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadData(
            f"{where} does not hold a public key in PEM",
            "give the .pub file that 'freehold signer create' wrote",
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadData(
            f"{where} holds a key that is not an elliptic curve key", "use a key on P-256, P-384 or P-521"
        )
    envelope.digest_for(key)
    return key


def read_private(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key from a PEM file that is its owner's alone. Raises BadData, NotFound."""
    check_private_file(path)
    try:
        key = serialization.load_pem_private_key(read_bytes(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadData(
            f"{path} does not hold a private key in PEM without a password ({type(error).__name__})",
            f"restore it from a backup, or {_NEW}",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadData(f"{path} holds a key that is not an elliptic curve key", _NEW)
    return key


def check_private_file(path: Path) -> None:
    """Raises BadData unless ``path`` is a plain file that is yours and only you may read or write;
    NotFound.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise NotFound(f"the key file {path} cannot be read ({error.strerror})", "check the path") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadData(f"the private key {path} is not a plain file", "put the key itself there")
    if os.name != "posix":  # other systems do not say it in these bits
        return
    if status.st_mode & 0o077:
        raise BadData(
            f"the private key {path} can be read or written by others "
            f"(mode {stat.S_IMODE(status.st_mode):04o})",
            f"chmod 600 {path}; if others use this machine, also make a new key and revoke this one",
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise BadData(
            f"the private key {path} belongs to another user", "make your own: freehold signer create NAME"
        )


def write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key that only its owner may read, from its first byte on, whole or not at all.

    Raises DoesNotFit.
    """
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_files.write_atomically(path, data, mode=0o600)
