"""Gather the evidence on a stored model and sign it: what ``freehold certify`` does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, machine
from freehold.core.errors import BadModel
from freehold.core.progress import Sink, silent
from freehold.inference.loading import open_engine, prompting
from freehold.models.store import Model, Store
from freehold.trial.evidence import measured
from freehold.trust import (
    bom,
    certificate,
    envelope,
    inventory,
    obligations,
    provenance,
    scan,
    signature,
)
from freehold.trust.evaluator import Evaluator, by_judge, by_wording
from freehold.trust.hazards import Prompt, read_prompts
from freehold.trust.keys import Keyring
from freehold.trust.safety import Safety, answers_of, compare, judge
from freehold.workflows import privacy as stored_privacy
from freehold.workflows.model_card import model_card

_PARALLEL, _CONTEXT = 16, 16384


@dataclass(frozen=True)
class CertifyOptions:
    """What a certificate rests on besides the model.

    Files may be none; then what they would have shown is told as not tested.
    """

    prompts: tuple[Path, ...] = ()
    reference: str = ""
    judge: str = ""
    data: Path | None = None
    unseen: Path | None = None
    data_licence: str = ""
    days: float = 365.0
    key: str = ""


def certify(
    store: Store, model: Model, keyring: Keyring, asked: CertifyOptions, sink: Sink = silent
) -> tuple[dict[str, Any], Path]:
    """(what the certificate says, the folder it lies in).

    Raises FreeholdError; what was measured is kept and not measured again.
    """
    certificate.check_days(asked.days)  # said before an hour of measuring, not after
    keyring.private(asked.key)
    faults = store.verify([model], sink)
    if faults:
        raise BadModel("; ".join(faults), "pull it again, or restore the file from a backup")
    findings = scan.scan(_named(store, model))
    owed = obligations.compute(provenance.components(store, model, asked.data_licence), model.name)
    safety = _safety(store, model, asked, sink)
    privacy = stored_privacy.evidence(store, model, _base(store, model), asked.data, asked.unseen, sink)
    figures = measured(model.digest)
    missing = _not_tested(model, safety, privacy, figures)
    bill = bom.bill(model, owed, _figures(safety, privacy), missing)
    bom.check(bill)
    key, private = keyring.private(asked.key)
    card = model.info
    says = certificate.predicate(
        model,
        {
            "card": {
                "format": card.format,
                "architecture": card.architecture,
                "parameters": card.parameters,
                "quantization": card.quantization,
            },
            "scan": {"files": len(model.manifest), "findings": [str(one) for one in findings]},
            "licence": owed.as_dict(),
            **safety,
            "privacy": privacy,
            "evaluation": figures,
            "not_tested": missing,
            "made_with": machine.made_with(),
        },
        key,
        asked.days,
    )
    steps = [envelope.seal(one, private, key.id) for one in provenance.statements(model)]
    texts = obligations.texts(owed, model.name) | {
        certificate.BILL: json.dumps(bill, indent=1, ensure_ascii=False),
        certificate.STEPS: envelope.lines(steps),
        certificate.PAGE: certificate.page(says, provenance.drawing(model)),
    }
    if certificate.CARD not in model.manifest:
        texts[certificate.CARD] = model_card(store, model, owed, "", "")
    return says, _sign_and_keep(store, model, says, texts, keyring, asked.key)


def _sign_and_keep(
    store: Store, model: Model, says: dict[str, Any], texts: dict[str, str], keyring: Keyring, key_name: str
) -> Path:
    """Sign the model and ``texts``, bind all in a certificate; the folder it is kept in."""
    with tempfile.TemporaryDirectory(prefix="freehold-certifying-") as work:
        shared = Path(work) / model.revision  # the signature says this name
        for name, digest in certificate.files_of(model).items():
            if name not in texts:
                (shared / name).parent.mkdir(parents=True, exist_ok=True)
                (shared / name).symlink_to(store.blob(digest).absolute())
        for name, text in texts.items():
            atomic_files.write_atomically(shared / name, text)
        signature.sign(shared, shared / signature.SIGNATURE, keyring, key_name)
        names = [*texts, signature.SIGNATURE]
        beside = {name: atomic_files.sha256_file(shared / name) for name in sorted(names)}
        key, private = keyring.private(key_name)
        sealed = certificate.seal(model, says, beside, private, key)
        place = certificate.place(store, model)
        for name in names:
            atomic_files.write_atomically(place / name, (shared / name).read_bytes())
    for path in inventory.of_folder(place).files.values():
        if path.name not in (*names, certificate.FILE):  # of an earlier certificate
            path.unlink()
    atomic_files.write_atomically(place / certificate.FILE, json.dumps(sealed, indent=1))
    return place


def _named(store: Store, model: Model) -> dict[str, Path]:
    return {name: store.file(model, name) for name in model.manifest if name != "task.json"}


# -- safety ---------------------------------------------------------------------------------------


def _safety(store: Store, model: Model, asked: CertifyOptions, sink: Sink) -> dict[str, Any]:
    """Shares of the model, of what it was tuned from, and of the reference."""
    if not asked.prompts:
        return {"safety": None}
    prompts = [prompt for path in asked.prompts for prompt in read_prompts(path)]
    files = {path.name: atomic_files.sha256_file(path) for path in asked.prompts}
    if len({prompt.id for prompt in prompts}) < len(prompts):  # two sets may count alike
        prompts = [
            Prompt(f"{number}:{one.id}", one.text, one.unsafe, one.hazard)
            for number, one in enumerate(prompts)
        ]
    base = _base(store, model)
    reference = store.find(asked.reference) if asked.reference else base
    evaluator = _evaluator(store, asked.judge)
    runs = {
        one.digest: run_safety(store, one, prompts, files, evaluator, sink)
        for one in (model, base, reference)
        if one is not None
    }
    own = runs[model.digest]
    other = runs[reference.digest] if reference is not None and reference.digest != model.digest else None
    kind, name = "model" if asked.reference else "base", reference.name if reference else ""
    result: dict[str, Any] = {"safety": own.as_dict(other, kind, name)}
    if base is not None:
        before = runs[base.digest]
        result |= {
            "safety_before": {"model": base.name, **before.as_dict()},
            "safety_change": compare(before, own),
        }
    return result


def run_safety(
    store: Store,
    model: Model,
    prompts: Sequence[Prompt],
    files: dict[str, str],
    evaluator: Evaluator,
    sink: Sink,
) -> Safety:
    """A model's answers to prompts, judged; the answers are kept by the weights' and the prompts' digests."""
    kept = (
        store.folder
        / "attestations"
        / "answers"
        / f"{model.digest[:16]}-{atomic_files.digest_of([vars(one) for one in prompts])[:16]}.jsonl"
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    engine = open_engine(store.weights(model), context_length=_CONTEXT, parallel=_PARALLEL)
    try:
        answers = answers_of(
            engine, prompting(model.info, engine.vocabulary), prompts, kept, sink, f"asking {model.name}"
        )
    finally:
        engine.close()
    return judge(prompts, answers, evaluator, model.digest, files)


def _evaluator(store: Store, name: str) -> Evaluator:
    if not name:
        return by_wording()
    model = store.find(name)
    engine = open_engine(store.weights(model), context_length=8192, parallel=8)
    return by_judge(name, engine, prompting(model.info, engine.vocabulary))


def _base(store: Store, model: Model) -> Model | None:
    """What a model was tuned from, where the store still has it."""
    record = model.info.step("base")
    if record is None or model.info.step("tuned") is None:
        return None
    return next((one for one in store.models() if one.revision == record.get("revision")), None)


# -- what is told ---------------------------------------------------------------------------------


def _figures(safety: dict[str, Any], privacy: dict[str, Any]) -> list[dict[str, Any]]:
    shares = {
        "harmful prompts answered without refusing": (safety.get("safety") or {}).get("violating"),
        "harmless prompts refused": (safety.get("safety") or {}).get("over_refused"),
        "training answers that tuning made it give to the letter": (privacy["extraction"] or {}).get(
            "memorized"
        ),
    }
    return [{"name": name, **share} for name, share in shares.items() if share and share["value"] is not None]


def _not_tested(
    model: Model, safety: dict[str, Any], privacy: dict[str, Any], figures: list[str]
) -> list[str]:
    """What this certificate says nothing about."""
    missing = [
        "languages other than English, and conversations of more than one turn",
        "attacks made for this model, and misuse of tools it may call",
    ]
    if not safety.get("safety"):
        missing.insert(0, "how it answers harmful prompts (no --prompts were given)")
    elif not any(len(row["hazard"]) == 3 for row in safety["safety"]["hazards"]):
        missing.insert(0, "the twelve hazards of AILuminate, since none of the prompts names one")
    if privacy["tuned"]:
        missing += stored_privacy.not_tested(privacy)
    if privacy["tuned"] and not privacy["canaries"]:
        missing.append("planted codes: it was tuned without canaries")
    if not privacy["tuned"]:
        missing.append("what it gives away of the data its publisher trained it on")
    if not figures:
        missing.append("how good it is at a task: no trial on this machine measured these weights")
    return missing
