"""A model's certificate: one signed statement of where it comes from, what it obliges to, how it behaves, and what was not tested."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from freehold import durable
from freehold.errors import BadModel, Expired, NotFound
from freehold.hub.store import Model, Store
from freehold.trust import envelope, signature
from freehold.trust.keys import Key, Keyring

CERTIFICATE = "urn:freehold:certificate:v1"
FILE, PAGE, STEPS, BILL = "certificate.json", "certificate.html", "provenance.jsonl", "bom.cdx.json"
DAY = 86_400


@dataclass(frozen=True)
class Checked:
    """A certificate that holds: what it says, who signed it, and of which files the digests were compared."""

    says: dict[str, Any]
    key: Key
    files: dict[str, str]


def place(store: Store, model: Model) -> Path:
    """The folder of what is said about a stored model."""
    return store.folder / "attestations" / model.revision


def files_of(model: Model) -> dict[str, str]:
    """File -> sha256 of all that is shared of a model; rows it was trained on are not."""
    return {name: digest for name, (digest, _) in model.manifest.items() if name not in signature.NOT_SIGNED}


def seal(
    model: Model,
    says: Mapping[str, Any],
    keyring: Keyring,
    key_name: str,
    days: float,
    *,
    now: float | None = None,
) -> dict[str, Any]:
    """The signed certificate. Raises NotFound, UsageError."""
    key, private = keyring.private(key_name)
    issued = time.time() if now is None else now
    predicate = {
        "model": {"name": model.name, "revision": model.revision}, "issued": _date(issued), "expires": _date(issued + days * DAY),
        "signed_by": {"name": key.name, "id": key.id}, **says,
    }  # fmt: skip
    return envelope.seal(envelope.statement(files_of(model), CERTIFICATE, predicate), private, key.id)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def read(path: Path, keyring: Keyring) -> tuple[dict[str, Any], Key]:
    """(statement, key) of a certificate whose signature holds. Raises BadModel, NotFound."""
    try:
        sealed = json.loads(path.read_text())
    except OSError as error:
        raise NotFound(f"there is no certificate {path}", "freehold certify NAME writes one") from error
    except ValueError as error:
        raise BadModel(f"{path.name} is no JSON ({error})", "fetch it again") from error
    value, named = envelope.unseal(sealed, keyring.believed(), path.name)
    if value["predicateType"] != CERTIFICATE:
        raise BadModel(
            f"{path.name} is a statement of another kind ({value['predicateType']})",
            "give the file certificate.json",
        )
    return value, keyring.find(named)


def check(folder: Path, evidence: Path, keyring: Keyring, *, now: float | None = None) -> Checked:
    """Hold a model's folder against the certificate and the signature in ``evidence``.

    Raises BadModel where anything was changed or is not signed by a trusted key, Expired, NotFound.
    """
    value, key = read(evidence / FILE, keyring)
    stated = envelope.subjects_of(value)
    if (evidence / signature.SIGNATURE).exists():
        signature.verify(folder, evidence / signature.SIGNATURE, keyring)
        found = signature.digests(evidence / signature.SIGNATURE)
    else:
        found = {name: durable.sha256_file(folder / name) for name in stated if (folder / name).is_file()}
    wrong = sorted(name for name in stated if found.get(name) != stated[name])
    if wrong:
        raise BadModel(
            f"the certificate is of other files: {', '.join(wrong[:5])} {'is' if len(wrong) == 1 else 'are'} missing or changed",
            "fetch the model again",
        )
    for name in (STEPS, BILL):
        wanted = value["predicate"].get("beside", {}).get(name)
        if wanted and (not (evidence / name).exists() or durable.sha256_file(evidence / name) != wanted):
            raise BadModel(f"{name} beside the certificate is missing or was changed", "fetch it again")
    expires = str(value["predicate"]["expires"])
    if _date(time.time() if now is None else now) > expires:
        raise Expired(
            f"the certificate of {value['predicate']['model']['name']} expired on {expires[:10]}",
            "have the model certified again: freehold certify NAME",
        )
    return Checked(value["predicate"], key, stated)


def page(says: Mapping[str, Any], drawing: str) -> str:
    """The certificate as one HTML file that needs nothing else, and prints on paper."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        start=lambda text: text[:1].upper() + text[1:],
        pc=lambda value: f"{100 * value:.1f}%",
        short=lambda value: str(value)[:16],
    )
    folder = resources.files("freehold.trust")
    return environment.from_string((folder / "certificate.html").read_text()).render(
        c=says, drawing=drawing, style=(folder / "certificate.css").read_text()
    )
