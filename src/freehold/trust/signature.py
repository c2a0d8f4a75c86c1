"""A model's signature in the OpenSSF Model Signing format (1.0), with one of your own elliptic-curve keys,
offline.

Made and read by the package model-signing, so that its own command verifies ours and the other way round. A
signature covers every file of a folder by its sha256; names are part of it, so that a file that was added,
lost, renamed or changed is found and named.
"""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from freehold.core import atomic_files
from freehold.core.errors import BadModel, NotFound
from freehold.trust import envelope
from freehold.trust.inventory import shown
from freehold.trust.key_files import read_public
from freehold.trust.keys import Key, Keyring

#: Beside a model's files, and never a part of the model: what is said about it, and rows it was trained on.
SIGNATURE = "model.sig"
NOT_SHARED = (
    SIGNATURE,
    "certificate.json",
    "certificate.html",
    "provenance.jsonl",
    "bom.cdx.json",
    "NOTICE.txt",
    "USE-RESTRICTIONS.txt",
    "task.json",
)
#: What cannot be signed beside a signature: itself, the certificate that binds it, and rows.
_NOT_SIGNED = (SIGNATURE, "certificate.json", "task.json")
#: Names that signatures in this format leave out by themselves.
GITS_OWN = (".gitattributes", ".gitignore", ".github/", ".git/")
_STATED = "https://model_signing/signature/v1.0"


@dataclass(frozen=True)
class _Bundle:
    """A signature file."""

    #: The id of the key that it names.
    key_id: str
    #: What was signed, with the signature.
    envelope: envelope.Envelope


@dataclass(frozen=True)
class _Signed:
    """What a signature states; whether it is valid is another question."""

    #: How files were turned into digests: ``files`` means each by itself.
    method: str
    #: File -> digest in hex.
    digests: dict[str, str]
    #: Files that the signature leaves out.
    ignored: frozenset[str]


def sign(folder: Path, target: Path, keyring: Keyring, key_name: str) -> Key:
    """Sign all files of a folder but a signature, a certificate and rows; the key that did it.

    Raises NotFound, UsageError, BadModel.
    """
    from model_signing import hashing, signing

    key, _ = keyring.private(key_name)
    config = (
        hashing.Config()
        .use_file_serialization(allow_symlinks=True)
        .set_ignored_paths(paths=[folder / name for name in _NOT_SIGNED])
        .set_allow_symlinks(True)
    )
    signer = (
        signing.Config()
        .use_elliptic_key_signer(private_key=keyring.private_path(key))
        .set_hashing_config(config)
    )
    with tempfile.TemporaryDirectory(
        prefix="freehold-signing-"
    ) as elsewhere:  # a file in the folder would be signed too
        try:
            signer.sign(folder, Path(elsewhere) / SIGNATURE)
        except (ValueError, OSError) as error:
            raise BadModel(
                f"{folder.name} could not be signed ({error})", "check that its files can be read"
            ) from error
        atomic_files.write_atomically(target, (Path(elsewhere) / SIGNATURE).read_bytes())
    return key


def signed_by(signature: Path) -> str:
    """The id of the key that a signature names. Raises BadModel, NotFound."""
    return _bundle(signature).key_id


def stated(signature: Path, keyring: Keyring) -> tuple[dict[str, str], Key]:
    """(file -> hex sha256 as a trusted key has signed them, the key); the files themselves are not read.

    Raises BadModel, NotFound.
    """
    key = key_named(signed_by(signature), keyring, signature.name)
    sealed = dict(_bundle(signature).envelope)
    try:
        signatures = cast(list[envelope.EnvelopeSignature], sealed["signatures"])
        sealed["signatures"] = [{"sig": each["sig"], "keyid": key.id} for each in signatures]
    except (KeyError, TypeError) as error:
        raise BadModel(f"{signature.name} is not a model signature", "fetch it again") from error
    value, _ = envelope.unseal(sealed, {key.id: read_public(key.path)}, signature.name)
    if value["predicateType"] != _STATED:
        raise BadModel(f"{signature.name} is a statement of another kind", "fetch it again")
    _ = _signed(signature)  # raises for a statement of another shape
    resources = value["predicate"]["resources"]
    return {str(resource["name"]): str(resource["digest"]) for resource in resources}, key


def leaves_out(signature: Path, name: str) -> bool:
    """Whether a signature says nothing of the file ``name``. Raises BadModel, NotFound."""
    return name in _signed(signature).ignored


def _signed(signature: Path) -> _Signed:
    """What a signature states. Raises BadModel, NotFound."""
    try:
        payload = base64.b64decode(_bundle(signature).envelope["payload"], validate=True)
        predicate: Any = json.loads(payload)["predicate"]
        serialization = predicate["serialization"]
        return _Signed(
            str(serialization["method"]),
            {str(resource["name"]): str(resource["digest"]) for resource in predicate["resources"]},
            frozenset(map(str, serialization.get("ignore_paths", []))),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadModel(f"{signature.name} is not a model signature", "fetch it again") from error


def _bundle(signature: Path) -> _Bundle:
    """The parts of a signature file. Raises BadModel, NotFound."""
    try:
        value = envelope.read_json(envelope.read_bytes(signature), signature.name)
        hint, sealed = value["verificationMaterial"]["publicKey"]["hint"], value["dsseEnvelope"]
        _ = sealed["payload"]
    except OSError as error:
        raise NotFound(f"there is no signature {signature}", "freehold certify NAME writes one") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadModel(
            f"{signature.name} is not a model signature with a public key", "fetch it again"
        ) from error
    return _Bundle(str(hint), sealed)


def verify(folder: Path, signature: Path, keyring: Keyring) -> Key:
    """Check a folder against its signature; the key that made it.

    Raises BadModel naming the files that differ, NotFound.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing import hashing, verifying

    key = key_named(signed_by(signature), keyring, signature.name)
    checking = verifying.Config().use_elliptic_key_verifier(public_key=key.path)
    if (
        _signed(signature).method == "files"
    ):  # the store shows a model's files as links, which the library follows only if told to
        checking.set_hashing_config(
            hashing.Config().use_file_serialization(allow_symlinks=True).set_allow_symlinks(True)
        )
    try:
        checking.verify(folder, signature)
    except InvalidSignature:
        raise BadModel(
            f"{signature.name} was changed after {key.name!r} had signed it",
            "fetch it again",
        ) from None
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        OSError,
    ) as error:  # the library says so of files and of damaged bundles
        raise BadModel(
            f"{folder.name} is not what {key.name!r} signed: {_differences(str(error))}",
            "fetch the files named here again, or have the model signed again",
        ) from error
    return key


def key_named(key_id: str, keyring: Keyring, what: str) -> Key:
    """The key that has signed ``what``. Raises BadModel for one that is not trusted or is revoked.

    Then nothing it has signed counts.
    """
    key = next((key for key in keyring.all() if key.id == key_id), None)
    if key is None:
        raise BadModel(
            f"{what} is signed by {shown(key_id)[:16] or 'nobody'}, a key that you do not trust",
            "trust the key, if you know whose it is: freehold signer trust FILE",
        )
    if key.revoked:
        raise BadModel(
            f"{what} is signed with the key {key.name!r}, which was revoked: {key.revoked}",
            "have the model signed again with another key",
        )
    return key


def _differences(text: str) -> str:
    """The library's account of what differs, without the brackets and quotes around it."""
    return (
        text.removeprefix("Signature mismatch: ")
        .strip("[]\"'")
        .replace('", "', "; ")
        .replace("', '", "; ")
        .replace("\", '", "; ")[:600]
    )
