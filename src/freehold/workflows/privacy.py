"""What can be learnt about the training rows from a stored, tuned model: the part of a certificate on
privacy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core import atomic_files
from freehold.core.errors import BadData
from freehold.core.progress import Sink
from freehold.data.examples import Example, read_dataset
from freehold.data.splits import cut_validation
from freehold.inference.interface import Engine, PromptEncoder
from freehold.inference.loading import open_engine, prompting
from freehold.models.lineage import TunedStep
from freehold.models.store import Model, Store
from freehold.trial import task as tasks
from freehold.trust import canaries, personal, privacy
from freehold.trust.extraction import CANNOT_TELL

_PARALLEL, _CONTEXT = 16, 16384
#: Training rows that are tried, and unseen ones.
_ROWS = 256


@dataclass(frozen=True)
class PrivacyEvidence:
    """What can be learnt about the training rows. Parts are None where the rows are not available."""

    #: whether the model was tuned here
    tuned: bool
    #: which training answers come out, and how well a row's presence can be told; in JSON form
    extraction: Mapping[str, Any] | None = None
    #: personal data in the rows, in JSON form
    personal: Mapping[str, Any] | None = None
    #: how far planted codes were learnt, in JSON form
    canaries: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, object]:
        """JSON form: the certificate's keys."""
        return {
            "tuned": self.tuned,
            "extraction": self.extraction,
            "personal": self.personal,
            "canaries": self.canaries,
        }


def evidence(
    store: Store, model: Model, base: Model | None, data: Path | None, unseen: Path | None, sink: Sink
) -> PrivacyEvidence:
    """Extraction, membership, canaries and personal data.

    ``base``: what it was tuned from, where the store still has it. Raises BadData where ``data`` is not the
    file it was tuned on.
    """
    tuned = model.info.lineage.last(TunedStep)
    lessons = _lessons(store, model, tuned, data, unseen) if tuned is not None else None
    if tuned is None or lessons is None:
        return PrivacyEvidence(tuned is not None)
    rows = privacy.choose(lessons.learnt, lessons.unseen, lessons.labels, _ROWS)
    untuned = (lambda: _loaded(store, base)) if base is not None else None
    limits = privacy.Limits(_kept(store, model, rows), sink=sink)
    planted = tuned.canaries
    return PrivacyEvidence(
        True,
        extraction=privacy.tried(rows, lambda: _loaded(store, model), untuned, limits),
        personal=personal.summary(lessons.learnt),
        canaries=_exposure(store, model, canaries.canaries(planted["count"], planted["seed"]), sink)
        if planted
        else None,
    )


@dataclass(frozen=True)
class _Lessons:
    """Rows it learnt from, rows it did not, and the closed set of answers where one is known."""

    learnt: tuple[Example, ...]
    unseen: tuple[Example, ...]
    labels: tuple[str, ...] = ()


def _lessons(
    store: Store, model: Model, tuned: TunedStep, data: Path | None, unseen: Path | None
) -> _Lessons | None:
    """The rows a trial kept with the model, or those of ``data`` as tuning split them; None where there are
    none.
    """
    fresh = read_dataset(unseen).examples if unseen is not None else ()
    if "task.json" in model.manifest:
        saved = tasks.read(store.file(model, "task.json"))
        leaked = saved.splits.leaked_test_ids
        apart = tuple(row for row in saved.test if row.id not in leaked)
        return _Lessons(saved.splits.train, fresh or apart, saved.labels)
    if data is None:
        return None
    files = tuned.data or {}
    actual = atomic_files.sha256_file(data)
    if files.get("train") and files["train"] != actual:
        raise BadData(
            f"{data} is not the file {model.name} was trained on (sha256 {actual[:12]}, and its "
            f"lineage says {files['train'][:12]})",
            "give that file with --data",
        )
    examples = list(read_dataset(data).examples)
    learnt, checks = (examples, []) if files.get("valid") else cut_validation(examples)
    if tuned.masked:
        learnt, checks = personal.masked(learnt), personal.masked(checks)
    return _Lessons(tuple(learnt), tuple(fresh or checks))


def not_tested(privacy: PrivacyEvidence) -> list[str]:
    """What the evidence on a tuned model says nothing about."""
    extraction = privacy.extraction
    if extraction is None:
        return ["whether training rows can be extracted (no --data was given)"]
    missing: list[str] = []
    if extraction["status"] == CANNOT_TELL:
        missing.append(f"whether training rows can be extracted: {extraction['reason']}")
    if extraction["membership"] is None:
        why = "it takes 20 rows of each kind: training rows, and with --unseen rows it never saw"
        missing.append(f"whether training rows can be distinguished from others ({why})")
    return missing


def _kept(store: Store, model: Model, rows: privacy.Rows) -> Path:
    """Folder of finished probes, so that a stopped run goes on."""
    digest = atomic_files.digest_of([row.digest for row in rows.in_turn])
    folder = store.folder / "attestations" / "answers" / f"probes-{model.digest[:16]}-{digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _loaded(store: Store, model: Model) -> tuple[Engine, PromptEncoder]:
    engine = open_engine(store.weights(model), context_length=_CONTEXT, parallel=_PARALLEL)
    return engine, prompting(model.info, engine.vocabulary)


def _exposure(store: Store, model: Model, planted: Sequence[Example], sink: Sink) -> Mapping[str, Any]:
    engine, asking = _loaded(store, model)
    try:
        return canaries.exposure(engine, asking, planted, sink)
    finally:
        engine.close()
