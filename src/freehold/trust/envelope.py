"""Signed statements: in-toto statements in DSSE envelopes, signed with elliptic-curve keys.

Sources: the in-toto attestation framework (Statement v1), DSSE v1 (the pre-authentication encoding PAE).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from freehold import durable
from freehold.errors import BadModel

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
_DIGESTS = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}


def statement(subjects: Mapping[str, str], kind: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """A statement about ``subjects`` (name -> hex sha256); ``kind``: the URI of its predicate."""
    named = [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()]
    return {"_type": STATEMENT, "subject": named, "predicateType": kind, "predicate": dict(predicate)}


def digest_for(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> ec.ECDSA:
    """The signature algorithm of a curve: the digest as wide as its key. Raises BadModel for a curve that is not used here."""
    found = _DIGESTS.get(key.curve.key_size)
    if found is None:
        raise BadModel(
            f"the key's curve {key.curve.name} is not one of P-256, P-384 and P-521",
            "make a key: freehold signer create NAME",
        )
    return ec.ECDSA(found())


def _encoded(kind: str, payload: bytes) -> bytes:
    """What is signed (PAE): type and payload, each after its length."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def seal(value: Mapping[str, Any], key: ec.EllipticCurvePrivateKey, key_id: str) -> dict[str, Any]:
    """The envelope of a statement, signed."""
    payload = durable.canonical(value)
    signature = key.sign(_encoded(PAYLOAD_TYPE, payload), digest_for(key))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }


def unseal(
    envelope: Any, keys: Mapping[str, ec.EllipticCurvePublicKey], what: str
) -> tuple[dict[str, Any], str]:
    """(statement, id of the key that signed it). Raises BadModel: not an envelope, signed by none of ``keys``, or changed since."""
    try:
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signed = {
            str(one["keyid"]): base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]
        }
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as error:
        raise BadModel(
            f"{what} is no signed statement ({type(error).__name__}: {str(error)[:80]})", "fetch it again"
        ) from error
    known = [name for name in signed if name in keys]
    if not known:
        names = ", ".join(name[:16] for name in signed) or "nobody"
        raise BadModel(
            f"{what} is signed by {names}, whom you do not trust",
            "trust the key, if you know whose it is: freehold signer trust FILE",
        )
    for name in known:
        try:
            keys[name].verify(signed[name], _encoded(str(kind), payload), digest_for(keys[name]))
        except InvalidSignature:
            raise BadModel(
                f"{what} was changed after {name[:16]} had signed it", "fetch it again from whom you have it"
            ) from None
    if kind != PAYLOAD_TYPE:
        raise BadModel(f"{what} holds {kind!r} and not an in-toto statement", "fetch it again")
    value = json.loads(payload)
    if not isinstance(value, dict) or value.get("_type") != STATEMENT:
        raise BadModel(
            f"{what} holds no in-toto statement of version 1", "fetch it again, or update Freehold"
        )
    return value, known[0]


def subjects_of(value: Mapping[str, Any]) -> dict[str, str]:
    """Name -> hex sha256 of what a statement is about."""
    return {str(one["name"]): str(one["digest"]["sha256"]) for one in value["subject"]}


def lines(envelopes: Iterable[Mapping[str, Any]]) -> str:
    """Several envelopes as one file, a line each (in-toto's bundle)."""
    return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in envelopes)
