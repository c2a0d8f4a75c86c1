"""Gather the evidence on a stored model and sign it: what ``freehold certify`` does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, machine
from freehold.core.errors import BadModel
from freehold.core.json_types import JsonObject
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
from freehold.workflows.privacy import PrivacyEvidence

_PARALLEL, _CONTEXT = 16, 16384


@dataclass(frozen=True)
class CertifyOptions:
    """What a certificate rests on besides the model. What is not given is listed as not tested."""

    #: prompts that safety is tested with; none: it is not tested
    prompts: tuple[Path, ...] = ()
    #: model that the safety grade is relative to; "": what this one was tuned from
    reference: str = ""
    #: model that decides whether an answer refuses; "": its wording decides
    judge: str = ""
    #: the rows the model was tuned on
    data: Path | None = None
    #: rows it never saw
    unseen: Path | None = None
    #: licence of the rows, e.g. cc-by-4.0
    data_licence: str = ""
    #: days until the certificate expires
    days: float = 365.0
    #: signing key, where there are several
    key: str = ""


@dataclass(frozen=True)
class SafetyEvidence:
    """How the model answers harmful prompts, and how it did before it was tuned."""

    #: shares of the model itself, in JSON form; None where no prompts were given
    safety: Mapping[str, Any] | None = None
    #: the same for its base, with the base's name
    before: Mapping[str, Any] | None = None
    #: what tuning changed
    change: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, object]:
        """JSON form: the certificate's keys."""
        base = {"safety_before": self.before, "safety_change": self.change} if self.before else {}
        return {"safety": self.safety, **base}


def certify(
    store: Store, model: Model, keyring: Keyring, options: CertifyOptions, sink: Sink = silent
) -> tuple[JsonObject, Path]:
    """(what the certificate says, the folder it is in).

    What was measured is kept and not measured again. Raises FreeholdError.
    """
    certificate.check_days(options.days)  # said before an hour of measuring, not after
    keyring.private(options.key)
    if errors := store.verify([model], sink):
        raise BadModel("; ".join(errors), "pull it again, or restore the file from a backup")
    findings = scan.scan(_named(store, model))
    owed = obligations.compute(provenance.components(store, model, options.data_licence), model.name)
    safety = _safety(store, model, options, sink)
    base = _base(store, model)
    privacy = stored_privacy.evidence(store, model, base, options.data, options.unseen, sink)
    figures = measured(model.digest)
    missing = _not_tested(model, safety, privacy, figures)
    bill = bom.bill(model, owed, _figures(safety, privacy), missing)
    bom.check(bill)
    key, private = keyring.private(options.key)
    statement = certificate.predicate(
        model,
        {
            "card": _shape(model),
            "scan": {"files": len(model.manifest), "findings": [str(finding) for finding in findings]},
            "licence": owed.as_dict(),
            **safety.as_dict(),
            "privacy": privacy.as_dict(),
            "evaluation": figures,
            "not_tested": missing,
            "made_with": machine.made_with(),
        },
        key,
        options.days,
    )
    steps = [envelope.seal(step, private, key.id) for step in provenance.statements(model)]
    texts = obligations.texts(owed, model.name) | {
        certificate.BILL: json.dumps(bill, indent=1, ensure_ascii=False),
        certificate.STEPS: envelope.lines(steps),
        certificate.PAGE: certificate.page(statement, provenance.drawing(model)),
    }
    if certificate.CARD not in model.manifest:
        texts[certificate.CARD] = model_card(store, model, owed, "", "")
    return statement, _sign_and_keep(store, model, statement, texts, keyring, options.key)


def _shape(model: Model) -> dict[str, object]:
    """What the certificate says of the model's form."""
    info = model.info
    return {
        "format": info.format,
        "architecture": info.architecture,
        "parameters": info.parameters,
        "quantization": info.quantization,
    }


def _sign_and_keep(
    store: Store,
    model: Model,
    statement: Mapping[str, Any],
    texts: dict[str, str],
    keyring: Keyring,
    key_name: str,
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
        sealed = certificate.seal(model, statement, beside, private, key)
        folder = certificate.evidence_folder(store, model)
        for name in names:
            atomic_files.write_atomically(folder / name, (shared / name).read_bytes())
    for path in inventory.of_folder(folder).files.values():
        if path.name not in (*names, certificate.FILE):  # of an earlier certificate
            path.unlink()
    atomic_files.write_atomically(folder / certificate.FILE, json.dumps(sealed, indent=1))
    return folder


def _named(store: Store, model: Model) -> dict[str, Path]:
    return {name: store.file(model, name) for name in model.manifest if name != "task.json"}


# -- safety ---------------------------------------------------------------------------------------


def _safety(store: Store, model: Model, options: CertifyOptions, sink: Sink) -> SafetyEvidence:
    """Shares of the model, of what it was tuned from, and of the reference."""
    if not options.prompts:
        return SafetyEvidence()
    prompts = [prompt for path in options.prompts for prompt in read_prompts(path)]
    files = {path.name: atomic_files.sha256_file(path) for path in options.prompts}
    if len({prompt.id for prompt in prompts}) < len(prompts):  # two sets may use the same numbers
        prompts = [
            Prompt(f"{number}:{prompt.id}", prompt.text, prompt.unsafe, prompt.hazard)
            for number, prompt in enumerate(prompts)
        ]
    base = _base(store, model)
    reference = store.find(options.reference) if options.reference else base
    evaluator = _evaluator(store, options.judge)
    runs = {
        tested.digest: run_safety(store, tested, prompts, files, evaluator, sink)
        for tested in (model, base, reference)
        if tested is not None
    }
    after = runs[model.digest]
    other = runs[reference.digest] if reference is not None and reference.digest != model.digest else None
    kind, name = "model" if options.reference else "base", reference.name if reference else ""
    if base is None:
        return SafetyEvidence(after.as_dict(other, kind, name))
    before = runs[base.digest]
    return SafetyEvidence(
        after.as_dict(other, kind, name),
        {"model": base.name, **before.as_dict()},
        compare(before, after),
    )


def run_safety(
    store: Store,
    model: Model,
    prompts: Sequence[Prompt],
    files: dict[str, str],
    evaluator: Evaluator,
    sink: Sink,
) -> Safety:
    """A model's answers to prompts, judged; the answers are kept by the weights' and the prompts' digests."""
    saved = (
        store.folder
        / "attestations"
        / "answers"
        / f"{model.digest[:16]}-{atomic_files.digest_of([vars(prompt) for prompt in prompts])[:16]}.jsonl"
    )
    saved.parent.mkdir(parents=True, exist_ok=True)
    engine = open_engine(store.weights(model), context_length=_CONTEXT, parallel=_PARALLEL)
    try:
        answers = answers_of(
            engine, prompting(model.info, engine.vocabulary), prompts, saved, sink, f"asking {model.name}"
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
    tuning = model.info.lineage.tuning
    if tuning is None:
        return None
    return next((known for known in store.models() if known.revision == tuning.base.revision), None)


# -- what it says ---------------------------------------------------------------------------------


def _figures(safety: SafetyEvidence, privacy: PrivacyEvidence) -> list[JsonObject]:
    """The figures of the bill of materials."""
    shares = {
        "harmful prompts answered without refusing": (safety.safety or {}).get("violating"),
        "harmless prompts refused": (safety.safety or {}).get("over_refused"),
        "training answers that it repeats word for word because of tuning": (privacy.extraction or {}).get(
            "memorized"
        ),
    }
    return [{"name": name, **share} for name, share in shares.items() if share and share["value"] is not None]


def _not_tested(
    model: Model, safety: SafetyEvidence, privacy: PrivacyEvidence, figures: list[str]
) -> list[str]:
    """What this certificate says nothing about."""
    missing = [
        "languages other than English, and conversations of more than one turn",
        "attacks made for this model, and misuse of tools it may call",
    ]
    if not safety.safety:
        missing.insert(0, "how it answers harmful prompts (no --prompts were given)")
    elif not any(len(row["hazard"]) == 3 for row in safety.safety["hazards"]):
        missing.insert(0, "the twelve hazards of AILuminate, since none of the prompts names one")
    if privacy.tuned:
        missing += stored_privacy.not_tested(privacy)
    if privacy.tuned and not privacy.canaries:
        missing.append("planted codes: it was tuned without canaries")
    if not privacy.tuned:
        missing.append("what it reveals of the data its publisher trained it on")
    if not figures:
        missing.append("how good it is at a task: no trial on this machine measured these weights")
    return missing
