"""A model's certificate: what is known of it, in one signed statement.

It says where it comes from, which obligations it has, how it behaves, and what was not tested.

It binds every file beside it by sha256: the model's files are its subjects, and ``beside`` names the
signature, notices, restrictions, card, bill of materials, steps and page. A file that is missing, changed or
not named there fails, each with a sentence.

Version 1, of earlier releases, bound the model's files, the bill and the steps alone; it is read, and what it
does not bind is said.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from freehold.core import atomic_files
from freehold.core.errors import BadModel, Expired, NotFound, UsageError
from freehold.core.json_types import JsonObject
from freehold.models.names import check_path
from freehold.models.store import Model, Store
from freehold.trust import envelope, inventory, signature
from freehold.trust.inventory import Inventory, shown
from freehold.trust.key_files import read_public
from freehold.trust.keys import Key, Keyring

CERTIFICATE, FIRST_CERTIFICATE = "urn:freehold:certificate:v2", "urn:freehold:certificate:v1"
FILE, PAGE, STEPS, BILL = "certificate.json", "certificate.html", "provenance.jsonl", "bom.cdx.json"
CARD = "README.md"
DAY = 86_400
#: Seconds by which two machines' clocks may differ.
_CLOCKS_DIFFER = 300.0
_LONGEST_DAYS = 36_500.0
#: What a certificate of version 1 never bound. README.md is one of them where its signature leaves it out.
_UNBOUND_THEN = ("NOTICE.txt", "USE-RESTRICTIONS.txt", PAGE)


@dataclass(frozen=True)
class Checked:
    """A certificate that holds.

    ``says``: its predicate; ``key``: who signed it; ``files``: name -> hex sha256 of each file it binds;
    ``not_bound``: files it may lie beside and says nothing of.
    """

    says: Mapping[str, Any]
    key: Key
    files: dict[str, str]
    not_bound: tuple[str, ...]


@dataclass(frozen=True)
class _Statement:
    """A certificate as it was signed.

    ``stated``: the model's files; ``beside``: what lies with them; both name -> hex sha256.
    """

    version: int
    stated: dict[str, str]
    beside: dict[str, str]
    says: Mapping[str, Any]
    key: Key


def evidence_folder(store: Store, model: Model) -> Path:
    """The folder of what is said about a stored model."""
    return store.folder / "attestations" / model.revision


def files_of(model: Model) -> dict[str, str]:
    """File -> sha256 of all that is shared of a model; rows it was trained on are not."""
    return {name: digest for name, (digest, _) in model.manifest.items() if name not in signature.NOT_SHARED}


# -- making -----------------------------------------------------------------------------------------


def predicate(
    model: Model, says: Mapping[str, Any], key: Key, days: float, *, now: float | None = None
) -> JsonObject:
    """What a certificate says but for the files beside it.

    Raises UsageError for ``days`` that are no time span.
    """
    check_days(days)
    issued = time.time() if now is None else now
    return {
        "model": {"name": model.name, "revision": model.revision},
        "issued": _date(issued),
        "expires": _date(issued + days * DAY),
        "signed_by": {"name": key.name, "id": key.id},
        **says,
    }


def check_days(days: float) -> None:
    """Raises UsageError for a time for which a certificate cannot hold."""
    if not math.isfinite(days) or not 0 < days <= _LONGEST_DAYS:
        raise UsageError(
            f"a certificate cannot be valid for {days} days", f"use up to {_LONGEST_DAYS:.0f} days"
        )


def seal(
    model: Model,
    says: Mapping[str, Any],
    beside: Mapping[str, str],
    private: ec.EllipticCurvePrivateKey,
    key: Key,
) -> envelope.Envelope:
    """The signed certificate.

    ``says``: a :func:`predicate`; ``beside``: name -> hex sha256 of every file that goes with the model.
    """
    whole = {**says, "beside": dict(beside)}
    return envelope.seal(envelope.statement(files_of(model), CERTIFICATE, whole), private, key.id)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


# -- checking ---------------------------------------------------------------------------------------


def check_folder(folder: Path, keyring: Keyring, *, now: float | None = None) -> Checked:
    """Check a folder that was handed on against its certificate and its signature.

    Raises BadModel with a sentence for each file that is missing, changed or extra, and where no trusted key
    has signed; Expired; NotFound where there is no certificate.
    """
    lying = inventory.without_hubs_own(inventory.of_folder(folder))
    return _check(_read(lying, folder, keyring), lying, keyring, now)


def check_stored(store: Store, model: Model, keyring: Keyring, *, now: float | None = None) -> Checked:
    """Check a stored model and what is kept beside it, in the same way.

    Raises BadModel, Expired, NotFound.
    """
    folder = evidence_folder(store, model)
    beside = inventory.of_folder(folder) if folder.is_dir() else Inventory({})
    statement = _read(beside, folder, keyring)
    revision = statement.says.get("model", {}).get("revision")
    if revision != model.revision:
        raise BadModel(
            f"the certificate kept for {model.name}@{model.revision[:12]} is of another revision "
            f"({str(revision)[:12]})",
            f"have the model certified again: freehold certify {model.name}",
        )
    files = {name: store.blob(digest) for name, digest in files_of(model).items()} | beside.files
    there = {name: path for name, path in files.items() if path.exists()}
    return _check(statement, Inventory(there, beside.faults), keyring, now)


def evidence_of(store: Store, model: Model, keyring: Keyring) -> dict[str, Path]:
    """What is handed on with a stored model, by name; nothing where it has no certificate.

    Raises BadModel where the certificate does not hold. One that has expired says so itself.
    """
    refuse_stripped(store, model)
    folder = evidence_folder(store, model)
    if not (folder / FILE).exists():
        return {}
    with contextlib.suppress(Expired):  # whoever gets it is told by 'freehold verify'
        check_stored(store, model, keyring)
    return inventory.of_folder(folder).files


def refuse_stripped(store: Store, model: Model) -> None:
    """Raises BadModel where evidence is kept of a model, and its certificate is gone."""
    folder = evidence_folder(store, model)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).exists():
        raise BadModel(
            f"the certificate of {model.name} is missing from {folder}, which has the rest of its evidence",
            f"have the model certified again: freehold certify {model.name}",
        )


def _read(lying: Inventory, folder: Path, keyring: Keyring) -> _Statement:
    """The certificate in a folder, whose signature holds. Raises BadModel, NotFound."""
    path = lying.files.get(FILE)
    if path is None and any(fault.startswith(f"{FILE} ") for fault in lying.faults):
        raise BadModel("; ".join(lying.faults), "fetch the model again")
    if path is None:
        raise NotFound(f"there is no certificate {folder / FILE}", "freehold certify NAME writes one")
    text = envelope.read_bytes(path)
    sealed = envelope.read_json(text, path.name)
    key = signature.key_named(envelope.signer(sealed, path.name), keyring, path.name)
    value, _ = envelope.unseal(sealed, {key.id: read_public(key.path)}, path.name)
    version = {CERTIFICATE: 2, FIRST_CERTIFICATE: 1}.get(value["predicateType"])
    if version is None:
        raise BadModel(
            f"{path.name} is a statement of another kind ({value['predicateType'][:80]})",
            "give the file certificate.json; if it is newer than this Freehold, update",
        )
    says = value["predicate"]
    stated, beside = envelope.subjects_of(value, path.name), says.get("beside", {})
    if not isinstance(beside, dict) or not all(isinstance(digest, str) for digest in beside.values()):
        raise BadModel(f"{path.name} does not state clearly which files go with it", "fetch it again")
    statement = _Statement(version, stated, beside, says, key)
    _refuse_unclear(statement, path.name)
    return statement


def _refuse_unclear(statement: _Statement, what: str) -> None:
    """Raises BadModel for a statement that two readers could read in two ways."""
    names = [*statement.stated, *statement.beside]
    for first, other in inventory.taken_for_each_other(names):
        raise BadModel(
            f"{what} names {shown(first)} and {shown(other)}, which some systems treat as one file",
            "ask its author for a certificate without such names",
        )
    for name in names:
        try:
            check_path(name)
        except UsageError as error:
            raise BadModel(f"{what} names an unsafe file: {error.message}", "do not use this model") from None
    if statement.version == 2 and signature.SIGNATURE not in statement.beside:
        raise BadModel(f"{what} does not include a signature", "ask its author to certify the model again")
    if (statement.says.get("signed_by") or {}).get("id") != statement.key.id:
        raise BadModel(
            f"{what} names another key than the one that signed it ({statement.key.name})",
            "ask its author for a correct certificate",
        )


def _check(statement: _Statement, lying: Inventory, keyring: Keyring, now: float | None) -> Checked:
    bound = statement.stated | statement.beside
    unbound = () if statement.version == 2 else _not_bound(lying)
    faults = [*lying.faults, *_differences(bound, lying, {FILE, *unbound})]
    if not faults:
        faults += _signature_faults(statement, lying, keyring)
    if faults:
        raise BadModel(
            "; ".join(faults),
            "fetch the files named again, remove what does not belong there, or certify the model again",
        )
    _check_dates(statement, time.time() if now is None else now)
    return Checked(statement.says, statement.key, bound, unbound)


def _not_bound(lying: Inventory) -> tuple[str, ...]:
    """What a certificate of version 1 says nothing of; its signature has to be there."""
    signed = lying.files.get(signature.SIGNATURE)
    card = (CARD,) if signed is not None and signature.leaves_out(signed, CARD) else ()
    return (*_UNBOUND_THEN, *card)


def _differences(bound: Mapping[str, str], lying: Inventory, apart: set[str]) -> Iterator[str]:
    """A sentence for each file that is missing, changed, or not named by the certificate."""
    signed_apart = signature.SIGNATURE not in bound  # version 1: its signature is checked by itself
    for name, digest in sorted(bound.items()):
        path = lying.files.get(name)
        if path is None:
            yield f"{shown(name)} is missing"
        elif atomic_files.sha256_file(path) != digest:
            yield f"{shown(name)} was changed"
    for name in sorted(lying.files.keys() - bound.keys() - apart):
        if not (signed_apart and name == signature.SIGNATURE):
            yield f"{shown(name)} is extra: the certificate does not name it"


def _signature_faults(statement: _Statement, lying: Inventory, keyring: Keyring) -> Iterator[str]:
    """A sentence where the signature beside a certificate is missing, another key's, or over other files."""
    path = lying.files.get(signature.SIGNATURE)
    if path is None:
        yield f"{signature.SIGNATURE} is missing: the signature was removed"
        return
    signed, key = signature.stated(path, keyring)
    if key.id != statement.key.id:
        signers = f"{key.name!r} ({key.id[:16]}), and the certificate by {statement.key.name!r}"
        yield f"{path.name} is signed by {signers}"
    expected = dict(statement.stated)
    if statement.version == 2:
        expected |= {name: d for name, d in statement.beside.items() if name != signature.SIGNATURE}
    for name in sorted(expected.keys() | signed.keys()):
        if expected.get(name) != signed.get(name) and not name.startswith(signature.GITS_OWN):
            yield f"{path.name} and the certificate disagree about {shown(name)}"


def _check_dates(statement: _Statement, now: float) -> None:
    issued, expires = (_moment(statement, name) for name in ("issued", "expires"))
    name = str((statement.says.get("model") or {}).get("name"))
    if issued > now + _CLOCKS_DIFFER:
        raise BadModel(
            f"the certificate of {name} was issued on {_date(issued)}, and this machine's clock says "
            f"{_date(now)}",
            "set the clock; if it is right, do not trust the certificate",
        )
    if statement.key.replaced and issued > statement.key.replaced + _CLOCKS_DIFFER:
        raise BadModel(
            f"the certificate of {name} was issued after its key {statement.key.name!r} was replaced",
            "have the model certified again with the key's successor",
        )
    if expires <= issued:
        raise BadModel(f"the certificate of {name} ends before it begins", "have the model certified again")
    if now > expires:
        raise Expired(
            f"the certificate of {name} expired on {_date(expires)[:10]}",
            f"have the model certified again: freehold certify {name}",
        )


def _moment(statement: _Statement, name: str) -> float:
    text = statement.says.get(name)
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise BadModel(
            f"the certificate's {name!r} is not a time: {str(text)[:40]!r}", "have the model certified again"
        ) from None


def page(says: Mapping[str, Any], drawing: str) -> str:
    """The certificate as one HTML file that needs nothing else, and prints on paper."""
    from jinja2 import Environment

    from freehold.core.statistics import p_text

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        start=lambda text: text[:1].upper() + text[1:],
        pc=lambda value: f"{100 * value:.1f}%",
        short=lambda value: str(value)[:16],
        p=p_text,
    )
    folder = resources.files("freehold.trust")
    return environment.from_string((folder / "certificate.html").read_text()).render(
        c=says, drawing=drawing, style=(folder / "certificate.css").read_text()
    )
