"""Signed statements: in-toto statements in DSSE envelopes, signed with elliptic-curve keys.

An envelope has exactly one signature, and no object in it names a key twice, so that two readers cannot read
two different things in it.

Sources: the in-toto attestation framework (Statement v1), DSSE v1 (the pre-authentication encoding PAE).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from freehold.core import atomic_files
from freehold.core.errors import BadModel
from freehold.core.json_types import JsonObject

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
_DIGESTS = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}
#: The longest signed statement that is read, in bytes.
_LONGEST = 64 << 20


class Subject(TypedDict):
    """What a statement is about: a name, and digests by algorithm (``sha256``)."""

    name: str
    digest: dict[str, str]


class Statement(TypedDict):
    """An in-toto statement in its JSON form. ``predicateType``: the URI that says what ``predicate``
    holds.
    """

    _type: str
    subject: list[Subject]
    predicateType: str
    predicate: JsonObject


class EnvelopeSignature(TypedDict):
    """A signature in an envelope, in base64, and the id of its key."""

    keyid: str
    sig: str


class Envelope(TypedDict):
    """A DSSE envelope in its JSON form. ``payload``: the statement in base64."""

    payload: str
    payloadType: str
    signatures: list[EnvelopeSignature]


@dataclass(frozen=True)
class _Signed:
    """The decoded parts of an envelope."""

    #: The type of the payload, as the envelope states it.
    kind: str
    payload: bytes
    key_id: str
    signature: bytes


def statement(subjects: Mapping[str, str], kind: str, predicate: Mapping[str, Any]) -> Statement:
    """A statement about ``subjects`` (name -> hex sha256); ``kind``: the URI of its predicate."""
    named: list[Subject] = [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()]
    return {"_type": STATEMENT, "subject": named, "predicateType": kind, "predicate": dict(predicate)}


def digest_for(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> ec.ECDSA:
    """The signature algorithm of a curve: the digest as wide as its key.

    Raises BadModel for a curve that is not used here.
    """
    digest = _DIGESTS.get(key.curve.key_size)
    if digest is None:
        raise BadModel(
            f"the key's curve {key.curve.name} is not one of P-256, P-384 and P-521",
            "make a key: freehold signer create NAME",
        )
    return ec.ECDSA(digest())


def _encoded(kind: str, payload: bytes) -> bytes:
    """What is signed (PAE): type and payload, each after its length in bytes."""
    named = kind.encode("utf-8", "surrogatepass")
    return b"DSSEv1 %d %s %d %s" % (len(named), named, len(payload), payload)


def seal(value: Mapping[str, Any], key: ec.EllipticCurvePrivateKey, key_id: str) -> Envelope:
    """The envelope of a statement, signed."""
    payload = atomic_files.canonical(value)
    signature = key.sign(_encoded(PAYLOAD_TYPE, payload), digest_for(key))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }


def read_bytes(path: Path) -> bytes:
    """A file that holds a statement. Raises BadModel for one that is too long, OSError."""
    if path.stat().st_size > _LONGEST:
        raise BadModel(f"{path.name} is longer than {_LONGEST >> 20} MB", "fetch it again")
    return path.read_bytes()


def read_json(text: bytes | str, what: str) -> Any:
    """JSON in which no object names a key twice and no number is NaN or infinite. Raises BadModel."""
    if len(text) > _LONGEST:
        raise BadModel(f"{what} is longer than {_LONGEST >> 20} MB", "fetch it again")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadModel(f"{what} is nested too deeply", "fetch it again") from None
    except ValueError as error:
        raise BadModel(f"{what} is not valid JSON ({error})", "fetch it again") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} appears twice in one object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def signer(envelope: Any, what: str) -> str:
    """The id of the key that an envelope names, without checking the signature. Raises BadModel."""
    return _parts(envelope, what).key_id


def unseal(envelope: Any, keys: Mapping[str, ec.EllipticCurvePublicKey], what: str) -> tuple[Statement, str]:
    """(statement, id of the key that signed it).

    Raises BadModel: not an envelope with one signature, signed by none of ``keys``, changed since, or not an
    in-toto statement.
    """
    signed = _parts(envelope, what)
    key = keys.get(signed.key_id)
    if key is None:
        raise BadModel(
            f"{what} is signed by {signed.key_id[:16] or 'nobody'}, a key that you do not trust",
            "trust the key, if you know whose it is: freehold signer trust FILE",
        )
    try:
        key.verify(signed.signature, _encoded(signed.kind, signed.payload), digest_for(key))
    except InvalidSignature:
        raise BadModel(
            f"{what} was changed after {signed.key_id[:16]} had signed it",
            "fetch it again",
        ) from None
    if signed.kind != PAYLOAD_TYPE:
        raise BadModel(f"{what} holds {signed.kind[:80]!r} and not an in-toto statement", "fetch it again")
    return _statement_in(signed.payload, what), signed.key_id


def _parts(envelope: Any, what: str) -> _Signed:
    try:
        signatures = envelope["signatures"]
        if not isinstance(signatures, list) or len(signatures) != 1:
            count = len(signatures) if isinstance(signatures, list) else "no list of"
            raise BadModel(
                f"{what} has {count} signatures; exactly one is expected",
                "ask its author for a statement that one key has signed",
            )
        kind, key_id = envelope["payloadType"], signatures[0]["keyid"]
        if not isinstance(kind, str) or not isinstance(key_id, str):
            raise TypeError("payloadType and keyid must be text")
        return _Signed(
            kind,
            base64.b64decode(envelope["payload"], validate=True),
            key_id,
            base64.b64decode(signatures[0]["sig"], validate=True),
        )
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as error:
        raise BadModel(
            f"{what} is not a signed statement ({type(error).__name__}: {str(error)[:80]})", "fetch it again"
        ) from error


def _statement_in(payload: bytes, what: str) -> Statement:
    value = read_json(payload, what)
    if not isinstance(value, dict) or value.get("_type") != STATEMENT:
        raise BadModel(
            f"{what} does not hold an in-toto statement of version 1", "fetch it again, or update Freehold"
        )
    if not isinstance(value.get("predicateType"), str) or not isinstance(value.get("predicate"), dict):
        raise BadModel(f"{what} holds a statement without a predicate", "fetch it again")
    return cast(Statement, value)


def subjects_of(value: Mapping[str, Any], what: str = "the statement") -> dict[str, str]:
    """Name -> hex sha256 of what a statement is about.

    Raises BadModel for a name that appears twice or has no sha256.
    """
    subjects: dict[str, str] = {}
    try:
        for subject in value["subject"]:
            name, digest = subject["name"], subject["digest"]["sha256"]
            if not isinstance(name, str) or not isinstance(digest, str) or name in subjects:
                raise ValueError(f"{str(name)[:80]!r} is named twice or has no digest")
            subjects[name] = digest
    except (KeyError, TypeError, ValueError) as error:
        raise BadModel(
            f"{what} does not state clearly what it is about ({type(error).__name__}: {str(error)[:120]})",
            "fetch it again",
        ) from error
    return subjects


def lines(envelopes: Iterable[Mapping[str, Any]]) -> str:
    """Several envelopes as one file, a line each (in-toto's bundle)."""
    return "".join(json.dumps(envelope, separators=(",", ":")) + "\n" for envelope in envelopes)
